/* SPDX-License-Identifier: MIT */
/*
 * Works on a shared mapping of the device or file argv[1] of argv[2] bytes. Reads requests
 * "WORK COUNT", a line each; answers with the nanoseconds of one.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, ALIGN = 2 << 20 };

static void check(int good)
{
	if (!good) {
		perror("memory");
		exit(1);
	}
}

/* The same alignment for both, so that the kernel has the same choice of pages. */
static char *aligned(size_t size)
{
	uintptr_t area = (uintptr_t)mmap(NULL, size + ALIGN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	check(area != (uintptr_t)MAP_FAILED);
	return (char *)((area + ALIGN - 1) / ALIGN * ALIGN);
}

static void copy(char *memory, size_t size, long count)
{
	static char block[BLOCK];

	for (long i = 0; i < count; i++)
		memcpy(memory + i * BLOCK % size, block, BLOCK);
}

static void store(char *memory, size_t size, long count)
{
	uint64_t x = 88172645463325252ULL;

	for (long i = 0; i < count; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		*(volatile uint64_t *)(memory + (x & (size - 8))) = x;
	}
}

/* Each load waits for the one before. The memory holds zeros or ones everywhere, which the compiler does not know. */
static void load(char *memory, size_t size, long count)
{
	uint64_t x = 88172645463325252ULL, last = 0;

	for (long i = 0; i < count; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		last = *(volatile uint64_t *)(memory + ((x ^ last) & (size - 8))) & 1;
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char *argv[])
{
	size_t size = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	int fd = argc > 2 ? open(argv[1], O_RDWR) : -1;
	char line[64], what, *memory;
	long count;

	check(size > 0 && fd >= 0);
	memory = mmap(aligned(size), size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	check(memory != MAP_FAILED);
	memset(memory, 1, size);
	while (fgets(line, sizeof(line), stdin) && sscanf(line, "%c %ld", &what, &count) == 2) {
		double start = now();

		(what == 'c' ? copy : what == 'l' ? load : store)(memory, size, count);
		printf("%.4f\n", (now() - start) / count);
		fflush(stdout);
	}
	return 0;
}
