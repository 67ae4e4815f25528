/* SPDX-License-Identifier: MIT */
/*
 * Threads and a child that begin to persist while another one does: joining DEVICE COUNT. Each counts in a line of its
 * own, 1 KiB apart; those that come later persist the first one's line too.
 */
#include <libpmem.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char *base;
static long count;

static void *work(void *number)
{
	uint64_t *line = (uint64_t *)(base + 1024 * (intptr_t)number);

	for (long i = 0; i < count; i++) {
		++*line;
		pmem_persist(line, sizeof(*line));
		if (number)
			pmem_persist(base, sizeof(*line));
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t first, second;
	pid_t child;
	int status;

	base = argc > 2 ? pmem_map_file(argv[1], 0, 0, 0, NULL, NULL) : NULL;
	if (!base)
		return 2;
	count = atol(argv[2]);
	if (pthread_create(&first, NULL, work, (void *)0) || usleep(500) || pthread_create(&second, NULL, work, (void *)1))
		return 1;
	child = fork();
	if (child == 0) {
		work((void *)2);
		_exit(0);
	}
	if (pthread_join(first, NULL) || pthread_join(second, NULL))
		return 1;
	return child < 0 || waitpid(child, &status, 0) != child || status;
}
