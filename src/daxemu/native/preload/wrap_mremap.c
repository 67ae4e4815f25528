/* SPDX-License-Identifier: MIT */
/*
 * mremap. What is one mapping to the program may be several to the kernel, where some of its blocks are out of order:
 * they are moved one by one.
 */
#include "preload.h"

#include <stdarg.h>

#include "maps.h"
#include "real.h"

enum { PIECES = 64 };

struct pieces {
	uintptr_t start, end; /* what is asked for */
	int n;
	struct dx_vma of[PIECES];
};

static int collect(const struct dx_vma *vma, void *context)
{
	struct pieces *pieces = context;
	const struct dx_vma *last = pieces->n ? &pieces->of[pieces->n - 1] : NULL;
	struct dx_vma *piece = &pieces->of[pieces->n];

	if (vma->end <= pieces->start || vma->start >= pieces->end)
		return 0;
	if (last && (last->end != vma->start || last->ino != vma->ino || last->dev != vma->dev || last->prot != vma->prot ||
		     (last->offset & ~DX_MOVED) + (last->end - last->start) != (vma->offset & ~DX_MOVED)))
		return -EFAULT; /* another mapping */
	if (pieces->n == PIECES)
		return -ENOMEM;
	*piece = *vma;
	if (piece->start < pieces->start) {
		piece->offset += pieces->start - piece->start;
		piece->start = pieces->start;
	}
	piece->end = piece->end < pieces->end ? piece->end : pieces->end;
	pieces->n++;
	return 0;
}

/* Move each to the same place within the new range; the last takes what the whole grows by. */
static void *move_pieces(const struct pieces *pieces, size_t length, int flags, char *to)
{
	for (int i = 0; i < pieces->n; i++) {
		const struct dx_vma *piece = &pieces->of[i];
		size_t at = piece->start - pieces->start;
		size_t size = i == pieces->n - 1 ? length - at : piece->end - piece->start;

		if (REAL(mremap)((void *)piece->start, piece->end - piece->start, size, flags | MREMAP_MAYMOVE | MREMAP_FIXED,
				 to + at) == MAP_FAILED)
			return MAP_FAILED;
	}
	return to;
}

/* To a place that suits the alignment, as the kernel would choose one. */
static void *move_anywhere(const struct pieces *pieces, size_t length, int flags, uint64_t align)
{
	char *area = REAL(mmap)(NULL, length + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at = area + ((pieces->start - (uintptr_t)area) & (align - 1));
	void *result;

	if (area == MAP_FAILED)
		return MAP_FAILED;
	result = move_pieces(pieces, length, flags, at);
	if (at > area)
		REAL(munmap)(area, at - area);
	REAL(munmap)(at + length, area + align - at);
	if (result == MAP_FAILED)
		REAL(munmap)(at, length);
	return result;
}

static void *resize(const struct pieces *pieces, size_t old_length, size_t length, int flags, void *to, uint64_t align)
{
	const struct dx_vma *last = &pieces->of[pieces->n - 1];
	void *old = (void *)pieces->start;

	if (length < old_length) {
		if (REAL(munmap)((char *)old + length, old_length - length) < 0)
			return MAP_FAILED;
		if (!(flags & MREMAP_FIXED))
			return old;
	}
	if (flags & MREMAP_FIXED)
		return move_pieces(pieces, length, flags, to);
	if (flags & ~MREMAP_MAYMOVE)
		return move_anywhere(pieces, length, flags, align);
	if (length == old_length)
		return old;
	if (REAL(mremap)((void *)last->start, last->end - last->start, length - (last->start - pieces->start), 0) != MAP_FAILED)
		return old;
	return flags & MREMAP_MAYMOVE ? move_anywhere(pieces, length, flags, align) : MAP_FAILED;
}

static void *remap_device(void *old, size_t old_length, size_t length, int flags, void *to, const struct dx_survey *seen)
{
	struct pieces pieces = { .start = (uintptr_t)old };
	int status;

	length = (length + 4095) & ~4095UL;
	old_length = (old_length + 4095) & ~4095UL;
	if (dx_in_ranges(&dx_sealed, old, old_length ? old_length : 1))
		return dx_refuse(EPERM), MAP_FAILED;
	if (old_length && (seen->split || (length < old_length && (length & (seen->align - 1)))))
		return dx_refuse(EINVAL), MAP_FAILED;
	/* What the kernel refuses whatever is mapped, and copies of shared mappings: it knows how. */
	if (!old_length || !length || ((uintptr_t)old & 4095) || (flags & ~7) || ((flags & 6) && !(flags & MREMAP_MAYMOVE)))
		return REAL(mremap)(old, old_length, length, flags, to);
	/* Of what is cut off nothing need be there. */
	pieces.end = pieces.start + (length < old_length ? length : old_length);
	status = dx_each_vma(-1, collect, &pieces);
	if (status < 0 || !pieces.n || pieces.of[0].start != pieces.start || pieces.of[pieces.n - 1].end != pieces.end)
		return dx_refuse(status < 0 ? -status : EFAULT), MAP_FAILED;
	return resize(&pieces, old_length, length, flags, to, seen->align);
}

static void *remap(void *old, size_t old_length, size_t length, int flags, void *to, const struct dx_survey *seen)
{
	void *result = seen->any ? remap_device(old, old_length, length, flags, to, seen) :
				   REAL(mremap)(old, old_length, length, flags, to);

	if (result == MAP_FAILED)
		return result;
	if (!seen->any) {
		dx_forget_ranges(result, length);
		return result;
	}
	if (result != old && seen->align > 2 << 20) /* page tables of that size do not move */
		REAL(madvise)(result, length, MADV_DONTNEED);
	dx_note_mapping(result, length);
	dx_move_ranges(old, old_length, result, length, !old_length || (flags & MREMAP_DONTUNMAP));
	if (((uintptr_t)result | length) & (seen->align - 1))
		dx_note_unaligned();
	return result;
}

EXPORT void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
	va_list arguments;
	struct dx_survey seen = dx_survey(old, old_length ? old_length : 1);
	void *to, *result;
	int error;

	va_start(arguments, flags);
	to = flags & MREMAP_FIXED ? va_arg(arguments, void *) : NULL;
	va_end(arguments);
	if (likely(!seen.any && !(to && dx_may_be_mapped(to, length))))
		return REAL(mremap)(old, old_length, length, flags, to);
	if (to && dx_in_ranges(&dx_sealed, to, length))
		return dx_refuse(EPERM), MAP_FAILED;
	if (to && dx_would_split(to, length))
		return dx_refuse(EINVAL), MAP_FAILED;
	dx_lock_mappings();
	result = remap(old, old_length, length, flags, to, &seen);
	error = errno;
	dx_settle_refusals(-1);
	dx_unlock_mappings();
	errno = error;
	return result;
}
