/* SPDX-License-Identifier: MIT */
/*
 * Maps a device; then its first thread ends, and another one answers each byte of the input with whether the device can
 * be touched, "1", or that would be SIGBUS, "0". usage: leaderless PATH
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

static void *memory;

static void *answer(void *unused)
{
	char byte;
	int touch[2];

	if (pipe(touch))
		_exit(2);
	while (read(0, &byte, 1) == 1) {
		byte = write(touch[1], memory, 1) == 1 ? '1' : '0';
		if (write(1, &byte, 1) != 1)
			break;
	}
	_exit(0);
	return unused;
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	pthread_t thread;

	memory = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED || pthread_create(&thread, NULL, answer, NULL))
		return 77;
	pthread_exit(NULL);
}
