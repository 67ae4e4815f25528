/* SPDX-License-Identifier: MIT */
/*
 * Locked and resident memory. The memory of a device is there and stays there: when a range is locked the kernel maps
 * its blocks, but counts none of them. Nor must memory of the machine be locked for it, and as little as can be taken: by
 * mlockall, which cannot fail of it, nothing.
 */
#include "preload.h"

#include <sys/resource.h>

#include "maps.h"
#include "real.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

bool dx_locks_future;

struct others {
	uintptr_t start, end;
	int flags, error;
	bool maps; /* are blocks of devices to be mapped? */
	bool unmapped; /* some could not be */
};

/* Map the blocks of a device, by a page of each. Those of 4 KiB are many: the first and the last, and some between. */
static bool map_blocks(uintptr_t start, uintptr_t end, uint64_t align, int prot)
{
	const uint64_t step = align > 4096 ? align : 2 << 20;

	if (!prot)
		return false;
	for (uintptr_t at = start; at < end; at = (at & ~(step - 1)) + step)
		if (REAL(madvise)((void *)at, 4096, MADV_POPULATE_READ) < 0 && errno != EINVAL)
			return false;
	return REAL(madvise)((void *)(end - 4096), 4096, MADV_POPULATE_READ) == 0 || errno == EINVAL;
}

static int lock_vma(const struct dx_vma *vma, void *context)
{
	struct others *others = context;
	uintptr_t start = vma->start > others->start ? vma->start : others->start;
	uintptr_t end = vma->end < others->end ? vma->end : others->end;
	struct table_device device;

	if (start >= end)
		return 0;
	if (vma->shared && dx_table_device_by_file(dx_session.table, vma->dev, vma->ino, &device))
		others->unmapped |= others->maps && !map_blocks(start, end, device.align, vma->prot);
	else if (REAL(mlock2)((void *)start, end - start, others->flags) < 0)
		others->error = errno;
	return 0;
}

/* What the kernel asks of who wants to lock so much, whatever is mapped there. */
static int check_limit(size_t length)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || dx_is_capable(CAP_IPC_LOCK))
		return 0;
	return limit.rlim_cur == 0 ? EPERM : length > limit.rlim_cur ? ENOMEM : 0;
}

static int lock(const void *at, size_t length, int flags, const struct dx_survey *seen)
{
	struct others others = { .start = seen->start & ~4095UL, .end = seen->end, .flags = flags, .maps = true };
	int error = check_limit(seen->end - others.start);

	if (error || length == 0)
		return error ? dx_refuse(error) : 0;
	(void)at;
	dx_each_vma(-1, lock_vma, &others);
	return others.error ? dx_refuse(others.error) : seen->hole || others.unmapped ? dx_refuse(ENOMEM) : 0;
}

EXPORT int mlock(const void *at, size_t length)
{
	struct dx_survey seen = dx_survey(at, length);

	return likely(!seen.any) ? REAL(mlock)(at, length) : lock(at, length, 0, &seen);
}

EXPORT int mlock2(const void *at, size_t length, unsigned flags)
{
	struct dx_survey seen = dx_survey(at, length);

	if (likely(!seen.any) || (flags & ~MLOCK_ONFAULT))
		return REAL(mlock2)(at, length, flags);
	return lock(at, length, flags, &seen);
}

EXPORT int mlockall(int flags)
{
	struct others others = { .end = UINTPTR_MAX, .flags = flags & MCL_ONFAULT ? MLOCK_ONFAULT : 0 };
	int result;

	if (!dx_active() || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || !(flags & (MCL_CURRENT | MCL_FUTURE)))
		return REAL(mlockall)(flags);
	if (!dx_may_be_mapped(NULL, UINTPTR_MAX)) {
		result = REAL(mlockall)(flags);
	} else {
		/* Each mapping on its own; as in the kernel what cannot be locked is no error. */
		result = flags & MCL_FUTURE ? REAL(mlockall)(flags & ~MCL_CURRENT) : 0;
		if (result == 0 && (flags & MCL_CURRENT))
			dx_each_vma(-1, lock_vma, &others);
	}
	if (result == 0)
		dx_locks_future = flags & MCL_FUTURE;
	return result;
}

EXPORT int munlockall(void)
{
	dx_locks_future = false;
	return REAL(munlockall)();
}

struct residency {
	uintptr_t start, end;
	unsigned char *vector;
};

/* A block is mapped by one page, so it is there as a whole, or not; of pages of 1 GiB the kernel cannot tell. */
static int tell_residency(const struct dx_vma *vma, void *context)
{
	struct residency *asked = context;
	struct table_device device;
	uintptr_t after;

	if (vma->start >= asked->end || vma->end <= asked->start || !vma->shared ||
	    !dx_table_device_by_file(dx_session.table, vma->dev, vma->ino, &device))
		return 0;
	device.align = device.align ? device.align : 4096;
	for (uintptr_t block = vma->start; block < vma->end && block < asked->end; block = after) {
		bool present;

		after = (block & ~(device.align - 1)) + device.align;
		after = after < vma->end ? after : vma->end;
		if (after <= asked->start)
			continue;
		present = device.align <= 2 << 20 && dx_is_present(block, after);
		for (uintptr_t page = block > asked->start ? block : asked->start; page < after && page < asked->end; page += 4096)
			asked->vector[(page - asked->start) / 4096] = present;
	}
	return 0;
}

EXPORT int mincore(void *at, size_t length, unsigned char *vector)
{
	struct residency asked = { (uintptr_t)at, ((uintptr_t)at + length + 4095) & ~4095UL, vector };
	int result = REAL(mincore)(at, length, vector);

	if (result == 0 && dx_may_be_mapped(at, length))
		dx_each_vma(-1, tell_residency, &asked);
	return result;
}
