/* SPDX-License-Identifier: MIT */
/* Calls that tell the kernel about memory. A dax mapping is never synced, and cannot be thrown away. */
#include "preload.h"

#include "real.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
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

static int advise(void *at, size_t length, int advice, const struct dx_survey *seen)
{
	switch (advice) {
	case MADV_FREE:
	case MADV_WIPEONFORK:
	case MADV_COLLAPSE:
		return dx_refuse(EINVAL);
	case MADV_REMOVE:
		return dx_refuse(ENODEV);
	case MADV_HWPOISON:
		return dx_edge(dx_hwpoison(seen->start, seen->end));
	case MADV_SOFT_OFFLINE:
		return dx_refuse(EIO);
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_DONTFORK:
	case MADV_DOFORK:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_KEEPONFORK:
		return seen->split ? dx_refuse(EINVAL) : REAL(madvise)(at, length, advice);
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_MERGEABLE:
	case MADV_UNMERGEABLE:
		/* To the file behind the device they would mean something else. */
		return seen->split ? dx_refuse(EINVAL) : 0;
	case MADV_COLD:
	case MADV_PAGEOUT:
		return 0;
	default:
		return REAL(madvise)(at, length, advice);
	}
}

EXPORT int madvise(void *at, size_t length, int advice)
{
	struct dx_survey seen = dx_survey(at, length);

	if (likely(!seen.any) || ((uintptr_t)at & 4095))
		return REAL(madvise)(at, length, advice);
	return advise(at, length, advice, &seen);
}
