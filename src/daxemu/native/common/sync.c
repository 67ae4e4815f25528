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

struct wish {
	const struct dx_part *part;
	uint64_t reason;
	bool holds;
	int maps, changed, error;
	dx_ours *ours;
};

static bool is_part_of(const struct dx_vma *vma, const struct dx_vma *whole)
{
	return whole->start <= vma->start && whole->end >= vma->end && whole->dev == vma->dev && whole->ino == vma->ino &&
	       whole->shared && whole->offset + (vma->start - whole->start) == vma->offset;
}

/*
 * Move a mapping, if it is there still: others may have unmapped it since the look, and mapped something of theirs. To
 * map something over it would be to overwrite that; so what the kernel cannot move stays, and is an error.
 */
static int move(const struct wish *wish, const struct dx_vma *vma, uint64_t offset)
{
	struct dx_vma now;

	if (dx_vma_at(wish->maps, vma->start, &now) >= 0 && !is_part_of(vma, &now))
		return -EAGAIN;
	if (syscall(SYS_remap_file_pages, vma->start, vma->end - vma->start, 0, offset / 4096, MAP_NONBLOCK) == 0)
		return 1;
	return -errno;
}

/* Nobody but us maps a file so far up: this one has been moved by mistake. */
static int repair_vma(const struct dx_vma *vma, void *context)
{
	struct wish *wish = context;

	if (vma->shared && (vma->offset & wish->reason) && vma->offset < DX_MOVED + DX_MOVED_DEAD &&
	    !wish->ours(vma->dev, vma->ino))
		syscall(SYS_remap_file_pages, vma->start, vma->end - vma->start, 0, (vma->offset & ~DX_MOVED) / 4096,
			MAP_NONBLOCK);
	return 0;
}

/*
 * The kernel has no call that moves a mapping if it is a certain file's. It moves shared mappings only, so private
 * memory that took the place of ours is safe; another shared mapping is moved, seen, and moved back at once.
 */
static int move_and_see(struct wish *wish, const struct dx_vma *vma, uint64_t offset)
{
	int status = move(wish, vma, offset);
	struct dx_vma now;

	if (status == 1 && wish->holds && wish->ours && dx_vma_at(wish->maps, vma->start, &now) == 1)
		repair_vma(&now, wish);
	return status;
}

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
	status = move_and_see(wish, &part, part.offset ^ wish->reason);
	if (status < 0)
		wish->error = status;
	else
		wish->changed++;
	return 0;
}

enum { LOOKS = 8 };

static int move_all(struct wish *wish)
{
	struct dx_vma first;
	int status;

	/* One that was split or went away under our eyes? What is there now, the next look sees. */
	for (int look = 0; look < LOOKS; look++) {
		wish->error = 0;
		status = dx_each_vma(wish->maps, move_vma, wish);
		if (status < 0 || (wish->error != -EINVAL && wish->error != -EAGAIN))
			break;
	}
	if (status == 0 && wish->ours && wish->changed && wish->holds && dx_vma_at(wish->maps, 0, &first) < 0)
		dx_each_vma(wish->maps, repair_vma, wish);
	return status < 0 ? status : wish->error ? wish->error : wish->changed;
}

int dx_move_mappings(const struct dx_part *part, uint64_t reason, bool holds, dx_ours *ours, int maps)
{
	struct wish wish = { .part = part, .reason = reason, .holds = holds, .ours = ours, .maps = maps };
	int status;

	if (maps < 0)
		wish.maps = syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
	if (wish.maps < 0)
		return -errno;
	status = move_all(&wish);
	if (maps < 0)
		syscall(SYS_close, wish.maps);
	return status;
}

int dx_sync_mappings(uint64_t dev, uint64_t ino, bool alive, dx_ours *ours, int maps)
{
	const struct dx_part all = { .dev = dev, .ino = ino, .end = UINT64_MAX, .to = UINTPTR_MAX };

	return dx_move_mappings(&all, DX_MOVED_DEAD, !alive, ours, maps);
}
