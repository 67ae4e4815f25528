/* SPDX-License-Identifier: MIT */
/* read, write and where they would go. A dax device has no such operations; what it answers is a rule per call. */
#include "preload.h"

#include <string.h>

#include "real.h"

/* EBADF comes before the driver is asked: the descriptor must be open for the direction. */
static int refuse_transfer(int fd, bool write)
{
	return dx_refuse(dx_may(fd, write ? O_WRONLY : O_RDONLY) ? EINVAL : EBADF);
}

/* What a file that is read from the begin shows is made for the occasion. 0, or -ENODEV. */
static SLOW int refresh(int fd)
{
	if (dx_marked(fd) & MARK_TREE)
		return dx_refresh(fd);
	dx_refresh_view(fd);
	return 0;
}

#define TRANSFER(name, write, parameters, arguments)                                                                   \
	EXPORT ssize_t name parameters                                                                                 \
	{                                                                                                              \
		if (unlikely(dx_marked(fd) & (MARK_TREE | MARK_VIEW)) && refresh(fd) < 0)                              \
			return dx_refuse(ENODEV);                                                                      \
		return dx_on_device(fd) ? refuse_transfer(fd, write) : REAL(name) arguments;                              \
	}

TRANSFER(read, false, (int fd, void *to, size_t n), (fd, to, n))
TRANSFER(pread, false, (int fd, void *to, size_t n, off_t at), (fd, to, n, at))
TRANSFER(readv, false, (int fd, const struct iovec *v, int n), (fd, v, n))
TRANSFER(preadv, false, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
TRANSFER(preadv2, false, (int fd, const struct iovec *v, int n, off_t at, int flags), (fd, v, n, at, flags))

#define WRITE(name, parameters, arguments, parts, count)                                                               \
	EXPORT ssize_t name parameters                                                                                 \
	{                                                                                                              \
		if (likely(!dx_marked(fd)))                                                                            \
			return REAL(name) arguments;                                                                   \
		if (dx_on_attribute(fd))                                                                                  \
			return dx_edge(dx_store(fd, parts, count));                                                    \
		return dx_on_device(fd) ? refuse_transfer(fd, true) : REAL(name) arguments;                               \
	}

#define ONE (&(struct iovec){ (void *)from, n })
WRITE(write, (int fd, const void *from, size_t n), (fd, from, n), ONE, 1)
WRITE(pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at), ONE, 1)
WRITE(writev, (int fd, const struct iovec *v, int n), (fd, v, n), v, n)
WRITE(pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at), v, n)
WRITE(pwritev2, (int fd, const struct iovec *v, int n, off_t at, int flags), (fd, v, n, at, flags), v, n)

ssize_t pread64(int fd, void *to, size_t n, off_t at) ALIAS(pread);
ssize_t pwrite64(int fd, const void *from, size_t n, off_t at) ALIAS(pwrite);
ssize_t preadv64(int fd, const struct iovec *v, int n, off_t at) ALIAS(preadv);
ssize_t preadv64v2(int fd, const struct iovec *v, int n, off_t at, int flags) ALIAS(preadv2);
ssize_t pwritev64v2(int fd, const struct iovec *v, int n, off_t at, int flags) ALIAS(pwritev2);
ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at) ALIAS(pwritev);

EXPORT ssize_t __read_chk(int fd, void *to, size_t n, size_t room);
EXPORT ssize_t __read_chk(int fd, void *to, size_t n, size_t room)
{
	if (n > room)
		abort();
	return read(fd, to, n);
}

EXPORT ssize_t __pread_chk(int fd, void *to, size_t n, off_t at, size_t room);
EXPORT ssize_t __pread_chk(int fd, void *to, size_t n, off_t at, size_t room)
{
	if (n > room)
		abort();
	return pread(fd, to, n, at);
}

ssize_t __pread64_chk(int fd, void *to, size_t n, off_t at, size_t room) ALIAS(__pread_chk);

/* noop_llseek: the position is 0 and stays there. */
EXPORT off_t lseek(int fd, off_t offset, int whence)
{
	if (dx_on_device(fd))
		return whence < SEEK_SET || whence > SEEK_HOLE ? dx_refuse(EINVAL) : 0;
	return REAL(lseek)(fd, offset, whence);
}

off_t lseek64(int fd, off_t offset, int whence) ALIAS(lseek);

EXPORT int ftruncate(int fd, off_t length)
{
	return dx_on_device(fd) || dx_on_attribute(fd) ? dx_refuse(EINVAL) : REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off_t length) ALIAS(ftruncate);

/* What fallocate refuses whoever is asked, in the kernel's order; 0 if the driver would be asked. */
static int check_fallocate(int mode, off_t offset, off_t length)
{
	const int alone = FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;
	const int kinds = alone | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_UNSHARE_RANGE;
	const int kind = mode & kinds;

	if (offset < 0 || length <= 0)
		return EINVAL;
	if (mode & ~(kinds | FALLOC_FL_KEEP_SIZE))
		return EOPNOTSUPP;
	if ((mode & FALLOC_FL_PUNCH_HOLE) && mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		return EOPNOTSUPP;
	if ((kind & (kind - 1)) || ((kind & alone) && mode != kind))
		return dx_quirk(DX_QUIRK_FALLOCATE_MIX_EINVAL) ? EINVAL : EOPNOTSUPP;
	return 0;
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t length)
{
	int error;

	if (likely(!dx_on_device(fd)))
		return REAL(fallocate)(fd, mode, offset, length);
	error = check_fallocate(mode, offset, length);
	return dx_refuse(error ? error : dx_may(fd, O_WRONLY) ? ENODEV : EBADF);
}

int fallocate64(int fd, int mode, off_t offset, off_t length) ALIAS(fallocate);

EXPORT int posix_fallocate(int fd, off_t offset, off_t length)
{
	if (likely(!dx_on_device(fd)))
		return REAL(posix_fallocate)(fd, offset, length);
	return fallocate(fd, 0, offset, length) == 0 ? 0 : errno;
}

int posix_fallocate64(int fd, off_t offset, off_t length) ALIAS(posix_fallocate);

EXPORT int fsync(int fd)
{
	return dx_on_device(fd) ? dx_refuse(EINVAL) : REAL(fsync)(fd);
}

EXPORT int fdatasync(int fd)
{
	return dx_on_device(fd) ? dx_refuse(EINVAL) : REAL(fdatasync)(fd);
}

EXPORT int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags)
{
	int result;

	if (likely(!dx_on_device(fd)))
		return REAL(sync_file_range)(fd, offset, length, flags);
	result = REAL(sync_file_range)(fd, offset, length, flags & ~7U); /* the arguments are looked at first */
	return result < 0 ? result : dx_refuse(ESPIPE);
}

EXPORT ssize_t readahead(int fd, off64_t offset, size_t n)
{
	return dx_on_device(fd) ? refuse_transfer(fd, false) : REAL(readahead)(fd, offset, n);
}
