/* SPDX-License-Identifier: MIT */
/* Copies within the kernel, between descriptors: nothing can be copied from or to a device, or to an attribute. */
#include "preload.h"

#include "real.h"

static bool cannot_copy(int in, int out)
{
	return unlikely(dx_marked(in) | dx_marked(out)) &&
	       (dx_on_device(in) || dx_on_device(out) || dx_on_attribute(out));
}

/* EBADF comes first: both must be open, and for their direction. */
static ssize_t refuse_copy(int in, int out)
{
	return dx_refuse(dx_may(in, O_RDONLY) && dx_may(out, O_WRONLY) ? EINVAL : EBADF);
}

EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t n)
{
	if (likely(!cannot_copy(in, out)))
		return REAL(sendfile)(out, in, offset, n);
	return n || !dx_may(in, O_RDONLY) || !dx_may(out, O_WRONLY) ? refuse_copy(in, out) : 0;
}

ssize_t sendfile64(int out, int in, off_t *offset, size_t n) ALIAS(sendfile);

#define SPLICE_FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

EXPORT ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags)
{
	if (likely(!cannot_copy(in, out)))
		return REAL(splice)(in, in_at, out, out_at, n, flags);
	return n == 0 ? 0 : flags & ~SPLICE_FLAGS ? dx_refuse(EINVAL) : refuse_copy(in, out);
}

EXPORT ssize_t tee(int in, int out, size_t n, unsigned flags)
{
	if (likely(!cannot_copy(in, out)))
		return REAL(tee)(in, out, n, flags);
	return flags & ~SPLICE_FLAGS ? dx_refuse(EINVAL) : n == 0 ? 0 : refuse_copy(in, out);
}

/* To attributes programs then copy by read and write. */
EXPORT ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags)
{
	if (likely(!(dx_marked(in) | dx_marked(out))))
		return REAL(copy_file_range)(in, in_at, out, out_at, n, flags);
	if (dx_on_attribute(out) || dx_on_attribute(in))
		return dx_refuse(EXDEV);
	return dx_on_device(in) || dx_on_device(out) ? dx_refuse(EINVAL) :
						       REAL(copy_file_range)(in, in_at, out, out_at, n, flags);
}
