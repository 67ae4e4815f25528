/* SPDX-License-Identifier: MIT */
/*
 * Maps a device and has a vfork child: the parent does not run, the child shares its memory. The child answers each
 * byte of the input with whether the device can be touched, "1", or that would be SIGBUS, "0"; the parent does the same once the child
 * has ended. usage: vforker PATH
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int touch[2];

static void answer_until(char last, const void *memory)
{
	char request, byte;

	while (read(0, &request, 1) == 1) {
		if (write(touch[1], memory, 1) == 1 && read(touch[0], &byte, 1) == 1)
			byte = '1';
		else
			byte = '0';
		if (write(1, &byte, 1) != 1 || request == last)
			return;
	}
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	void *memory = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pid_t child;

	if (memory == MAP_FAILED || pipe(touch))
		return 77;
	child = vfork();
	if (child == 0) {
		answer_until('e', memory);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	answer_until(0, memory);
	return 0;
}
