/* SPDX-License-Identifier: MIT */
/* Calls on a descriptor: the driver has no read, write, fsync, fallocate…; what each answers, and in which order it checks. */
#include "observe.h"

#include <linux/fs.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <termios.h>

#ifndef FALLOC_FL_NO_HIDE_STALE
#define FALLOC_FL_NO_HIDE_STALE 4
#endif
#define FALLOC_WRITE_ZEROES 0x80
#ifndef F_GET_SEALS
#define F_GET_SEALS 1034
#define F_ADD_SEALS 1033
#endif

static int rw, ro, wo, file, ends[2];
static char buffer[8192] __attribute__((aligned(4096)));

static void transfers(void)
{
	struct iovec v = { buffer, 16 };

	SAY(read(rw, buffer, 16));
	SAY(read(rw, buffer, 0));
	SAY(read(wo, buffer, 16));
	SAY(write(rw, buffer, 16));
	SAY(write(rw, buffer, 0));
	SAY(write(ro, buffer, 16));
	SAY(pread(rw, buffer, 16, 0));
	SAY(pread(rw, buffer, 16, -1));
	SAY(pwrite(rw, buffer, 16, 4096));
	SAY(pwrite(rw, buffer, 16, -1));
	SAY(readv(rw, &v, 1));
	SAY(readv(rw, &v, 0));
	SAY(writev(rw, &v, 1));
	SAY(preadv(rw, &v, 1, 0));
	SAY(preadv(rw, &v, 1, -1));
	SAY(preadv2(rw, &v, 1, 0, RWF_HIPRI));
	SAY(preadv2(rw, &v, 1, -1, 0));
	SAY(pwritev2(rw, &v, 1, 0, RWF_DSYNC));
	SAY(preadv2(rw, &v, 1, 0, 0x4000));
}

static void copies(void)
{
	off64_t at = 0;
	struct iovec v = { buffer, 16 };

	SAY(splice(rw, NULL, ends[1], NULL, 16, 0));
	SAY(splice(ends[0], NULL, rw, NULL, 16, SPLICE_F_NONBLOCK));
	SAY(splice(wo, NULL, ends[1], NULL, 16, 0));
	SAY(splice(ends[0], NULL, ro, NULL, 16, SPLICE_F_NONBLOCK));
	SAY(splice(rw, &at, ends[1], NULL, 16, 0));
	SAY(splice(rw, NULL, rw, NULL, 16, 0));
	SAY(splice(rw, NULL, ends[1], NULL, 0, 0));
	SAY(splice(rw, NULL, ends[1], NULL, 16, 0x100));
	SAY(tee(rw, ends[1], 16, 0));
	SAY(tee(ends[0], rw, 16, 0));
	SAY(tee(wo, ends[1], 16, 0));
	SAY(vmsplice(rw, &v, 1, 0));
	SAY(vmsplice(rw, &v, 0, 0));
	SAY(sendfile(rw, file, NULL, 16));
	SAY(sendfile(file, rw, NULL, 16));
	SAY(sendfile(file, wo, NULL, 16));
	SAY(sendfile(ro, file, NULL, 16));
	SAY(sendfile(ends[1], rw, NULL, 16));
	SAY(sendfile(rw, file, NULL, 0));
	SAY(copy_file_range(rw, NULL, file, NULL, 16, 0));
	SAY(copy_file_range(file, NULL, rw, NULL, 16, 0));
	SAY(copy_file_range(rw, NULL, rw, NULL, 16, 0));
	SAY(copy_file_range(wo, NULL, file, NULL, 16, 0));
	SAY(copy_file_range(file, NULL, ro, NULL, 16, 0));
	SAY(copy_file_range(file, NULL, rw, NULL, 16, 1));
	SAY(copy_file_range(file, NULL, rw, NULL, 0, 0));
}

static void positions(void)
{
	SAY(lseek(rw, 0, SEEK_SET));
	SAY(lseek(rw, 5, SEEK_SET));
	SAY(lseek(rw, -5, SEEK_SET));
	SAY(lseek(rw, 5, SEEK_CUR));
	SAY(lseek(rw, 0, SEEK_END));
	SAY(lseek(rw, 0, SEEK_DATA));
	SAY(lseek(rw, 1L << 60, SEEK_HOLE));
	SAY(lseek(rw, 0, 5));
	SAY(lseek(rw, 0, 99));
}

static void sizes(void)
{
	SAY(ftruncate(rw, 0));
	SAY(ftruncate(rw, 1 << 20));
	SAY(ftruncate(rw, -1));
	SAY(ftruncate(ro, 0));
	SAY(fallocate(rw, 0, 0, 4096));
	SAY(fallocate(rw, 0, 0, 0));
	SAY(fallocate(rw, 0, -1, 4096));
	SAY(fallocate(rw, 0, 0, -1));
	SAY(fallocate(ro, 0, 0, 4096));
	SAY(fallocate(ro, 0, 0, 0));
	SAY(fallocate(ro, 0x8000, 0, 4096));
	SAY(fallocate(rw, 0x8000, 0, 0));
	SAY(fallocate(rw, 0, 1L << 62, 1L << 62));
	SAY(fallocate(rw, FALLOC_FL_KEEP_SIZE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_PUNCH_HOLE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_ZERO_RANGE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_INSERT_RANGE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_INSERT_RANGE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_UNSHARE_RANGE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_PUNCH_HOLE, 0, 4096));
	SAY(fallocate(rw, FALLOC_FL_NO_HIDE_STALE, 0, 4096));
	SAY(fallocate(rw, FALLOC_WRITE_ZEROES, 0, 4096));
	SAY(posix_fallocate(rw, 0, 4096));
	SAY(posix_fallocate(rw, 0, 0));
	SAY(fsync(rw));
	SAY(fdatasync(rw));
	SAY(fsync(ro));
	SAY(syncfs(rw));
	SAY(sync_file_range(rw, 0, 4096, SYNC_FILE_RANGE_WRITE));
	SAY(sync_file_range(rw, 0, 4096, 0x100));
	SAY(sync_file_range(rw, -1, 4096, 0));
	SAY(readahead(rw, 0, 4096));
	SAY(readahead(wo, 0, 4096));
	for (int advice = 0; advice < 8; advice++)
		printf("posix_fadvise %d: %d\n", advice, posix_fadvise(rw, 0, 0, advice));
	printf("posix_fadvise of -1 bytes: %d\n", posix_fadvise(rw, 0, -1, 0));
}

