/* SPDX-License-Identifier: MIT */
/* Calls on descriptors. A dax device has no read, write, fsync…; what it answers is a rule per call. */
#include "preload.h"

#include <stdarg.h>
#include <string.h>

#include "real.h"

static bool is_device(int fd)
{
	struct table_device device;

	return unlikely(dx_marked(fd)) && dx_fd_device(fd, &device);
}

/* EBADF comes before the driver is asked: the descriptor must be open for the direction. */
static int refuse_transfer(int fd, bool write)
{
	int mode = REAL(fcntl)(fd, F_GETFL) & O_ACCMODE;

	return dx_refuse((write ? mode == O_RDONLY : mode == O_WRONLY) ? EBADF : EINVAL);
}

/* A write of an attribute goes to the engine, wherever in the file it is meant to go. */
static bool is_attribute(int fd)
{
	return unlikely(dx_marked(fd) & MARK_TREE) && dx_fd_attribute(fd);
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
		return is_device(fd) ? refuse_transfer(fd, write) : REAL(name) arguments;                              \
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
		if (is_attribute(fd))                                                                                  \
			return dx_edge(dx_store(fd, parts, count));                                                    \
		return is_device(fd) ? refuse_transfer(fd, true) : REAL(name) arguments;                               \
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
	if (is_device(fd))
		return whence < SEEK_SET || whence > SEEK_HOLE ? dx_refuse(EINVAL) : 0;
	return REAL(lseek)(fd, offset, whence);
}

off_t lseek64(int fd, off_t offset, int whence) ALIAS(lseek);

EXPORT int ftruncate(int fd, off_t length)
{
	return is_device(fd) || is_attribute(fd) ? dx_refuse(EINVAL) : REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off_t length) ALIAS(ftruncate);

EXPORT int fallocate(int fd, int mode, off_t offset, off_t length)
{
	return is_device(fd) ? dx_refuse(ENODEV) : REAL(fallocate)(fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off_t offset, off_t length) ALIAS(fallocate);

EXPORT int posix_fallocate(int fd, off_t offset, off_t length)
{
	return is_device(fd) ? ENODEV : REAL(posix_fallocate)(fd, offset, length);
}

int posix_fallocate64(int fd, off_t offset, off_t length) ALIAS(posix_fallocate);

EXPORT int fsync(int fd)
{
	return is_device(fd) ? dx_refuse(EINVAL) : REAL(fsync)(fd);
}

EXPORT int fdatasync(int fd)
{
	return is_device(fd) ? dx_refuse(EINVAL) : REAL(fdatasync)(fd);
}

/* The kernel itself serves a few requests on any file; the driver has none. */
EXPORT int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (is_device(fd) && request != FIONBIO && request != FIOASYNC && request != FIOCLEX && request != FIONCLEX)
		return dx_refuse(ENOTTY);
	return REAL(ioctl)(fd, request, argument);
}

/* Within the kernel nothing can be copied to an attribute; programs then copy by read and write. */
EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t n)
{
	return is_device(in) || is_device(out) || is_attribute(out) ? dx_refuse(EINVAL) :
								       REAL(sendfile)(out, in, offset, n);
}

ssize_t sendfile64(int out, int in, off_t *offset, size_t n) ALIAS(sendfile);

EXPORT ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags)
{
	return is_device(in) || is_device(out) || is_attribute(out) ?
		       dx_refuse(EINVAL) :
		       REAL(splice)(in, in_at, out, out_at, n, flags);
}

EXPORT ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags)
{
	if (is_attribute(out) || is_attribute(in))
		return dx_refuse(EXDEV);
	return is_device(in) || is_device(out) ? dx_refuse(EINVAL) :
						  REAL(copy_file_range)(in, in_at, out, out_at, n, flags);
}

/* Descriptors that come by other ways than open. */

static int inherit_mark(int from, int to)
{
	if (to < 0)
		return to;
	if (to == STDOUT_FILENO && unlikely((dx_marked(to) | dx_marked(from)) & MARK_TREE)) {
		dx_mark(to, dx_marked(from));
		dx_follow_stdout();
	} else {
		dx_mark(to, dx_marked(from));
	}
	return to;
}

EXPORT int dup(int fd)
{
	return inherit_mark(fd, REAL(dup)(fd));
}

EXPORT int dup2(int fd, int to)
{
	return inherit_mark(fd, REAL(dup2)(fd, to));
}

EXPORT int dup3(int fd, int to, int flags)
{
	return inherit_mark(fd, REAL(dup3)(fd, to, flags));
}

EXPORT int fcntl(int fd, int command, ...)
{
	va_list arguments;
	void *argument;
	int result;

	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (command == F_SETFL && ((intptr_t)argument & O_DIRECT) && is_device(fd))
		return dx_refuse(EINVAL);
	result = REAL(fcntl)(fd, command, argument);
	return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? inherit_mark(fd, result) : result;
}

int fcntl64(int fd, int command, ...) ALIAS(fcntl);

EXPORT ssize_t recvmsg(int sock, struct msghdr *message, int flags)
{
	ssize_t result = REAL(recvmsg)(sock, message, flags);

	if (likely(result < 0 || !dx_active() || !message->msg_controllen))
		return result;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
		size_t n = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
			dx_mark_if_ours(fd);
		}
	}
	return result;
}
