/* SPDX-License-Identifier: MIT */
/*
 * Maps a device and does what its input says, a line each, answering with a line each:
 * "r OFF" load, "w OFF VALUE" store, "o" open again, "m" map again, "h" forbid huge pages, "p" make it writable, "f" fork: the
 * child goes on.
 * usage: mapper PATH|fd:N LENGTH [ro]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf back;
static siginfo_t fault;

static void on_bus(int number, siginfo_t *info, void *context)
{
	(void)context;
	fault = *info;
	siglongjmp(back, number);
}

static const char *result(int ok)
{
	return ok ? "ok" : strerrorname_np(errno);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
	size_t length = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
	int fd, value, writes = argc < 4;
	char line[64];
	volatile char *memory;
	long offset;

	if (argc < 3)
		return 2;
	fd = sscanf(argv[1], "fd:%d", &fd) == 1 ? fd : open(argv[1], writes ? O_RDWR : O_RDONLY);
	memory = mmap(NULL, length, PROT_READ | (writes ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGBUS, &action, NULL);
	printf("%s %d\n", result(fd >= 0 && memory != MAP_FAILED), getpid());
	while (fgets(line, sizeof(line), stdin)) {
		if (sigsetjmp(back, 1)) {
			printf("SIGBUS %d %ld\n", fault.si_code, (long)((char *)fault.si_addr - (char *)memory));
		} else if (sscanf(line, "w %ld %d", &offset, &value) == 2) {
			memory[offset] = value;
			printf("ok\n");
		} else if (sscanf(line, "r %ld", &offset) == 1) {
			printf("%d\n", memory[offset]);
		} else if (line[0] == 'p') {
			printf("%s\n", result(mprotect((void *)memory, length, PROT_READ | PROT_WRITE) == 0));
		} else if (line[0] == 'h') {
			printf("%s\n", result(madvise((void *)memory, length, MADV_NOHUGEPAGE) == 0));
		} else if (line[0] == 'o') {
			int again = open(argv[1], O_RDWR);

			printf("%s\n", result(again >= 0));
			if (again >= 0)
				close(again);
		} else if (line[0] == 'm') {
			printf("%s\n", result(mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED));
		} else if (line[0] == 'f') {
			pid_t child = fork();

			if (child > 0) {
				waitpid(child, &value, 0);
				return WEXITSTATUS(value);
			}
			printf("ok %d\n", getpid());
		}
	}
	return 0;
}
