/* SPDX-License-Identifier: MIT */
/*
 * What a program with a handler for SIGBUS sees of broken memory. Maps the device, then obeys, a line at a time:
 * "read AT", "write AT", "copy AT": what a load, a store, a write(2) of the byte at AT come to; "info", "plain", "reset",
 * "signal", "sysv", "nested", "altstack": set a handler in this way; "old": what the one that is set looks like;
 * "fork AT": read in a child; "default AT", "ignore AT": read so in a child; "early", "late": ask how to be told; "listen":
 * keep what one is told, without a touch; "told": what that was; "move": the mapping, elsewhere.
 * usage: poison PATH; exit 77: no such device.
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
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char *memory;
static sigjmp_buf back;
static volatile int seen, on_stack, blocked;
static siginfo_t told;
static char stack[16384];

static void note(int signal)
{
	sigset_t mask;
	char here;

	seen = signal;
	on_stack = &here >= stack && &here < stack + sizeof(stack);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	blocked = sigismember(&mask, SIGBUS) * 2 + sigismember(&mask, SIGUSR1);
	siglongjmp(back, 1);
}

static void with_info(int signal, siginfo_t *info, void *context)
{
	told = *info;
	if (!context)
		abort();
	note(signal);
}

static void touch(const char *how, long at)
{
	volatile char *byte = memory + at;

	seen = 0;
	memset(&told, 0, sizeof(told));
	if (sigsetjmp(back, 1) == 0) {
		if (how[0] == 'w')
			*byte = 7;
		printf("%d\n", *byte);
		return;
	}
	if (told.si_signo)
		printf("%s at %ld lsb %d", told.si_code == BUS_MCEERR_AR ? "BUS_MCEERR_AR" : told.si_code == BUS_ADRERR ? "BUS_ADRERR" : "?",
		       (long)((char *)told.si_addr - memory), told.si_code == BUS_MCEERR_AR ? told.si_addr_lsb : 0);
	else
		printf("SIGBUS");
	printf("%s%s%s\n", on_stack ? " on its stack" : "", blocked & 2 ? " blocked" : "", blocked & 1 ? " with SIGUSR1" : "");
}

static void set(const char *how)
{
	struct sigaction action = { .sa_handler = note };
	stack_t own = { .ss_sp = stack, .ss_size = sizeof(stack) };

	if (strcmp(how, "signal") == 0) {
		signal(SIGBUS, note);
	} else if (strcmp(how, "sysv") == 0) {
		sysv_signal(SIGBUS, note);
	} else {
		if (strcmp(how, "plain")) {
			action.sa_sigaction = with_info;
			action.sa_flags = SA_SIGINFO;
		}
		sigaddset(&action.sa_mask, SIGUSR1);
		if (strcmp(how, "reset") == 0)
			action.sa_flags |= SA_RESETHAND;
		if (strcmp(how, "nested") == 0)
			action.sa_flags |= SA_NODEFER;
		if (strcmp(how, "altstack") == 0) {
			sigaltstack(&own, NULL);
			action.sa_flags |= SA_ONSTACK;
		}
		sigaction(SIGBUS, &action, NULL);
	}
	puts("set");
}

static void show_old(void)
{
	struct sigaction old;
	void (*handler)(int);

	sigaction(SIGBUS, NULL, &old);
	handler = signal(SIGBUS, SIG_DFL);
	if (handler != old.sa_handler)
		printf("signal and sigaction differ ");
	sigaction(SIGBUS, &old, NULL);
	printf("%s%s%s%s%s%s\n", old.sa_sigaction == with_info ? "with_info" : old.sa_handler == note ? "note" : old.sa_handler == SIG_DFL ? "default" : "?",
	       old.sa_flags & SA_SIGINFO ? " SA_SIGINFO" : "", old.sa_flags & SA_RESETHAND ? " SA_RESETHAND" : "",
	       old.sa_flags & SA_NODEFER ? " SA_NODEFER" : "", old.sa_flags & SA_ONSTACK ? " SA_ONSTACK" : "",
	       sigismember(&old.sa_mask, SIGUSR1) ? " SIGUSR1" : "");
}

static void keep(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	told = *info;
}

static void listen_for(void)
{
	struct sigaction action = { .sa_sigaction = keep, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigaction(SIGBUS, &action, NULL);
	memset(&told, 0, sizeof(told));
	puts("set");
}

static void show_told(void)
{
	if (told.si_signo)
		printf("%s at %ld lsb %d\n", told.si_code == BUS_MCEERR_AO ? "BUS_MCEERR_AO" : "?", (long)((char *)told.si_addr - memory), told.si_addr_lsb);
	else
		puts("nothing");
	memset(&told, 0, sizeof(told));
}

static void move(void)
{
	char *area = mmap(NULL, 12 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *to = (char *)(((unsigned long)area + (2 << 20) - 1) & ~((2UL << 20) - 1));
	char *moved = mremap(memory, 8 << 20, 8 << 20, MREMAP_MAYMOVE | MREMAP_FIXED, to);

	if (moved != MAP_FAILED)
		memory = moved;
	puts(moved == MAP_FAILED ? strerrorname_np(errno) : "moved");
}

static void in_child(const char *how, long at)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (how[0] != 'f')
			signal(SIGBUS, how[0] == 'i' ? SIG_IGN : SIG_DFL);
		touch("read", at);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("killed by %d\n", WTERMSIG(status));
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	char line[64], how[16];
	int pipes[2];
	long at = 0;

	if (fd < 0 || pipe(pipes) < 0)
		return 77;
	memory = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return 77;
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("mapped");
	while (fgets(line, sizeof(line), stdin) && sscanf(line, "%15s %ld", how, &at) >= 1) {
		if (strcmp(how, "read") == 0 || strcmp(how, "write") == 0)
			touch(how, at);
		else if (strcmp(how, "copy") == 0)
			puts(write(pipes[1], memory + at, 1) == 1 ? "ok" : strerrorname_np(errno));
		else if (strcmp(how, "hwpoison") == 0) {
			memset(&told, 0, sizeof(told));
			if (sigsetjmp(back, 1) == 0)
				puts(madvise(memory + at, 4096, MADV_HWPOISON) < 0 ? strerrorname_np(errno) : "ok");
			else
				printf("code %d at %ld lsb %d\n", told.si_code, (long)((char *)told.si_addr - memory), told.si_addr_lsb);
		} else if (strcmp(how, "early") == 0 || strcmp(how, "late") == 0)
			printf("%d\n", prctl(PR_MCE_KILL, PR_MCE_KILL_SET, *how == 'e' ? PR_MCE_KILL_EARLY : PR_MCE_KILL_LATE, 0, 0));
		else if (strcmp(how, "listen") == 0)
			listen_for();
		else if (strcmp(how, "told") == 0)
			show_told();
		else if (strcmp(how, "move") == 0)
			move();
		else if (strcmp(how, "old") == 0)
			show_old();
		else if (strcmp(how, "fork") == 0 || strcmp(how, "default") == 0 || strcmp(how, "ignore") == 0)
			in_child(how, at);
		else
			set(how);
	}
	return 0;
}
