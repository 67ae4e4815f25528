/* SPDX-License-Identifier: MIT */
/* The kernel's own list of this process's mappings, read without allocation or lock. */
#define _GNU_SOURCE
#include "maps.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const char *number(const char *at, int base, uint64_t *out)
{
	uint64_t value = 0;

	for (;; at++) {
		int digit = *at >= '0' && *at <= '9' ? *at - '0' : *at >= 'a' && *at <= 'f' ? *at - 'a' + 10 : 99;

		if (digit >= base)
			break;
		value = value * base + digit;
	}
	*out = value;
	return at;
}

void dx_parse_vma(const char *line, struct dx_vma *vma)
{
	uint64_t major, minor;
	const char *at = number(line, 16, &vma->start);

	at = number(at + 1, 16, &vma->end);
	vma->prot = (at[1] == 'r' ? PROT_READ : 0) | (at[2] == 'w' ? PROT_WRITE : 0) | (at[3] == 'x' ? PROT_EXEC : 0);
	vma->shared = at[4] == 's';
	at = number(at + 6, 16, &vma->offset);
	at = number(at + 1, 16, &major);
	at = number(at + 1, 16, &minor);
	number(at + 1, 10, &vma->ino);
	vma->dev = makedev(major, minor);
}

/* Visit the whole lines in BUFFER; what is left of an unfinished one is moved to its begin. 0, or what VISIT returned. */
static int visit_lines(char *buffer, size_t *held, dx_visit *visit, void *context)
{
	size_t begin = 0;
	int status = 0;

	for (size_t i = 0; i < *held && status == 0; i++) {
		struct dx_vma vma;

		if (buffer[i] != '\n')
			continue;
		dx_parse_vma(buffer + begin, &vma);
		begin = i + 1;
		status = visit(&vma, context);
	}
	*held -= begin;
	for (size_t i = 0; i < *held; i++)
		buffer[i] = buffer[begin + i];
	return status;
}

/* Drop what is left of a line; false if it goes on. */
static bool drop_line(char *buffer, size_t *held)
{
	size_t end = 0;

	while (end < *held && buffer[end] != '\n')
		end++;
	if (end == *held) {
		*held = 0;
		return false;
	}
	end++;
	for (size_t i = end; i < *held; i++)
		buffer[i - end] = buffer[i];
	*held -= end;
	return true;
}

static int visit_file(long fd, char *buffer, size_t room, dx_visit *visit, void *context)
{
	size_t held = 0;
	int status = 0;
	bool skipping = false; /* the rest of a line too long for the buffer */

	while (status == 0) {
		long n = syscall(SYS_read, fd, buffer + held, room - held);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		held += n;
		if (skipping && !drop_line(buffer, &held))
			continue;
		skipping = false;
		status = visit_lines(buffer, &held, visit, context);
		if (held == room) {
			struct dx_vma vma; /* what matters stands at its begin */

			dx_parse_vma(buffer, &vma);
			status = status ? status : visit(&vma, context);
			held = 0;
			skipping = true;
		}
	}
	return status;
}

static long open_maps(void)
{
	long fd = syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int dx_each_vma(int maps, dx_visit *visit, void *context)
{
	char buffer[9216]; /* two of the longest lines */
	long fd = maps >= 0 ? maps : open_maps();
	int status;

	if (fd < 0)
		return fd;
	if (maps >= 0)
		syscall(SYS_lseek, fd, 0, 0);
	status = visit_file(fd, buffer, sizeof(buffer), visit, context);
	if (maps < 0)
		syscall(SYS_close, fd);
	return status;
}

struct sought {
	uint64_t at;
	struct dx_vma *vma;
};

static int find(const struct dx_vma *vma, void *context)
{
	const struct sought *sought = context;

	if (vma->start > sought->at || vma->end <= sought->at)
		return 0;
	*sought->vma = *vma;
	return 1;
}

int dx_find_vma(uint64_t at, struct dx_vma *vma)
{
	struct sought sought = { .at = at, .vma = vma };
	char buffer[256]; /* what matters of a line, and a piece of its path */
	long fd = open_maps();
	int status;

	if (fd < 0)
		return fd;
	status = visit_file(fd, buffer, sizeof(buffer), find, &sought);
	syscall(SYS_close, fd);
	return status;
}

/* The argument of ioctl PROCMAP_QUERY; C libraries of today's distributions do not declare it yet. */
struct query {
	uint64_t size, flags, address;
	uint64_t start, end, vma_flags, page_size, offset, inode;
	uint32_t major, minor, name_size, build_id_size;
	uint64_t name, build_id;
};

enum { QUERY_READABLE = 1, QUERY_WRITABLE = 2, QUERY_EXECUTABLE = 4, QUERY_SHARED = 8 };

int dx_vma_at(int maps, uint64_t at, struct dx_vma *vma)
{
	struct query query = { .size = sizeof(query), .address = at };

	if (syscall(SYS_ioctl, maps, _IOWR('f', 17, struct query), &query) < 0)
		return errno == ENOENT ? 0 : -errno;
	*vma = (struct dx_vma){ .start = query.start, .end = query.end, .offset = query.offset, .ino = query.inode };
	vma->dev = makedev(query.major, query.minor);
	vma->shared = query.vma_flags & QUERY_SHARED;
	vma->prot = (query.vma_flags & QUERY_READABLE ? PROT_READ : 0) |
		    (query.vma_flags & QUERY_WRITABLE ? PROT_WRITE : 0) |
		    (query.vma_flags & QUERY_EXECUTABLE ? PROT_EXEC : 0);
	return 1;
}
