/* SPDX-License-Identifier: MIT */
/* A device is taken away while two processes map it, through two nodes; and what is left in it when it comes back. */
#include "observe.h"

#define RW (PROT_READ | PROT_WRITE)
#define DRIVER "/sys/bus/dax/drivers/device_dax/"

static const char *name;
static char alias[32];
static int mapped[2], gone[2]; /* pipes: a byte says that it is so */

static long put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	long n = fd < 0 ? -1 : write(fd, text, strlen(text));
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
	return n;
}

static void mappings(char *p, char *q)
{
	SAY_LOAD(p);
	SAY_STORE(p + 100, 1);
	SAY_LOAD(p + A + 4095); /* was never touched */
	SAY_LOAD(q);
	SAY_STORE(q + A - 1, 1);
}

static void while_gone(int fd, int other, char *p, char *q)
{
	struct stat st;
	char path[40];
	int ends[2];

	mappings(p, q);
	SAY(pipe(ends));
	SAY(write(ends[1], p, 16));
	SAY(madvise(p, A, 22)); /* MADV_POPULATE_READ */
	SAY(madvise(p, A, MADV_DONTNEED));
	SAY(msync(p, A, MS_SYNC));
	SAY(mprotect(p, A, PROT_READ));
	SAY_LOAD(p);
	SAY(fstat(fd, &st));
	SAY(lseek(fd, 0, SEEK_END));
	SAY(fsync(fd));
	SAY(read(fd, path, 1));
	SAY_OK(mmap(NULL, A, RW, MAP_SHARED, fd, 0));
	SAY_OK(mmap(NULL, A, PROT_READ, MAP_PRIVATE, fd, 0));
	SAY_OK(mmap(NULL, A + 4096, PROT_READ, MAP_SHARED, other, 0));
	SAY(stat(node, &st));
	SAY(access(node, R_OK | W_OK));
	SAY_OK(open(node, O_PATH));
	snprintf(path, sizeof(path), "%s.new", alias);
	SAY(mknod(path, S_IFCHR | 0600, st.st_rdev));
	SAY_OK(open(path, O_RDWR));
	SAY(unlink(path));
	SAY(put(DRIVER "unbind", name));
	SAY(put(DRIVER "unbind", "dax0.99"));
	SAY(munmap(p, A));
	SAY_LOAD(p);
	SAY_LOAD(p + A);
	SAY(munmap(q, A));
}

static void lose_it(void)
{
	int fd = open(node, O_RDWR), other = open(alias, O_RDWR);
	char *p = map(2 * A, RW, MAP_SHARED, fd, 0), *q = map(A, RW, MAP_SHARED, other, 0);
	char go;

	SAY_STORE(p, 33);
	SAY_STORE(q + A - 1, 34);
	fflush(stdout);
	if (!fork()) {
		char *own = map(2 * A, RW, MAP_SHARED, fd, 0);

		SAY_LOAD(own);
		fflush(stdout);
		if (write(mapped[1], "", 1) != 1 || read(gone[0], &go, 1) != 1)
			_exit(1);
		mappings(own, q);
		SAY_LOAD(p);
		fflush(stdout);
		_exit(0);
	}
	if (read(mapped[0], &go, 1) != 1)
		exit(1);
	SAY(put(DRIVER "unbind", name));
	fflush(stdout);
	if (write(gone[1], "", 1) != 1)
		exit(1);
	wait(NULL);
	while_gone(fd, other, p, q);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct stat st;
	char *p;
	int fd = begin(argc, argv);

	close(fd);
	name = strrchr(node, '/') + 1;
	snprintf(alias, sizeof(alias), "/tmp/node-%d", getpid());
	stat(node, &st);
	if (mknod(alias, S_IFCHR | 0600, st.st_rdev) || pipe(mapped) || pipe(gone))
		return 1;
	fflush(stdout);
	if (!fork()) {
		lose_it();
		_exit(0);
	}
	wait(NULL);
	puts("-- nobody has it open");
	SAY_OK(open(node, O_RDWR));
	SAY_OK(open(alias, O_RDWR));
	SAY(put(DRIVER "bind", "dax0.99"));
	SAY(put(DRIVER "bind", name));
	SAY(put(DRIVER "bind", name));
	fd = open(alias, O_RDWR);
	p = map(A, RW, MAP_SHARED, fd, 0);
	SAY_LOAD(p);
	SAY_LOAD(p + A - 1);
	SAY(unlink(alias));
	return 0;
}
