/* SPDX-License-Identifier: MIT */
/* Calls that control a descriptor, and the ways by which one comes other than open. */
#include "preload.h"

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <string.h>

#include "real.h"

/* The driver has no requests. The kernel itself serves a few on any file; what it would do to the file behind is not for it. */
static int control_device(int fd, unsigned long request, void *argument)
{
	switch (request) {
	case FIONBIO:
	case FIOASYNC:
	case FIOCLEX:
	case FIONCLEX:
	case FIGETBSZ:
	case FICLONE:
	case FICLONERANGE:
		return REAL(ioctl)(fd, request, argument);
	case FS_IOC_FIEMAP:
		return dx_refuse(EOPNOTSUPP);
	case FIDEDUPERANGE:
		return dx_refuse(EINVAL);
	case FIFREEZE:
		return dx_refuse(dx_is_capable(CAP_SYS_ADMIN) ? EOPNOTSUPP : EPERM);
	case FITHAW:
		return dx_refuse(dx_is_capable(CAP_SYS_ADMIN) ? EINVAL : EPERM);
	default:
		return dx_refuse(ENOTTY);
	}
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	struct table_other other;
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (unlikely(request == UFFDIO_REGISTER) && argument) {
		const struct uffdio_range *range = &((struct uffdio_register *)argument)->range;

		if (dx_survey((void *)range->start, range->len).any) /* faults of a device are its driver's */
			return dx_refuse(EINVAL);
	}
	if (unlikely(dx_on_device(fd)))
		return control_device(fd, request, argument);
	if (unlikely(dx_marked(fd) & MARK_DAX) && dx_fd_other(fd, &other))
		return dx_edge(dx_ioctl_other(fd, &other, request, argument));
	return REAL(ioctl)(fd, request, argument);
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

/* What would be asked of the file behind a device is answered for the device. */
static bool refuse_command(int command, void *argument, int *error)
{
	switch (command) {
	case F_SETFL:
		*error = EINVAL;
		return (intptr_t)argument & O_DIRECT;
	case F_ADD_SEALS:
	case F_GET_SEALS:
		*error = EINVAL;
		return true;
	case F_SETLEASE:
		*error = EINVAL;
		return (intptr_t)argument != F_UNLCK;
	default:
		return false;
	}
}

EXPORT int fcntl(int fd, int command, ...)
{
	va_list arguments;
	void *argument;
	int result, error;

	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (unlikely(dx_marked(fd) & MARK_DAX) && refuse_command(command, argument, &error) && dx_on_device(fd))
		return dx_refuse(error);
	result = REAL(fcntl)(fd, command, argument);
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		return inherit_mark(fd, result);
	if (command == F_GETFL && unlikely(dx_marked(fd) & MARK_NOFOLLOW))
		result |= O_NOFOLLOW;
	return result;
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
