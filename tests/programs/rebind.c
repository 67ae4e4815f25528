/* SPDX-License-Identifier: MIT */
/*
 * A device is taken away and comes back while it is open and mapped. Prints "end", and then waits for the end of its
 * input: a real kernel must not see the last close of such a file (its character device was set up anew meanwhile).
 */
#include "observe.h"

#define RW (PROT_READ | PROT_WRITE)
#define DRIVER "/sys/bus/dax/drivers/device_dax/"

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

int main(int argc, char **argv)
{
	int fd = begin(argc, argv), to[2], from[2], i;
	pid_t child;
	const char *name = strrchr(node, '/') + 1;
	char *p = map(2 * A, RW, MAP_SHARED, fd, 0), *q, byte;

	if (!p || pipe(to) || pipe(from))
		return 1;
	SAY_STORE(p, 61);
	SAY_STORE(p + A, 62);
	fflush(stdout);
	child = fork();
	if (!child) {
		while (read(to[0], &byte, 1) == 1 && byte) {
			printf("the child: ");
			SAY_LOAD(p);
			fflush(stdout);
			if (write(from[1], "", 1) != 1)
				break;
		}
		pause();
	}
	for (i = 0; i < 2; i++) {
		SAY(put(DRIVER "unbind", name));
		SAY_LOAD(p);
		SAY_OK(mmap(NULL, A, RW, MAP_SHARED, fd, 0));
		SAY(put(DRIVER "bind", name));
		SAY_LOAD(p);
		SAY_LOAD(p + A);
		SAY_STORE(p, 70 + i);
		q = map(A, RW, MAP_SHARED, fd, 0);
		SAY_LOAD(q);
		fflush(stdout);
		if (write(to[1], "c", 1) != 1 || read(from[0], &byte, 1) != 1)
			return 1;
	}
	puts("end");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	kill(child, SIGKILL);
	wait(NULL);
	return 0;
}