static void ioctls(void)
{
	static char argument[4096];
	int number = 0;
	struct termios tty;

	SAY(ioctl(rw, FIONBIO, &number));
	SAY(ioctl(rw, FIOASYNC, &number));
	SAY(ioctl(rw, FIOCLEX));
	SAY(ioctl(rw, FIONCLEX));
	SAY(ioctl(rw, FIGETBSZ, &number));
	printf("block size: %d\n", number);
	SAY(ioctl(rw, FIONREAD, &number));
	SAY(ioctl(rw, 0x5460 /* FIOQSIZE */, argument));
	SAY(ioctl(rw, TCGETS, &tty));
	SAY(ioctl(rw, FIBMAP, &number));
	SAY(ioctl(rw, FS_IOC_GETFLAGS, &number));
	SAY(ioctl(rw, FS_IOC_FSGETXATTR, argument));
	SAY(ioctl(rw, BLKGETSIZE64, argument));
	SAY(ioctl(rw, BLKGETSIZE, argument));
	SAY(ioctl(rw, BLKSSZGET, argument));
	SAY(ioctl(rw, BLKFLSBUF, 0));
	SAY(ioctl(rw, 0x1234, 0));
	SAY(ioctl(rw, 0xc020660b /* FS_IOC_FIEMAP */, argument));
	SAY(ioctl(rw, FICLONE, -1));
	SAY(ioctl(rw, FICLONE, file));
	SAY(ioctl(file, FICLONE, rw));
	SAY(ioctl(rw, FIDEDUPERANGE, argument));
}

static void controls(void)
{
	struct f_owner_ex owner = { F_OWNER_PID, getpid() };
	uint64_t hint = 2;

	SAY(fcntl(rw, F_SETFL, O_APPEND));
	SAY(fcntl(rw, F_GETFL) & (O_APPEND | O_NONBLOCK));
	SAY(fcntl(rw, F_SETFL, O_NONBLOCK | O_NOATIME));
	SAY(fcntl(rw, F_SETFL, O_ASYNC));
	SAY(fcntl(rw, F_SETFL, O_DIRECT));
	SAY(fcntl(rw, F_SETFL, 0));
	SAY(fcntl(rw, F_GETFL) & (O_APPEND | O_NONBLOCK | O_DIRECT | O_ACCMODE));
	SAY(fcntl(rw, F_GET_SEALS));
	SAY(fcntl(rw, F_ADD_SEALS, 1));
	SAY(fcntl(rw, F_SETLEASE, F_RDLCK));
	SAY(fcntl(ro, F_SETLEASE, F_RDLCK));
	SAY(fcntl(rw, F_GETLEASE));
	SAY(fcntl(rw, F_NOTIFY, DN_MODIFY));
	SAY(fcntl(rw, F_SETOWN_EX, &owner));
	SAY(fcntl(rw, 1038 /* F_SET_FILE_RW_HINT, once */, &hint));
	SAY(fcntl(rw, 1036 /* F_SET_RW_HINT */, &hint));
	SAY(fcntl(rw, F_GETPIPE_SZ));
	SAY(fcntl(rw, 9999));
}

static void readiness(void)
{
	struct pollfd asked = { .fd = rw, .events = 0x7fff };
	struct epoll_event event = { .events = EPOLLIN };
	struct timeval now = { 0, 0 };
	int epoll = epoll_create1(0);
	fd_set r, w, x;

	SAY(poll(&asked, 1, 0));
	printf("revents %#x\n", asked.revents);
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&x);
	FD_SET(rw, &r);
	FD_SET(rw, &w);
	FD_SET(rw, &x);
	SAY(select(rw + 1, &r, &w, &x, &now));
	SAY(epoll_ctl(epoll, EPOLL_CTL_ADD, rw, &event));
	SAY(epoll_ctl(epoll, EPOLL_CTL_MOD, rw, &event));
	SAY(epoll_ctl(epoll, EPOLL_CTL_DEL, rw, &event));
	SAY(epoll_ctl(-1, EPOLL_CTL_ADD, rw, &event));
	SAY(epoll_ctl(file, EPOLL_CTL_ADD, rw, &event));
}

int main(int argc, char **argv)
{
	char name[] = "/tmp/observedXXXXXX";

	rw = begin(argc, argv);
	ro = open(node, O_RDONLY);
	wo = open(node, O_WRONLY);
	file = mkstemp(name);
	if (ro < 0 || wo < 0 || file < 0 || pipe(ends) || unlink(name) || write(file, buffer, 4096) != 4096 || lseek(file, 0, SEEK_SET))
		return SKIP;
	transfers();
	copies();
	positions();
	sizes();
	ioctls();
	controls();
	readiness();
	return 0;
}
