/* SPDX-License-Identifier: MIT */
/*
 * Calls on mappings. A dax mapping is split at multiples of its device's alignment only, is never
 * synced, and cannot be thrown away. What concerns no device costs two comparisons.
 */
#include "preload.h"

#include <stdarg.h>
#include <sys/syscall.h>

#include "maps.h"
#include "real.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

/* Between these addresses lie all mappings of devices that this process has ever made. */
static uintptr_t lowest = UINTPTR_MAX, highest;

void dx_note_mapping(const void *at, size_t length)
{
	uintptr_t start = (uintptr_t)at, end = start + length;

	if (start < __atomic_load_n(&lowest, __ATOMIC_RELAXED))
		__atomic_store_n(&lowest, start, __ATOMIC_RELAXED);
	if (end > __atomic_load_n(&highest, __ATOMIC_RELAXED))
		__atomic_store_n(&highest, end, __ATOMIC_RELAXED);
}

static int mappings_locked;

void dx_lock_mappings(void)
{
	for (int tries = 0; tries < 1000000; tries++) {
		if (!__atomic_exchange_n(&mappings_locked, 1, __ATOMIC_ACQUIRE))
			return;
		syscall(SYS_sched_yield);
	}
}

void dx_unlock_mappings(void)
{
	__atomic_store_n(&mappings_locked, 0, __ATOMIC_RELEASE);
}

bool dx_may_be_mapped(const void *at, size_t length)
{
	uintptr_t start = (uintptr_t)at;

	return unlikely(start < highest && start + length > lowest);
}

/* What a range of addresses means for the devices mapped there. */
struct survey {
	uintptr_t start, end;
	bool any; /* a device is mapped somewhere in it */
	bool split; /* an end lies within a mapping, off its alignment */
	uint64_t align;
};

static int look(const struct dx_vma *vma, void *context)
{
	struct survey *survey = context;
	struct table_device device;

	if (vma->start >= survey->end || vma->end <= survey->start || !vma->shared ||
	    !dx_table_device_by_file(dx_session.table, vma->dev, vma->ino, &device))
		return 0;
	survey->any = true;
	survey->align = device.align ? device.align : 4096;
	if (survey->start > vma->start && (survey->start & (survey->align - 1)))
		survey->split = true;
	if (survey->end < vma->end && (survey->end & (survey->align - 1)))
		survey->split = true;
	return 0;
}

static struct survey survey(const void *at, size_t length)
{
	struct survey result = { .start = (uintptr_t)at, .end = ((uintptr_t)at + length + 4095) & ~4095UL };
	int saved = errno;

	if (dx_may_be_mapped(at, length))
		dx_each_vma(-1, look, &result);
	errno = saved;
	return result;
}

static int refuse(int error)
{
	errno = error;
	return -1;
}

bool dx_would_split(const void *at, size_t length)
{
	return survey(at, length).split;
}

EXPORT int munmap(void *at, size_t length)
{
	int result, error;

	if (likely(!dx_may_be_mapped(at, length)))
		return REAL(munmap)(at, length);
	dx_lock_mappings();
	result = dx_would_split(at, length) ? refuse(EINVAL) : REAL(munmap)(at, length);
	error = errno;
	dx_unlock_mappings();
	errno = error;
	return result;
}

EXPORT int mprotect(void *at, size_t length, int prot)
{
	return dx_would_split(at, length) ? refuse(EINVAL) : REAL(mprotect)(at, length, prot);
}

EXPORT int msync(void *at, size_t length, int flags)
{
	if ((flags & MS_SYNC) && !(flags & MS_ASYNC) && survey(at, length).any)
		return refuse(EINVAL);
	return REAL(msync)(at, length, flags);
}

static int advise(void *at, size_t length, int advice, const struct survey *seen)
{
	switch (advice) {
	case MADV_FREE:
	case MADV_WIPEONFORK:
	case MADV_COLLAPSE:
		return refuse(EINVAL);
	case MADV_REMOVE:
		return refuse(ENODEV);
	case MADV_SOFT_OFFLINE:
		return refuse(EIO);
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_DONTFORK:
	case MADV_DOFORK:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_KEEPONFORK:
		return seen->split ? refuse(EINVAL) : REAL(madvise)(at, length, advice);
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_MERGEABLE:
	case MADV_UNMERGEABLE:
		/* To the file behind the device they would mean something else. */
		return seen->split ? refuse(EINVAL) : 0;
	case MADV_COLD:
	case MADV_PAGEOUT:
		return 0;
	default:
		return REAL(madvise)(at, length, advice);
	}
}

EXPORT int madvise(void *at, size_t length, int advice)
{
	struct survey seen = survey(at, length);

	if (likely(!seen.any) || ((uintptr_t)at & 4095))
		return REAL(madvise)(at, length, advice);
	return advise(at, length, advice, &seen);
}

/* Grow where it is, or move to a place that suits the alignment, as the kernel would choose one. */
static void *grow(void *old, size_t old_length, size_t length, int flags, uint64_t align)
{
	void *result = REAL(mremap)(old, old_length, length, flags & ~MREMAP_MAYMOVE);
	char *area, *at;

	if (result != MAP_FAILED || !(flags & MREMAP_MAYMOVE))
		return result;
	area = REAL(mmap)(NULL, length + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return MAP_FAILED;
	at = area + (((uintptr_t)old - (uintptr_t)area) & (align - 1));
	result = REAL(mremap)(old, old_length, length, MREMAP_MAYMOVE | MREMAP_FIXED, at);
	if (at > area)
		REAL(munmap)(area, at - area);
	REAL(munmap)(at + length, area + align - at);
	if (result == MAP_FAILED)
		REAL(munmap)(at, length);
	return result;
}

static void *remap_device(void *old, size_t old_length, size_t length, int flags, void *at, const struct survey *seen)
{
	void *result;

	length = (length + 4095) & ~4095UL;
	old_length = (old_length + 4095) & ~4095UL;
	if (old_length && (seen->split || (length < old_length && (length & (seen->align - 1)))))
		return refuse(EINVAL), MAP_FAILED;
	if (!(flags & ~MREMAP_MAYMOVE) && old_length && length > old_length)
		result = grow(old, old_length, length, flags, seen->align);
	else
		result = REAL(mremap)(old, old_length, length, flags, at);
	if (result != MAP_FAILED)
		dx_note_mapping(result, length);
	return result;
}

EXPORT void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
	va_list arguments;
	struct survey seen = survey(old, old_length ? old_length : 1);
	void *at, *result;
	int error;

	va_start(arguments, flags);
	at = flags & MREMAP_FIXED ? va_arg(arguments, void *) : NULL;
	va_end(arguments);
	if (likely(!seen.any && !(at && dx_may_be_mapped(at, length))))
		return REAL(mremap)(old, old_length, length, flags, at);
	if (at && dx_would_split(at, length))
		return refuse(EINVAL), MAP_FAILED;
	dx_lock_mappings();
	result = seen.any ? remap_device(old, old_length, length, flags, at, &seen) :
			    REAL(mremap)(old, old_length, length, flags, at);
	error = errno;
	dx_unlock_mappings();
	errno = error;
	return result;
}
