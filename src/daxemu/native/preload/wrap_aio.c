/* SPDX-License-Identifier: MIT */
/* Asynchronous input and output: a device has none. (What io_uring is told passes no function.) */
#include "preload.h"

#include <linux/aio_abi.h>
#include <sys/syscall.h>

#include "real.h"

/* What the kernel answers to a request on a device; 0 for one that it serves itself, or refuses in any case. */
static int check(const struct iocb *request)
{
	switch (request->aio_lio_opcode) {
	case IOCB_CMD_PREAD:
	case IOCB_CMD_PREADV:
		return dx_may(request->aio_fildes, O_RDONLY) ? -EINVAL : -EBADF;
	case IOCB_CMD_PWRITE:
	case IOCB_CMD_PWRITEV:
		return dx_may(request->aio_fildes, O_WRONLY) ? -EINVAL : -EBADF;
	case IOCB_CMD_FSYNC:
	case IOCB_CMD_FDSYNC:
		return -EINVAL;
	default:
		return 0;
	}
}

/* Requests are taken in order, up to the first that is refused; that is told where it is the first of all. */
long dx_submit(unsigned long queue, long n, struct iocb **requests)
{
	long result;

	for (long i = 0; i < n && dx_active(); i++) {
		int error = dx_on_device(requests[i]->aio_fildes) ? check(requests[i]) : 0;

		if (error && i == 0)
			return error;
		n = error ? i : n;
	}
	result = REAL(syscall)(SYS_io_submit, queue, n, requests);
	return result < 0 ? -errno : result;
}

/* libaio's, which answers -errno. */
EXPORT int io_submit(unsigned long queue, long n, struct iocb **requests);
EXPORT int io_submit(unsigned long queue, long n, struct iocb **requests)
{
	int saved = errno;
	long result = dx_submit(queue, n, requests);

	errno = saved;
	return result;
}
