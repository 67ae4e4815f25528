/* SPDX-License-Identifier: MIT */
/* madvise(MADV_HWPOISON): who is told of the broken memory, and how; and of whom it asks what. */
#include "observe.h"

#include <sys/prctl.h>

#define RW (PROT_READ | PROT_WRITE)

static sigjmp_buf back;
static volatile siginfo_t told;
static char *p;

static void on_machine_check(int number, siginfo_t *info, void *context)
{
	(void)context;
	told = *info;
	siglongjmp(back, number);
}

static const char *code(int number)
{
	return number == BUS_MCEERR_AR ? "BUS_MCEERR_AR" : number == BUS_MCEERR_AO ? "BUS_MCEERR_AO" : "another code";
}

/* Break the memory at P + OFFSET, and tell what that comes to. */
static void broken(const char *what, size_t offset, size_t length)
{
	int number = sigsetjmp(back, 1);

	if (number)
		printf("%s: %s, at %ld of its block, lsb as of the alignment %d\n", what, code(told.si_code),
		       (long)((char *)told.si_addr - (p + (offset & ~(A - 1)))), 1UL << told.si_addr_lsb == A);
	else
		printf("%s: %s\n", what, madvise(p + offset, length, MADV_HWPOISON) ? strerrorname_np(errno) : "ok");
}

static void in_another(int early)
{
	int ready[2], broke[2];
	char byte;

	fflush(stdout);
	if (pipe(ready) || pipe(broke))
		exit(1);
	if (!fork()) {
		if (early)
			prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
		if (sigsetjmp(back, 1)) {
			if (read(broke[0], &byte, 1) != 1)
				_exit(1);
			printf("another process%s: %s, at %ld of its block, lsb as of the alignment %d\n", early ? " that asked to be told" : "",
			       code(told.si_code), (long)((char *)told.si_addr - (p + A)), 1UL << told.si_addr_lsb == A);
			fflush(stdout);
			_exit(0);
		}
		*(volatile char *)(p + A);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (int i = 0; i < (early ? 500 : 50); i++)
			usleep(1000);
		if (read(broke[0], &byte, 1) != 1)
			_exit(1);
		printf("another process%s: nothing\n", early ? " that asked to be told" : "");
		fflush(stdout);
		_exit(0);
	}
	if (read(ready[0], &byte, 1) != 1)
		exit(1);
	broken("mapped by another process as well", A, 4096);
	fflush(stdout);
	if (write(broke[1], "", 1) != 1)
		exit(1);
	wait(NULL);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_machine_check, .sa_flags = SA_SIGINFO };
	int fd = begin(argc, argv);

	p = map(4 * A, RW, MAP_SHARED, fd, 0);
	if (!p)
		return SKIP;
	sigaction(SIGBUS, &action, NULL);
	SAY(madvise(p + 1, 4096, MADV_HWPOISON));
	SAY(madvise(p + 4096, 0, MADV_HWPOISON));
	SAY(madvise(p, 4096, 101)); /* MADV_SOFT_OFFLINE */
	p[A] = 1;
	in_another(0);
	in_another(1);
	p[2 * A + 4096 % A] = 1;
	broken("a page inside of a block", 2 * A + 4096 % A, 4096);
	broken("untouched", 3 * A, 4096);
	printf("afterwards: %s\n", sigsetjmp(back, 1) ? code(told.si_code) : (*(volatile char *)(p + A), "a load works"));
	return 0;
}
