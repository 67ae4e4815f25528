/* SPDX-License-Identifier: MIT */
/*
 * Revocation without losing data: remap_file_pages moves a shared mapping within its own file, in
 * place and under the kernel's lock. Far past the end of the file every touch is SIGBUS; moved
 * back, the data is there. How far tells why: each reason is a bit of the offset. The kernel's own
 * list of mappings says what there is to do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layout.h"
#include "maps.h"
#include "vma.h"

static int map_again(const struct dx_vma *vma, uint64_t offset, int fd)
{
	long status = syscall(SYS_mmap, vma->start, vma->end - vma->start, vma->prot, MAP_SHARED | MAP_FIXED, fd, offset);

	return status == -1 ? -errno : 1;
}

/* A mapping that was made through a descriptor for reading must not become one that mprotect could make writable. */
static int map_again_for_reading(const struct dx_vma *vma, uint64_t offset, int fd)
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

static int move(const struct dx_vma *vma, uint64_t offset, int fd)
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

struct wish {
	const struct dx_part *part;
	uint64_t reason;
	bool holds;
	int file, changed, error;
	dx_ours *ours;
};

/* Leave of VMA what lies in the part; false if nothing does. */
static bool intersect(struct dx_vma *vma, const struct dx_part *part)
{
	uint64_t offset = vma->offset & ~DX_MOVED, after = offset + (vma->end - vma->start);
	uint64_t first = part->first > offset ? part->first : offset, end = part->end < after ? part->end : after;
	uint64_t start = vma->start;

	if (first >= end)
		return false;
	vma->end = start + (end - offset) < part->to ? start + (end - offset) : part->to;
	vma->start = start + (first - offset) > part->from ? start + (first - offset) : part->from;
	vma->offset += vma->start - start;
	return vma->start < vma->end;
}

static int move_vma(const struct dx_vma *vma, void *context)
{
	struct wish *wish = context;
	struct dx_vma part = *vma;
	int status;

	if (vma->ino != wish->part->ino || vma->dev != wish->part->dev || !vma->shared ||
	    !(vma->offset & wish->reason) != wish->holds || !intersect(&part, wish->part))
		return 0;
	status = move(&part, part.offset ^ wish->reason, wish->file);
	if (status < 0)
		wish->error = status;
	else
		wish->changed++;
	return 0;
}

/* Nobody but us maps a file so far up: this one has been moved by mistake. */
static int repair_vma(const struct dx_vma *vma, void *context)
{
	struct wish *wish = context;

	if (vma->shared && (vma->offset & wish->reason) && vma->offset < DX_MOVED + DX_MOVED_DEAD && !wish->ours(vma->dev, vma->ino))
		move(vma, vma->offset & ~DX_MOVED, -1);
	return 0;
}

int dx_move_mappings(const struct dx_part *part, uint64_t reason, bool holds, int file, dx_ours *ours, int maps)
{
	struct wish wish = { .part = part, .reason = reason, .holds = holds, .file = file, .ours = ours };
	int status = dx_each_vma(maps, move_vma, &wish);

	if (status == 0 && ours && wish.changed && holds)
		dx_each_vma(maps, repair_vma, &wish);
	if (status == 0 && wish.error == -EINVAL) {
		/* A mapping that went away under our eyes? Then there is nothing left to do. */
		wish.error = 0;
		status = dx_each_vma(maps, move_vma, &wish);
	}
	return status < 0 ? status : wish.error ? wish.error : wish.changed;
}

int dx_sync_mappings(uint64_t dev, uint64_t ino, bool alive, int file, dx_ours *ours, int maps)
{
	const struct dx_part all = { .dev = dev, .ino = ino, .end = UINT64_MAX, .to = UINTPTR_MAX };

	return dx_move_mappings(&all, DX_MOVED_DEAD, !alive, file, ours, maps);
}
