/* SPDX-License-Identifier: MIT */
/* Asynchronous input and output by io_submit(2): a device has none; a poll it answers. */
#include "observe.h"

#include <linux/aio_abi.h>

static aio_context_t queue;
static char buffer[4096] __attribute__((aligned(4096)));

static struct iocb request(int fd, int what)
{
	struct iocb one = { .aio_fildes = fd, .aio_lio_opcode = what };

	one.aio_buf = what == IOCB_CMD_POLL ? 1 : (unsigned long)buffer;
	one.aio_nbytes = what == IOCB_CMD_PREAD || what == IOCB_CMD_PWRITE ? sizeof(buffer) : 0;
	return one;
}

/* Submit requests for these two in one call; how many were taken. */
static long submit(int first, int first_what, int second, int second_what)
{
	struct iocb a = request(first, first_what), b = request(second, second_what), *both[] = { &a, &b };
	struct io_event done[2];
	long n = syscall(SYS_io_submit, queue, second < 0 ? 1L : 2L, both);

	if (n > 0)
		syscall(SYS_io_getevents, queue, n, n, done, NULL);
	return n;
}

int main(int argc, char **argv)
{
	int fd = begin(argc, argv), ro = open(node, O_RDONLY), wo = open(node, O_WRONLY);
	char name[] = "/tmp/observedXXXXXX";
	int file = mkstemp(name);

	if (ro < 0 || wo < 0 || file < 0 || unlink(name) || ftruncate(file, 4096) || syscall(SYS_io_setup, 4, &queue))
		return SKIP;
	SAY(submit(fd, IOCB_CMD_PREAD, -1, 0));
	SAY(submit(fd, IOCB_CMD_PWRITE, -1, 0));
	SAY(submit(fd, IOCB_CMD_FSYNC, -1, 0));
	SAY(submit(fd, IOCB_CMD_FDSYNC, -1, 0));
	SAY(submit(ro, IOCB_CMD_PWRITE, -1, 0));
	SAY(submit(wo, IOCB_CMD_PREAD, -1, 0));
	SAY(submit(fd, IOCB_CMD_POLL, -1, 0));
	SAY(submit(fd, 99, -1, 0));
	SAY(submit(file, IOCB_CMD_PREAD, -1, 0));
	SAY(submit(file, IOCB_CMD_PREAD, fd, IOCB_CMD_PREAD));
	SAY(submit(fd, IOCB_CMD_PREAD, file, IOCB_CMD_PREAD));
	SAY(syscall(SYS_io_destroy, queue));
	return 0;
}
