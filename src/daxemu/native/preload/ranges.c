/* SPDX-License-Identifier: MIT */
/* What there is to remember of mappings of devices that the kernel does not know of the files behind them. */
#include "preload.h"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct dx_ranges dx_readonly, dx_no_huge, dx_sealed, dx_synchronous;

static struct dx_ranges *const all[] = { &dx_readonly, &dx_no_huge, &dx_sealed, &dx_synchronous };
enum { KINDS = sizeof(all) / sizeof(*all) };

bool dx_add_range(struct dx_ranges *ranges, const void *at, size_t length)
{
	struct dx_range new = { (uintptr_t)at, ((uintptr_t)at + length + 4095) & ~4095UL };
	struct dx_range *room = NULL;

	for (int i = 0; i < DX_RANGES; i++) {
		struct dx_range *old = &ranges->of[i];

		if (old->end && old->start <= new.end && old->end >= new.start) {
			new.start = old->start < new.start ? old->start : new.start;
			new.end = old->end > new.end ? old->end : new.end;
			*old = (struct dx_range){ 0, 0 };
		}
		if (!old->end)
			room = old;
	}
	if (!room)
		return false;
	*room = new;
	return ranges->used = true;
}

bool dx_in_ranges(const struct dx_ranges *ranges, const void *at, size_t length)
{
	uintptr_t start = (uintptr_t)at, end = start + length;

	if (likely(!ranges->used))
		return false;
	for (int i = 0; i < DX_RANGES; i++)
		if (ranges->of[i].start < end && ranges->of[i].end > start)
			return true;
	return false;
}

void dx_remove_range(struct dx_ranges *ranges, const void *at, size_t length)
{
	uintptr_t start = (uintptr_t)at, end = (start + length + 4095) & ~4095UL;

	for (int i = 0; ranges->used && i < DX_RANGES; i++) {
		struct dx_range was = ranges->of[i];

		if (was.start >= end || was.end <= start)
			continue;
		ranges->of[i] = (struct dx_range){ 0, 0 };
		if (was.start < start)
			dx_add_range(ranges, (void *)was.start, start - was.start);
		if (was.end > end && !dx_add_range(ranges, (void *)end, was.end - end))
			ranges->of[i] = was; /* no room for two pieces: better too much than too little */
	}
}

void dx_forget_ranges(const void *at, size_t length)
{
	for (int i = 0; i < KINDS; i++)
		dx_remove_range(all[i], at, length);
}

/* Of what was remembered of [old, old_end), the same for the place that it was moved to. */
static void add_moved(struct dx_ranges *ranges, struct dx_range was, uintptr_t old, uintptr_t old_end, uintptr_t new,
		      uintptr_t new_end)
{
	uintptr_t start = was.start > old ? was.start : old, end = was.end < old_end ? was.end : old_end;
	uintptr_t at = new + (start - old), after = end == old_end ? new_end : new + (end - old);

	if (start < end && at < after)
		dx_add_range(ranges, (void *)at, after - at);
}

void dx_move_ranges(const void *old, size_t old_length, const void *new, size_t length, bool keeps_old)
{
	uintptr_t from = (uintptr_t)old, to = (uintptr_t)new;

	for (int i = 0; i < KINDS; i++) {
		const struct dx_ranges before = *all[i];

		if (!before.used)
			continue;
		if (!keeps_old)
			dx_remove_range(all[i], old, old_length);
		dx_remove_range(all[i], new, length);
		for (int n = 0; n < DX_RANGES; n++)
			add_moved(all[i], before.of[n], from, from + old_length, to, to + length);
	}
}

extern const char __ehdr_start[] __attribute__((visibility("hidden"))); /* the linker puts it where the library begins */

uintptr_t dx_library(void)
{
	return (uintptr_t)__ehdr_start;
}

SLOW bool dx_in_ranges_of(pid_t pid, uintptr_t library, const struct dx_ranges *ranges, const void *at, size_t length)
{
	struct dx_ranges theirs;
	struct iovec here = { &theirs, sizeof(theirs) };
	struct iovec there = { (void *)(library + ((uintptr_t)ranges - dx_library())), sizeof(theirs) };

	return syscall(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0) == sizeof(theirs) && dx_in_ranges(&theirs, at, length);
}
