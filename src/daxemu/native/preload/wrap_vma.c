/* SPDX-License-Identifier: MIT */
/*
 * Calls that change what is mapped. A dax mapping is split at multiples of its device's alignment
 * only. What concerns no device costs two comparisons.
 */
#include "preload.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "maps.h"
#include "real.h"

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

static int holder; /* thread that holds the lock, or 0 */
static uint64_t signals_of_holder;

static void set_signals(uint64_t mask, uint64_t *old)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, old, sizeof(mask));
}

/* No handler runs while the lock is held: it might want it too, or leave by longjmp. Nor waits anybody for ever. */
void dx_lock_mappings(void)
{
	int self = syscall(SYS_gettid);
	uint64_t old;

	set_signals(UINT64_MAX, &old);
	for (int tries = 0; tries < 1000000; tries++) {
		int nobody = 0;

		if (__atomic_compare_exchange_n(&holder, &nobody, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
			signals_of_holder = old;
			return;
		}
		syscall(SYS_sched_yield);
	}
	set_signals(old, NULL);
}

void dx_unlock_mappings(void)
{
	uint64_t old = signals_of_holder;

	if (__atomic_load_n(&holder, __ATOMIC_RELAXED) != syscall(SYS_gettid))
		return;
	__atomic_store_n(&holder, 0, __ATOMIC_RELEASE);
	set_signals(old, NULL);
}

void dx_reset_mappings(void)
{
	holder = 0;
}

bool dx_may_be_mapped(const void *at, size_t length)
{
	uintptr_t start = (uintptr_t)at;

	return unlikely(start < highest && start + length > lowest);
}

static int look(const struct dx_vma *vma, void *context)
{
	struct dx_survey *survey = context;
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

struct dx_survey dx_survey(const void *at, size_t length)
{
	struct dx_survey result = { .start = (uintptr_t)at, .end = ((uintptr_t)at + length + 4095) & ~4095UL };
	int saved = errno;

	if (dx_may_be_mapped(at, length))
		dx_each_vma(-1, look, &result);
	errno = saved;
	return result;
}

bool dx_would_split(const void *at, size_t length)
{
	return dx_survey(at, length).split;
}

EXPORT int munmap(void *at, size_t length)
{
	int result, error;

	if (likely(!dx_may_be_mapped(at, length)))
		return REAL(munmap)(at, length);
	dx_lock_mappings();
	result = dx_would_split(at, length) ? dx_refuse(EINVAL) : REAL(munmap)(at, length);
	error = errno;
	if (result == 0)
		dx_forget_readonly(at, length);
	dx_unlock_mappings();
	errno = error;
	return result;
}

EXPORT int mprotect(void *at, size_t length, int prot)
{
	struct dx_survey seen = dx_survey(at, length);

	if (seen.any && (prot & PROT_WRITE) && dx_is_readonly(at, length))
		return dx_refuse(EACCES);
	return seen.split ? dx_refuse(EINVAL) : REAL(mprotect)(at, length, prot);
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

static void *remap_device(void *old, size_t old_length, size_t length, int flags, void *at, const struct dx_survey *seen)
{
	void *result;
	bool readonly;

	length = (length + 4095) & ~4095UL;
	old_length = (old_length + 4095) & ~4095UL;
	if (old_length && (seen->split || (length < old_length && (length & (seen->align - 1)))))
		return dx_refuse(EINVAL), MAP_FAILED;
	if (!(flags & ~MREMAP_MAYMOVE) && old_length && length > old_length)
		result = grow(old, old_length, length, flags, seen->align);
	else
		result = REAL(mremap)(old, old_length, length, flags, at);
	if (result == MAP_FAILED)
		return result;
	dx_note_mapping(result, length);
	readonly = dx_is_readonly(old, 1);
	dx_forget_readonly(old, old_length);
	dx_forget_readonly(result, length);
	if (readonly)
		dx_note_readonly(result, length);
	return result;
}

EXPORT void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
	va_list arguments;
	struct dx_survey seen = dx_survey(old, old_length ? old_length : 1);
	void *at, *result;
	int error;

	va_start(arguments, flags);
	at = flags & MREMAP_FIXED ? va_arg(arguments, void *) : NULL;
	va_end(arguments);
	if (likely(!seen.any && !(at && dx_may_be_mapped(at, length))))
		return REAL(mremap)(old, old_length, length, flags, at);
	if (at && dx_would_split(at, length))
		return dx_refuse(EINVAL), MAP_FAILED;
	dx_lock_mappings();
	result = seen.any ? remap_device(old, old_length, length, flags, at, &seen) :
			    REAL(mremap)(old, old_length, length, flags, at);
	error = errno;
	dx_unlock_mappings();
	errno = error;
	return result;
}
