/* SPDX-License-Identifier: MIT */
/* Calls that tell the kernel about memory. A dax mapping is never synced, and cannot be thrown away. */
#include "preload.h"

#include "poison.h"
#include "real.h"
#include "recording.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

EXPORT int msync(void *at, size_t length, int flags)
{
	if ((flags & MS_SYNC) && !(flags & MS_ASYNC) && dx_survey(at, length).any)
		return dx_refuse(EINVAL);
	return REAL(msync)(at, length, flags);
}

/* Has the emulated kernel this advice? (Those of the machine may have more.) */
static bool is_known(int advice)
{
	return (advice >= MADV_NORMAL && advice <= MADV_COLLAPSE && (advice <= MADV_DONTNEED || advice >= MADV_FREE)) ||
	       advice == MADV_HWPOISON || advice == MADV_SOFT_OFFLINE;
}

/* Every mapping of a device has huge pages from the begin: only advice against them changes anything. */
static int advise_huge(void *at, size_t length, int advice, const struct dx_survey *seen)
{
	bool without = dx_in_ranges(&dx_no_huge, at, length);

	if (without == (advice == MADV_NOHUGEPAGE))
		return 0;
	if (seen->split)
		return dx_refuse(EINVAL);
	if (advice == MADV_HUGEPAGE)
		dx_remove_range(&dx_no_huge, at, length);
	else if (!dx_add_range(&dx_no_huge, at, length))
		return dx_refuse(ENOMEM);
	return 0;
}

static int soft_offline(void *at)
{
	if (!dx_is_capable(CAP_SYS_ADMIN))
		return dx_refuse(EPERM);
	/* The page is looked for first, by a fault if need be; that the driver gives none away comes second. */
	return dx_refuse(REAL(madvise)(at, 4096, MADV_POPULATE_READ) < 0 ? EFAULT : EIO);
}

/* Memory is to be broken where there is none, perhaps no longer. The machine's kernel may not even know the advice. */
static bool breaks_nothing(void *at, size_t length, int advice)
{
	int saved = errno;
	bool nothing = (advice == MADV_SOFT_OFFLINE || advice == MADV_HWPOISON) && length && !((uintptr_t)at & 4095) &&
		       dx_is_capable(CAP_SYS_ADMIN) && REAL(madvise)(at, 4096, MADV_POPULATE_READ) < 0;

	errno = saved;
	return nothing;
}

/* What is mapped by one huge page goes as a whole. */
static int drop(uintptr_t start, size_t length, int advice, const struct dx_survey *seen)
{
	uintptr_t end = (start + length + 4095) & ~4095UL;
	uintptr_t first = start & ~(seen->align - 1), last = (end + seen->align - 1) & ~(seen->align - 1);
	int result;

	if (start > seen->lowest)
		start = first > seen->lowest ? first : seen->lowest;
	if (end < seen->highest)
		end = last < seen->highest ? last : seen->highest;
	result = REAL(madvise)((void *)start, end - start, advice);
	dx_record_dropped();
	return result;
}

static int advise(void *at, size_t length, int advice, const struct dx_survey *seen)
{
	switch (advice) {
	case MADV_FREE:
	case MADV_WIPEONFORK:
	case MADV_COLLAPSE:
		return dx_refuse(EINVAL);
	case MADV_REMOVE:
		return dx_refuse(dx_in_ranges(&dx_readonly, at, length) ? EACCES : ENODEV);
	case MADV_SOFT_OFFLINE:
		return soft_offline(at);
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_DONTFORK:
	case MADV_DONTDUMP:
		return seen->split ? dx_refuse(EINVAL) : REAL(madvise)(at, length, advice);
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
		return advise_huge(at, length, advice, seen);
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
		return drop((uintptr_t)at, length, advice, seen);
	case MADV_MERGEABLE:
	case MADV_UNMERGEABLE:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_WILLNEED:
		return 0; /* to the file behind the device they would mean something */
	default:
		return REAL(madvise)(at, length, advice);
	}
}

EXPORT int madvise(void *at, size_t length, int advice)
{
	struct dx_survey seen;
	int result, error;

	if (likely(!dx_may_be_mapped(at, length ? length : 1)))
		return REAL(madvise)(at, length, advice);
	seen = dx_survey(at, length ? length : 1);
	if (!seen.any)
		return breaks_nothing(at, length, advice) ? dx_refuse(EFAULT) : REAL(madvise)(at, length, advice);
	if (!is_known(advice) || ((uintptr_t)at & 4095))
		return dx_refuse(EINVAL);
	if (length == 0)
		return 0;
	if (advice == MADV_HWPOISON) /* a signal, which must not be held back */
		return dx_edge(dx_hwpoison(seen.start, seen.end));
	dx_lock_mappings();
	result = advise(at, length, advice, &seen);
	if (result == 0 && seen.hole)
		result = dx_refuse(ENOMEM); /* what is mapped has been advised all the same */
	error = errno;
	dx_settle_refusals(-1);
	dx_unlock_mappings();
	errno = error;
	return result;
}
