/* SPDX-License-Identifier: MIT */
/*
 * Where the driver refuses faults though the device is alive. A device of 2 MiB or 1 GiB blocks maps whole blocks by one
 * huge page: not where it may not, nor in a mapping with an end within a block. What is mapped needs no fault; so a block
 * is refused, which is to say moved to where every touch is SIGBUS, as soon as none of its pages is in the page tables.
 */
#include "preload.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include "maps.h"
#include "real.h"
#include "vma.h"

static bool unaligned; /* has there ever been a mapping with an end off the alignment? */

void dx_note_unaligned(void)
{
	unaligned = true;
}

bool dx_is_present_in(int pagemap, uintptr_t start, uintptr_t end)
{
	uint64_t pages[512];
	bool present = false;

	while (!present && start < end) {
		size_t n = (end - start) / 4096 < 512 ? (end - start) / 4096 : 512;
		long got = syscall(SYS_pread64, pagemap, pages, n * 8, start / 4096 * 8);

		for (long i = 0; i < got / 8 && !present; i++)
			present = pages[i] >> 63;
		start += n * 4096;
	}
	return present;
}

bool dx_is_present(uintptr_t start, uintptr_t end)
{
	int fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool present = fd >= 0 && dx_is_present_in(fd, start, end);

	if (fd >= 0)
		syscall(SYS_close, fd);
	return present;
}

/* A mapping as the program knows it: pieces that lie side by side, in the address space and in the file. */
struct run {
	uintptr_t start, end;
	uint64_t dev, ino, align, offset;
	int prot;
};

static void refuse(const struct run *run, uintptr_t from, uintptr_t to, bool refused)
{
	const struct dx_part part = { .dev = run->dev, .ino = run->ino, .end = UINT64_MAX, .from = from, .to = to };

	if (from < to)
		dx_move_mappings(&part, DX_MOVED_REFUSED, refused, dx_is_device, -1);
}

static void settle_run(const struct run *run)
{
	bool off = (run->start | run->end) & (run->align - 1), refused = false;
	uintptr_t from = run->start, after;

	if (run->align <= 4096)
		return;
	/* Blocks with the same answer in one go. */
	for (uintptr_t at = run->start; at < run->end; at = after) {
		bool forbidden;

		after = (at & ~(run->align - 1)) + run->align;
		after = after < run->end ? after : run->end;
		forbidden = off || dx_in_ranges(&dx_no_huge, (void *)at, after - at);
		forbidden = forbidden && !dx_is_present(at, after);
		if (forbidden == refused)
			continue;
		refuse(run, from, at, refused);
		from = at;
		refused = forbidden;
	}
	refuse(run, from, run->end, refused);
}

static int collect(const struct dx_vma *vma, void *context)
{
	struct run *run = context;
	uint64_t offset = vma->offset & ~DX_MOVED;
	struct table_device device;

	if (run->end == vma->start && run->dev == vma->dev && run->ino == vma->ino && run->prot == vma->prot &&
	    vma->shared && run->offset + (vma->start - run->start) == offset) {
		run->end = vma->end;
		return 0;
	}
	if (run->end)
		settle_run(run);
	*run = (struct run){ 0 };
	if (vma->shared && dx_table_device_by_file(dx_session.table, vma->dev, vma->ino, &device))
		*run = (struct run){ vma->start, vma->end, vma->dev, vma->ino, device.align ? device.align : 4096, offset,
				     vma->prot };
	return 0;
}

void dx_settle_refusals(int maps)
{
	struct run run = { 0 };
	int saved = errno;

	if (likely(!unaligned && !dx_no_huge.used))
		return;
	dx_each_vma(maps, collect, &run);
	if (run.end)
		settle_run(&run);
	errno = saved;
}
