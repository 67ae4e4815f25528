/* SPDX-License-Identifier: MIT */
/*
 * Maps a device and a file of its own at the same address in turn, until its input ends; the file's
 * contents must always be there. usage: swap PATH
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	const size_t size = 2 << 20;
	int device = argc > 1 ? open(argv[1], O_RDWR) : -1, own = memfd_create("own", 0);
	volatile char *at;
	char *area;

	if (device < 0 || own < 0 || ftruncate(own, size))
		return 2;
	area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	if (area == MAP_FAILED)
		return 2;
	at = area;
	puts("ready");
	fflush(stdout);
	while (poll(&input, 1, 0) == 0) {
		if (mmap(area, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, own, 0) == MAP_FAILED)
			return 3;
		*at = 1; /* SIGBUS if it was taken for the device's */
		usleep(1);
		*at = 2;
		mmap(area, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, device, 0);
	}
	puts("ok");
	return 0;
}
