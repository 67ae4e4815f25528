/* SPDX-License-Identifier: MIT */
/* Calls that have no function, or none everywhere, and are made by syscall(2): of these, no others. */
#include "preload.h"

#include <stdarg.h>
#include <sys/syscall.h>

#include "maps.h"
#include "real.h"
#include "vma.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

static int seal_other(const struct dx_vma *vma, void *context)
{
	const struct dx_survey *seen = context;
	uintptr_t start = vma->start > seen->start ? vma->start : seen->start;
	uintptr_t end = vma->end < seen->end ? vma->end : seen->end;

	if (start < end && !(vma->shared && dx_is_device(vma->dev, vma->ino)))
		REAL(syscall)(SYS_mseal, start, end - start, 0);
	return 0;
}

/* The kernel would not let us revoke what it has sealed: a device's mapping is sealed against the program alone. */
static long seal(const void *at, size_t length, unsigned long flags)
{
	struct dx_survey seen = dx_survey(at, length);
	bool sealed;

	if (!seen.any)
		return REAL(syscall)(SYS_mseal, at, length, flags);
	if (!dx_quirk(DX_QUIRK_SEALS_MAPPINGS))
		return dx_refuse(ENOSYS);
	if (flags || ((uintptr_t)at & 4095))
		return dx_refuse(EINVAL);
	if (seen.hole || seen.split)
		return dx_refuse(seen.hole ? ENOMEM : EINVAL);
	dx_lock_mappings();
	sealed = dx_add_range(&dx_sealed, at, seen.end - seen.start);
	dx_unlock_mappings();
	if (!sealed)
		return dx_refuse(ENOMEM);
	dx_each_vma(-1, seal_other, &seen);
	return 0;
}

/* Pages of a device are on no list that they could be moved from: ENOENT for each. */
static long move_pages(long pid, unsigned long n, void **pages, const int *nodes, int *status, long flags)
{
	long result = REAL(syscall)(SYS_move_pages, pid, n, pages, nodes, status, flags);

	if (result < 0 || !status || (pid && pid != getpid()))
		return result;
	for (unsigned long i = 0; i < n; i++)
		if (dx_survey(pages[i], 1).any)
			status[i] = -ENOENT;
	return result;
}

/* How many arguments there are, only the kernel knows: like the C library's own it takes as many as there may be. */
EXPORT __attribute__((no_sanitize("address"))) long syscall(long number, ...)
{
	va_list arguments;
	long of[6];

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		of[i] = va_arg(arguments, long);
	va_end(arguments);
	if (unlikely(number == SYS_mseal))
		return seal((void *)of[0], of[1], of[2]);
	if (unlikely(number == SYS_move_pages) && dx_active())
		return move_pages(of[0], of[1], (void **)of[2], (const int *)of[3], (int *)of[4], of[5]);
	if (unlikely(number == SYS_io_submit))
		return dx_edge(dx_submit(of[0], of[1], (struct iocb **)of[2]));
	return REAL(syscall)(number, of[0], of[1], of[2], of[3], of[4], of[5]);
}

/* Part of the mapping shows another part of the device: in the kernel's eyes, something is mapped over it. */
static int remap(void *at, size_t length, int prot, size_t pgoff, int flags)
{
	struct dx_survey seen = dx_survey(at, length);
	struct table_device device;
	int result;

	if (!seen.any)
		return REAL(remap_file_pages)(at, length, prot, pgoff, flags);
	if (prot || dx_in_ranges(&dx_sealed, at, length))
		return dx_refuse(prot ? EINVAL : EPERM);
	if (seen.split)
		return dx_refuse(dx_quirk(DX_QUIRK_FIXED_SPLITS_ENOMEM) ? ENOMEM : EINVAL);
	if (!dx_table_device(dx_session.table, seen.minor, &device) || !(device.flags & DX_DEVICE_ALIVE))
		return dx_refuse(ENXIO);
	result = REAL(remap_file_pages)(at, length, 0, pgoff & ~(seen.align / 4096 - 1), flags);
	if (result == 0 && dx_table_device(dx_session.table, seen.minor, &device))
		dx_sync_mappings(device.dev, device.ino, device.flags & DX_DEVICE_ALIVE, dx_is_device, -1);
	return result;
}

EXPORT int remap_file_pages(void *at, size_t length, int prot, size_t pgoff, int flags)
{
	int result, error;

	if (likely(!dx_may_be_mapped(at, length)))
		return REAL(remap_file_pages)(at, length, prot, pgoff, flags);
	dx_lock_mappings();
	result = remap(at, length, prot, pgoff, flags);
	error = errno;
	dx_settle_refusals(-1);
	dx_unlock_mappings();
	errno = error;
	return result;
}

/* Advice for mappings of another process, or of this one; of the kernels there are, those that we know take four kinds. */
EXPORT ssize_t process_madvise(int pidfd, const struct iovec *parts, size_t n, int advice, unsigned flags)
{
	for (size_t i = 0; i < n && parts; i++)
		if (unlikely(dx_may_be_mapped(parts[i].iov_base, parts[i].iov_len)) && advice != MADV_COLD &&
		    advice != MADV_PAGEOUT && advice != MADV_WILLNEED && dx_survey(parts[i].iov_base, parts[i].iov_len).any)
			return dx_refuse(EINVAL);
	return REAL(process_madvise)(pidfd, parts, n, advice, flags);
}
