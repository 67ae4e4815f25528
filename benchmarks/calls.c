/* SPDX-License-Identifier: MIT */
/*
 * Repeats system calls on ordinary files, one of its own for each thread, below the directory
 * argv[1]. Reads requests "CALL COUNT THREADS", a line each; answers with the nanoseconds of one.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 8, LENGTH = 64, REWIND = 64 };

static char call;
static long count;
static pthread_barrier_t together;
static struct {
	char path[4096];
	int fd;
} files[MAX_THREADS];

static void check(int good)
{
	if (!good) {
		perror("calls");
		exit(1);
	}
}

static void once(int me, long i)
{
	char buffer[LENGTH] = { 0 };
	struct stat st;
	void *at;
	int fd;

	switch (call) {
	case 'o': /* open, read, close */
		fd = open(files[me].path, O_RDONLY);
		check(fd >= 0 && read(fd, buffer, LENGTH) == LENGTH && close(fd) == 0);
		break;
	case 's': /* stat */
		check(stat(files[me].path, &st) == 0);
		break;
	case 'm': /* mmap, munmap */
		at = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, files[me].fd, 0);
		check(at != MAP_FAILED && munmap(at, LENGTH) == 0);
		break;
	case 'w': /* write */
		check(write(files[me].fd, buffer, LENGTH) == LENGTH);
		if (i % REWIND == 0)
			check(lseek(files[me].fd, 0, SEEK_SET) == 0);
		break;
	default: /* nothing: a path that a preload library has to look at twice */
		check(stat("/dev/null", &st) == 0);
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void *work(void *number)
{
	pthread_barrier_wait(&together);
	for (long i = 0; i < count; i++)
		once((long)number, i);
	return NULL;
}

int main(int argc, char *argv[])
{
	char line[64];
	long threads;

	for (long i = 0; i < MAX_THREADS; i++) {
		snprintf(files[i].path, sizeof(files[i].path), "%s/%d.%ld", argc > 1 ? argv[1] : "/tmp", getpid(), i);
		files[i].fd = open(files[i].path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		check(files[i].fd >= 0 && ftruncate(files[i].fd, REWIND * LENGTH) == 0);
	}
	while (fgets(line, sizeof(line), stdin) && sscanf(line, "%c %ld %ld", &call, &count, &threads) == 3) {
		pthread_t others[MAX_THREADS];
		double start;

		pthread_barrier_init(&together, NULL, threads);
		for (long i = 1; i < threads; i++)
			check(pthread_create(&others[i], NULL, work, (void *)i) == 0);
		start = now();
		work((void *)0);
		for (long i = 1; i < threads; i++)
			pthread_join(others[i], NULL);
		printf("%.2f\n", (now() - start) / count);
		fflush(stdout);
	}
	return 0;
}
