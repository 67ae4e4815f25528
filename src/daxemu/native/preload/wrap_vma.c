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
	__atomic_fetch_add(&dx_mappings_generation, 1, __ATOMIC_RELEASE);
}

uint32_t dx_mappings_generation;

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

	if (dx_mappings_generation)
		__atomic_fetch_add(&dx_mappings_generation, 1, __ATOMIC_RELEASE);
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

	if (vma->start >= survey->end || vma->end <= survey->start)
		return 0;
	survey->hole |= vma->start > survey->seen;
	survey->seen = vma->end;
	if (!vma->shared || !dx_table_device_by_file(dx_session.table, vma->dev, vma->ino, &device))
		return 0;
	if (!survey->any)
		survey->lowest = vma->start;
	survey->highest = vma->end;
	survey->any = true;
	survey->minor = device.minor;
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

	result.seen = result.start;
	if (dx_may_be_mapped(at, length))
		dx_each_vma(-1, look, &result);
	result.hole |= result.seen < result.end;
	errno = saved;
	return result;
}

bool dx_would_split(const void *at, size_t length)
{
	return dx_survey(at, length).split;
}

/* Do what changes the mappings of devices, with their kinds of mappings in order afterwards. */
#define CHANGE(call)                                                                                                   \
	({                                                                                                             \
		int result_, error_;                                                                                   \
		dx_lock_mappings();                                                                                    \
		result_ = (call);                                                                                      \
		error_ = errno;                                                                                        \
		dx_settle_refusals(-1);                                                                                \
		dx_unlock_mappings();                                                                                  \
		errno = error_;                                                                                        \
		result_;                                                                                               \
	})

static int unmap(void *at, size_t length)
{
	int result;

	if (dx_in_ranges(&dx_sealed, at, length))
		return dx_refuse(EPERM);
	result = dx_would_split(at, length) ? dx_refuse(EINVAL) : REAL(munmap)(at, length);
	if (result == 0)
		dx_forget_ranges(at, length);
	return result;
}

EXPORT int munmap(void *at, size_t length)
{
	return likely(!dx_may_be_mapped(at, length)) ? REAL(munmap)(at, length) : CHANGE(unmap(at, length));
}

/* KEY as for pkey_mprotect, or -1. */
static int protect(void *at, size_t length, int prot, int key)
{
	struct dx_survey seen = dx_survey(at, length);

	if (seen.any && dx_in_ranges(&dx_sealed, at, length))
		return dx_refuse(EPERM);
	if (seen.any && (prot & PROT_WRITE) && dx_in_ranges(&dx_readonly, at, length))
		return dx_refuse(EACCES);
	if (seen.split)
		return dx_refuse(EINVAL);
	return key == -1 ? REAL(mprotect)(at, length, prot) : REAL(pkey_mprotect)(at, length, prot, key);
}

EXPORT int mprotect(void *at, size_t length, int prot)
{
	return likely(!dx_may_be_mapped(at, length)) ? REAL(mprotect)(at, length, prot) :
						       CHANGE(protect(at, length, prot, -1));
}

EXPORT int pkey_mprotect(void *at, size_t length, int prot, int key)
{
	return likely(!dx_may_be_mapped(at, length)) ? REAL(pkey_mprotect)(at, length, prot, key) :
						       CHANGE(protect(at, length, prot, key));
}
