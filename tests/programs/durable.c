/* SPDX-License-Identifier: MIT */
/* Each of libpmem's ways to make stores durable, on a line of its own: durable DEVICE [STEP…]. */
#include <fcntl.h>
#include <libpmem.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char *base;
static const char *path;
static size_t length;

static sigjmp_buf before;

static void leave(int number)
{
	siglongjmp(before, number);
}

static bool map(void)
{
	base = pmem_map_file(path, 0, 0, 0, &length, NULL);
	if (!base)
		fprintf(stderr, "%s\n", pmem_errormsg());
	return base;
}

static void persist_line(char *at)
{
	*at = 'x';
	pmem_persist(at, 1);
}

static void *in_thread(void *at)
{
	persist_line(at);
	return NULL;
}

/* Many mappings with room in between; from the last one on, so that they do not come in the order of their addresses. */
static bool scatter(void)
{
	enum { NR = 40, PART = 2 << 20 };
	char *room = mmap(NULL, (2 * NR + 1) * PART, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int fd = open(path, O_RDWR);

	room += PART - (uintptr_t)room % PART;
	for (int i = NR; i-- > 0;) {
		char *part = mmap(room + 2 * i * PART, PART, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);

		if (part == MAP_FAILED)
			return false;
		persist_line(part + 64 * i);
	}
	for (int i = 0; i < NR; i++)
		pmem_flush(room + 2 * i * PART + 64 * i, 1);
	pmem_drain();
	return true;
}

static int step(const char *name, char *at)
{
	pthread_t thread;

	if (!strcmp(name, "persist")) {
		persist_line(at);
	} else if (!strcmp(name, "flush")) {
		*at = 'f';
		pmem_flush(at, 1);
	} else if (!strcmp(name, "drain")) {
		pmem_drain();
	} else if (!strcmp(name, "store")) {
		*at = 's';
	} else if (!strcmp(name, "again")) {
		pmem_persist(base, 64);
	} else if (!strcmp(name, "guarded")) {
		signal(SIGBUS, leave);
		if (sigsetjmp(before, 1) == 0)
			pmem_persist(base, 64);
		signal(SIGBUS, SIG_DFL);
	} else if (!strcmp(name, "deep")) {
		*at = 'd';
		return pmem_deep_persist(at, 1);
	} else if (!strcmp(name, "copy")) {
		pmem_memcpy_persist(at + 32, "0123456789012345678901234567890123456789", 40);
	} else if (!strcmp(name, "copy-nodrain")) {
		pmem_memmove_nodrain(at, "copied", 6);
	} else if (!strcmp(name, "set-noflush")) {
		pmem_memset(at, 'n', 8, PMEM_F_MEM_NOFLUSH);
	} else if (!strcmp(name, "set")) {
		pmem_memset(at, 'm', 8, 0);
	} else if (!strcmp(name, "thread")) {
		return pthread_create(&thread, NULL, in_thread, at) || pthread_join(thread, NULL);
	} else if (!strcmp(name, "fork") || !strcmp(name, "silent-fork")) {
		int status = 0;

		/* The second is one that no handler is told of. */
		if ((*name == 'f' ? fork() : syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) == 0) {
			persist_line(at);
			_exit(0);
		}
		wait(&status);
		return status;
	} else if (!strcmp(name, "locked")) {
		static int counter;

		__atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
#ifdef __x86_64__
	} else if (!strcmp(name, "own")) {
		*at = 'o';
		__asm__ volatile("clflush %0; sfence" : "+m"(*at) : : "memory");
#endif
	} else if (!strcmp(name, "wait")) {
		char told;

		return write(1, "w", 1) != 1 || read(0, &told, 1) != 1;
	} else if (!strcmp(name, "scatter")) {
		return !scatter();
	} else if (!strcmp(name, "unmap")) {
		return pmem_unmap(base, length);
	} else if (!strcmp(name, "map-anew")) {
		return pmem_unmap(base, length) || !map();
	} else if (!strcmp(name, "kill")) {
		raise(SIGKILL);
	}
	return 0;
}

int main(int argc, char **argv)
{
	path = argv[1];
	if (!map())
		return 1;
	for (int i = 2; i < argc; i++)
		if (step(argv[i], base + 256 * (i - 2)))
			return 1;
	return 0;
}
