/* SPDX-License-Identifier: MIT */
/* Stores to a device, and fences, in all ways that a look for what was stored may miss: scanned DEVICE STEP… */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libpmem.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 4 << 20 };

static const char *device;
static char *base, *other;
static char **left; /* steps to do */

static char *map(void)
{
	int fd = open(device, O_RDWR);
	char *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	if (at == MAP_FAILED)
		exit(1);
	return at;
}

static char *move(char *at)
{
	char *room = mmap(NULL, 2 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *to;

	to = (char *)(((unsigned long)room + SIZE - 1) & -(unsigned long)SIZE);
	at = mremap(at, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (at == MAP_FAILED)
		exit(1);
	return at;
}

/* What the kernel tells of the mapping. */
static void show_flags(void)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	char line[256];
	unsigned long start;

	while (fgets(line, sizeof(line), smaps))
		if (sscanf(line, "%lx-", &start) == 1 && start == (unsigned long)base)
			break;
	while (fgets(line, sizeof(line), smaps))
		if (!strncmp(line, "VmFlags:", 8))
			break;
	fclose(smaps);
	fputs(line, stdout);
}

static void *steps(void *unused);

/* Writes a number into each word of a line, the first word first, and then the next number. */
static void *count(void *line)
{
	volatile unsigned long *words = line;

	for (unsigned long n = 1; n; n++) {
		for (int i = 0; i < 8; i++)
			words[i] = n;
		if (n % 64 == 0) /* or nobody ever sees the same twice */
			for (volatile int i = 0; i < 2000; i++)
				;
	}
	return NULL;
}

static void in_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, steps, NULL) || pthread_join(thread, NULL))
		exit(1);
}

static void in_child(void)
{
	int status = 0;

	if (fork() == 0) {
		steps(NULL);
		_exit(0);
	}
	if (wait(&status) < 0 || status)
		exit(1);
	*left = NULL;
}

static void drain_as_it_counts(volatile unsigned long *word)
{
	for (int i = 0; i < 300; i++) {
		unsigned long before = *word;

		while (*word == before)
			sched_yield();
		pmem_drain();
	}
}

/* A step with a number is a store to that line, or with o before it the same by another mapping. */
static void step(const char *name)
{
	static char value = 'a';

	if (*name >= '0' && *name <= '9')
		base[64 * atol(name)] = value++;
	else if (*name == 'o' && name[1] <= '9')
		(other ? other : (other = map()))[64 * atol(name + 1)] = value++;
	else if (!strcmp(name, "drain"))
		pmem_drain();
	else if (!strcmp(name, "persist"))
		pmem_persist(base, 1);
	else if (!strcmp(name, "flush"))
		pmem_flush(base, 1);
	else if (!strcmp(name, "again"))
		munmap(base, SIZE), base = map();
	else if (!strcmp(name, "over"))
		base = mmap(base, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, open(device, O_RDWR), 0);
	else if (!strcmp(name, "move"))
		base = move(base);
	else if (!strcmp(name, "drop"))
		madvise(base, SIZE, MADV_DONTNEED);
	else if (!strcmp(name, "protect"))
		mprotect(base, SIZE, PROT_READ), mprotect(base, SIZE, PROT_READ | PROT_WRITE);
	else if (!strcmp(name, "close"))
		close_range(3, ~0U, 0);
	else if (!strcmp(name, "thread"))
		in_thread();
	else if (!strcmp(name, "fork"))
		in_child();
	else if (!strcmp(name, "flags"))
		show_flags();
	else if (!strcmp(name, "count"))
		pthread_create(&(pthread_t){ 0 }, NULL, count, base + 4096);
	else if (!strcmp(name, "drains"))
		drain_as_it_counts((void *)(base + 4096));
	else if (!strcmp(name, "kill"))
		raise(SIGKILL);
	else
		exit(2);
}

static void *steps(void *unused)
{
	while (*left)
		step(*left++);
	return unused;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	device = argv[1];
	base = map();
	left = argv + 2;
	steps(NULL);
	return 0;
}
