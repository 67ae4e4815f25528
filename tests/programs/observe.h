/* SPDX-License-Identifier: MIT */
/* How a test program tells what it sees: a line each, "call: answer". The same on a real device and an emulated one. */
#ifndef OBSERVE_H
#define OBSERVE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIP = 77 };

static size_t A;	 /* the device's alignment */
static const char *node; /* its path */

static sigjmp_buf fault_back;
static siginfo_t fault_info;

static inline void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	fault_info = *info;
	siglongjmp(fault_back, number);
}

/* What a load, or a store of VALUE, comes to: the byte, or the signal with its code and where si_addr is. */
static inline const char *touched(volatile char *at, int value)
{
	static char answer[64];
	int number = sigsetjmp(fault_back, 1);

	if (number)
		snprintf(answer, sizeof(answer), "%s code %d, %s", number == SIGBUS ? "SIGBUS" : "SIGSEGV", fault_info.si_code,
			 fault_info.si_addr == at ? "exact" : "elsewhere");
	else if (value < 0)
		snprintf(answer, sizeof(answer), "%d", *at);
	else
		*at = value, snprintf(answer, sizeof(answer), "stored");
	return answer;
}

static inline void answer(const char *call, long result)
{
	if (result == -1)
		printf("%s: %s\n", call, strerrorname_np(errno));
	else
		printf("%s: %ld\n", call, result);
}

/* Calls by what they return: a number, or whether it worked. */
#define SAY(call) (errno = 0, answer(#call, (long)(call)))
#define SAY_OK(call) (errno = 0, answer(#call, (long)(call) == -1 ? -1 : 0))
#define SAY_LOAD(at) printf("load %s: %s\n", #at, touched(at, -1))
#define SAY_STORE(at, value) printf("store %s: %s\n", #at, touched(at, value))

/* Map; where that fails the answer is told, and NULL returned. */
static inline char *map(size_t length, int prot, int flags, int fd, off_t offset)
{
	char *at = mmap(NULL, length, prot, flags, fd, offset);

	return at == MAP_FAILED ? NULL : at;
}

/* Room for LENGTH bytes at an aligned address, where nothing is. */
static inline char *room(size_t length)
{
	char *area = mmap(NULL, length + A, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	munmap(area, length + A);
	return (char *)(((unsigned long)area + A - 1) & ~(A - 1));
}

/* usage of every program: PROGRAM NODE ALIGNMENT. Opens the device for reading and writing; exits with SKIP without one. */
static inline int begin(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	int fd = argc == 3 ? open(argv[1], O_RDWR) : -1;

	if (fd < 0)
		exit(SKIP);
	node = argv[1];
	A = strtoul(argv[2], NULL, 0);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	return fd;
}

#endif
