/* SPDX-License-Identifier: MIT */
/*
 * Threads that map a device, memory of their own and a file of their own at the same addresses in turn, by the C
 * library and by system calls of their own, until the input ends. What is not the device's must never change; the device
 * may be revoked at any moment. Prints what was wrong. usage: churn PATH
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS = 6, SIZE = 2 << 20, STEP = 1 << 20 };

static int device, device_ro;
static atomic_int stop, rounds, wrong, revoked;
static __thread sigjmp_buf back;

static void on_bus(int number)
{
	siglongjmp(back, number);
}

/* Raw system calls: nobody takes notice of these. */
static void *map(int raw, void *at, int prot, int flags, int fd, off_t offset)
{
	if (!(flags & MAP_FIXED_NOREPLACE))
		flags |= MAP_FIXED;
	if (raw)
		return (void *)syscall(SYS_mmap, at, SIZE, prot, flags, fd, offset);
	return mmap(at, SIZE, prot, flags, fd, offset);
}

static void complain(const char *what)
{
	if (atomic_fetch_add(&wrong, 1) == 0)
		printf("%s\n", what);
}

/* The device is what it is, or revoked. */
static void use_device(char *at)
{
	if (sigsetjmp(back, 1) == 0) {
		for (volatile char *p = at; p < at + SIZE; p += STEP)
			if (*p != 'd')
				complain("the device holds something else");
	} else {
		atomic_fetch_add(&revoked, 1);
	}
}

static void use_own(char *at, char value)
{
	if (sigsetjmp(back, 1)) {
		complain("SIGBUS in memory that is no device's");
		return;
	}
	for (volatile char *p = at; p < at + SIZE; p += STEP)
		*p = value;
	for (int look = 0; look < 2; look++)
		for (volatile char *p = at; p < at + SIZE; p += STEP)
			if (*p != value)
				complain("memory that is no device's has changed");
}

/* Addresses for a mapping of the device, which nobody else has. */
static char *place(void)
{
	char *area = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		abort();
	return (char *)(((unsigned long)area + SIZE - 1) & -(unsigned long)SIZE);
}

static void *churn(void *argument)
{
	unsigned seed = (unsigned long)argument + 1;
	int file = memfd_create("own", 0);
	char *at = place();

	if (file < 0 || ftruncate(file, 2 * SIZE))
		return NULL;
	while (!stop) {
		int raw = rand_r(&seed) % 2, kind = rand_r(&seed) % 4, readable = rand_r(&seed) % 2;

		if (map(raw, at, readable ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, readable ? device_ro : device, 0) != at)
			continue; /* dead */
		use_device(at);
		if (kind == 0 && !(raw ? syscall(SYS_munmap, at, SIZE) : munmap(at, SIZE))) {
			/* Somebody else's mapping may have come into the hole: that is not ours to replace. */
			if (map(raw, at, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != at)
				at = place();
		} else if (kind == 1 && !raw) /* by system calls of its own there is a moment that docs/explanation/limits.md tells of */
			map(0, at, PROT_READ | PROT_WRITE, MAP_SHARED, file, SIZE);
		else
			map(raw, at, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		use_own(at, 1 + rand_r(&seed) % 100);
		atomic_fetch_add(&rounds, 1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_bus, .sa_flags = SA_NODEFER };
	struct pollfd input = { .fd = 0, .events = POLLIN };
	pthread_t threads[THREADS];
	char *memory;

	device = argc > 1 ? open(argv[1], O_RDWR) : -1;
	device_ro = argc > 1 ? open(argv[1], O_RDONLY) : -1;
	memory = device < 0 ? MAP_FAILED : mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	if (memory == MAP_FAILED || device_ro < 0)
		return 77;
	memset(memory, 'd', SIZE);
	sigaction(SIGBUS, &action, NULL);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, churn, (void *)i);
	puts("ready");
	fflush(stdout);
	poll(&input, 1, -1);
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	fprintf(stderr, "%d rounds, %d times revoked\n", rounds, revoked);
	printf("%s\n", wrong ? "wrong" : rounds > 0 && revoked > 0 ? "ok" : "nothing happened");
	return 0;
}
