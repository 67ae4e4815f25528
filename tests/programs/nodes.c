/* SPDX-License-Identifier: MIT */
/* However many nodes lead to a device, and however many processes map it, there is one memory. */
#include "observe.h"

#include <linux/futex.h>
#include <sys/sysmacros.h>

#define RW (PROT_READ | PROT_WRITE)

static char alias[32];

static void looks(int fd, int other)
{
	struct stat st, at, link;

	SAY(fstat(fd, &st));
	SAY(stat(alias, &at));
	SAY(lstat(alias, &link));
	printf("mode %o, links %ld, size %ld; same number %d, same inode %d\n", at.st_mode, (long)at.st_nlink, (long)at.st_size,
	       at.st_rdev == st.st_rdev, at.st_ino == st.st_ino && at.st_dev == st.st_dev);
	SAY(fstat(other, &st));
	printf("the same number by its descriptor %d\n", at.st_rdev == st.st_rdev);
}

static void other_nodes(void)
{
	struct stat st;
	char path[40];

	stat(node, &st);
	snprintf(path, sizeof(path), "%s.block", alias);
	SAY(mknod(path, S_IFBLK | 0600, st.st_rdev));
	SAY_OK(open(path, O_RDWR));
	SAY(unlink(path));
	snprintf(path, sizeof(path), "%s.none", alias);
	SAY(mknod(path, S_IFCHR | 0600, makedev(major(st.st_rdev), 999999)));
	SAY_OK(open(path, O_RDWR));
	SAY(unlink(path));
}

static void coherent(int fd, int other)
{
	char *p = map(2 * A, RW, MAP_SHARED, fd, 0), *q = map(2 * A, RW, MAP_SHARED, other, 0);
	char *second = map(A, RW, MAP_SHARED, other, A);

	SAY_STORE(p, 11);
	SAY_LOAD(q);
	SAY_STORE(q + A + 5, 12);
	SAY_LOAD(p + A + 5);
	SAY_LOAD(second + 5);
	fflush(stdout);
	if (!fork()) {
		SAY_LOAD(p);
		SAY_STORE(q + 1, 13);
		SAY_STORE(p + 2 * A - 1, 14); /* only the child has touched it */
		SAY(munmap(p, 2 * A));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	SAY_LOAD(p + 1);
	SAY_LOAD(second + A - 1);
	SAY(chmod(alias, 0));
	SAY(unlink(alias));
	SAY_LOAD(q);
	second = mmap(NULL, A, RW, MAP_SHARED, other, 0);
	printf("mmap through an unlinked node: %s\n", second == MAP_FAILED ? strerrorname_np(errno) : "ok");
	SAY_LOAD(second + 1);
	SAY(close(other));
	SAY(close(fd));
	SAY_LOAD(second);
	SAY_LOAD(p + 1);
	SAY(madvise(p, 2 * A, MADV_DONTFORK));
	fflush(stdout);
	if (!fork()) {
		SAY_LOAD(p);
		SAY_LOAD(q);
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

/* A futex is the device's, not the node's. */
static void futexes(int fd, int other)
{
	struct timespec second = { .tv_sec = 20 };
	int *mine = (int *)map(A, RW, MAP_SHARED, fd, 0), *theirs = (int *)map(A, RW, MAP_SHARED, other, 0);

	mine[8] = 0;
	fflush(stdout);
	if (!fork()) {
		long woken;

		do
			woken = syscall(SYS_futex, theirs + 8, FUTEX_WAKE, 1, NULL, NULL, 0);
		while (woken == 0 && usleep(1000) == 0);
		_exit(woken == 1 ? 0 : 1);
	}
	SAY(syscall(SYS_futex, mine + 8, FUTEX_WAIT, 0, &second, NULL, 0));
	SAY(syscall(SYS_futex, mine + 8, FUTEX_WAIT, 1, &second, NULL, 0));
	SAY(wait(NULL) > 0 ? 0 : -1);
	munmap(mine, A);
	munmap(theirs, A);
}

int main(int argc, char **argv)
{
	int fd = begin(argc, argv), other;
	struct stat st;

	snprintf(alias, sizeof(alias), "/tmp/node-%d", getpid());
	fstat(fd, &st);
	SAY(mknod(alias, S_IFCHR | 0600, st.st_rdev));
	other = open(alias, O_RDWR);
	if (other < 0) {
		printf("open of the other node: %s\n", strerrorname_np(errno));
		return 1;
	}
	looks(fd, other);
	other_nodes();
	futexes(fd, other);
	coherent(fd, other);
	return 0;
}
