/* SPDX-License-Identifier: MIT */
/*
 * Revocation without losing data: remap_file_pages moves a shared mapping within its own file, in
 * place and under the kernel's lock. Far past the end of the file every touch is SIGBUS; moved
 * back, the data is there. The kernel's own list of mappings says what there is to do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "layout.h"
#include "vma.h"

struct vma {
	uint64_t start, end, offset, dev, ino;
	bool shared;
	int prot;
};

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

/* One line of /proc/self/maps: "start-end perms offset major:minor inode path". */
static void parse(const char *line, struct vma *vma)
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

static int map_again(const struct vma *vma, uint64_t offset, int fd)
{
	long status = syscall(SYS_mmap, vma->start, vma->end - vma->start, vma->prot, MAP_SHARED | MAP_FIXED, fd, offset);

	return status == -1 ? -errno : 1;
}

/* A mapping that was made through a descriptor for reading must not become one that mprotect could make writable. */
static int map_again_for_reading(const struct vma *vma, uint64_t offset, int fd)
{
	static const char prefix[] = "/proc/thread-self/fd/";
	char path[sizeof(prefix) + 12], digits[12];
	int status, n = 0, at = sizeof(prefix) - 1;
	long reader;

	for (int i = 0; i < at; i++)
		path[i] = prefix[i];
	do
		digits[n++] = '0' + fd % 10;
	while (fd /= 10);
	while (n)
		path[at++] = digits[--n];
	path[at] = 0;
	reader = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (reader < 0)
		return -errno;
	status = map_again(vma, offset, reader);
	syscall(SYS_close, reader);
	return status;
}

static int move(const struct vma *vma, uint64_t offset, int fd)
{
	if (syscall(SYS_remap_file_pages, vma->start, vma->end - vma->start, 0, offset / 4096, MAP_NONBLOCK) == 0)
		return 1;
	if (fd < 0)
		return -errno;
	/* EINVAL: to the kernel a shared mapping of a file that is open for reading is not quite shared. */
	if (errno == EINVAL && !(vma->prot & PROT_WRITE))
		return map_again_for_reading(vma, offset, fd);
	return errno == ENOSYS || errno == EPERM ? map_again(vma, offset, fd) : -errno;
}

static int sync_vma(const struct vma *vma, uint64_t dev, uint64_t ino, bool alive, int fd)
{
	bool revoked = vma->offset >= DX_REVOKED_OFFSET;

	if (vma->ino != ino || vma->dev != dev || !vma->shared || revoked != alive)
		return 0;
	return move(vma, alive ? vma->offset - DX_REVOKED_OFFSET : vma->offset + DX_REVOKED_OFFSET, fd);
}

int dx_sync_mappings(uint64_t dev, uint64_t ino, bool alive, int file)
{
	enum { LINE = 4608 };
	char buffer[2 * LINE];
	int changed = 0, error = 0;
	size_t held = 0;
	long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (;;) {
		size_t begin = 0;
		long n = syscall(SYS_read, fd, buffer + held, sizeof(buffer) - held);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		held += n;
		for (size_t i = 0; i < held; i++) {
			struct vma vma;
			int status;

			if (buffer[i] != '\n')
				continue;
			parse(buffer + begin, &vma);
			begin = i + 1;
			status = sync_vma(&vma, dev, ino, alive, file);
			if (status < 0)
				error = status;
			else
				changed += status;
		}
		held -= begin;
		for (size_t i = 0; i < held; i++)
			buffer[i] = buffer[begin + i];
		if (held == sizeof(buffer))
			held = 0;
	}
	syscall(SYS_close, fd);
	return error ? error : changed;
}
