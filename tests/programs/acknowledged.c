/* SPDX-License-Identifier: MIT */
/* Numbers made durable in a line for each thread, and told when they are: acknowledged DEVICE [later]. */
#include <libpmem.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

enum { THREADS = 2, LINE = 64 };

static char *base;

struct told {
	uint64_t thread, number;
};

static void *count(void *thread)
{
	struct told told = { (uintptr_t)thread, 0 };
	uint64_t *number = (uint64_t *)(base + LINE * told.thread);

	for (;;) {
		told.number = ++*number;
		pmem_persist(number, sizeof(*number));
		if (write(1, &told, sizeof(told)) != sizeof(told))
			return NULL;
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;

	char byte;

	if (argc == 3 && read(0, &byte, 1) != 1)
		return 2;
	base = argc >= 2 ? pmem_map_file(argv[1], 0, 0, 0, NULL, NULL) : NULL;
	if (!base) {
		fprintf(stderr, "%s\n", pmem_errormsg());
		return 1;
	}
	for (uintptr_t i = 1; i < THREADS; i++)
		pthread_create(&thread, NULL, count, (void *)i);
	count(0);
	return 0;
}
