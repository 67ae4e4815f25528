/* SPDX-License-Identifier: MIT */
/* Mappings whose faults the driver refuses: no huge page where it needs one, or ends off the alignment. */
#include "observe.h"

#include <sys/uio.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#define MADV_SOFT_OFFLINE_ 101
#define RW (PROT_READ | PROT_WRITE)

static int fd;

/* A system call that reads the memory for the program. */
static ssize_t kernel_reads(const char *at)
{
	int null[2];
	ssize_t n;

	if (pipe(null) < 0)
		return -1;
	n = write(null[1], at, 1);
	close(null[0]);
	close(null[1]);
	return n;
}

static void no_huge_page(void)
{
	char *p = map(4 * A, RW, MAP_SHARED, fd, 0);
	struct iovec to, from;
	char byte;
	pid_t child;

	if (!p)
		return;
	puts("-- MADV_NOHUGEPAGE");
	SAY_STORE(p, 1);
	SAY_STORE(p + A, 2);
	SAY(madvise(p, 4 * A, MADV_NOHUGEPAGE));
	SAY_LOAD(p);
	SAY_STORE(p + 4096 % A, 1);
	SAY_STORE(p + A - 1, A == 4096 ? 1 : 5);
	SAY_STORE(p + 2 * A, 3);
	SAY_STORE(p + 2 * A + 5, 0);
	SAY(kernel_reads(p + 2 * A));
	SAY(kernel_reads(p));
	to = (struct iovec){ &byte, 1 };
	from = (struct iovec){ p + 2 * A, 1 };
	SAY(process_vm_readv(getpid(), &to, 1, &from, 1, 0));
	SAY(madvise(p + 2 * A, A, MADV_POPULATE_READ));
	SAY(madvise(p + 2 * A, A, MADV_POPULATE_WRITE));
	SAY(madvise(p, A, MADV_POPULATE_READ));
	SAY(madvise(p, 4 * A, MADV_WILLNEED));
	SAY(madvise(p + 2 * A, 4096, MADV_SOFT_OFFLINE_));
	fflush(stdout);
	child = fork();
	if (child == 0) {
		puts("-- a child");
		SAY_LOAD(p);
		SAY_LOAD(p + 2 * A);
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	SAY(madvise(p, 4096, MADV_DONTNEED));
	SAY_LOAD(p);
	SAY_LOAD(p + A);
	SAY(mprotect(p, 4 * A, PROT_READ));
	SAY_LOAD(p + A);
	SAY(mprotect(p, 4 * A, RW));
	SAY(madvise(p + A, A, MADV_DONTNEED));
	if (A < 1 << 30) {
		SAY_LOAD(p + A); /* there the page table that a refused fault has made stays in the way */
		SAY(madvise(p, 2 * A, MADV_HUGEPAGE));
		SAY_LOAD(p);
		SAY_LOAD(p + A);
		SAY_LOAD(p + 2 * A);
		SAY(madvise(p + 2 * A, 2 * A, MADV_HUGEPAGE));
		SAY_LOAD(p + 2 * A);
	}
	SAY(munmap(p, 4 * A));
}

static void moved_without_huge_page(void)
{
	char *p = map(2 * A, RW, MAP_SHARED, fd, 0), *to = room(2 * A), *q;

	if (!p)
		return;
	puts("-- moved after MADV_NOHUGEPAGE");
	SAY_STORE(p, 4);
	SAY(madvise(p, 2 * A, MADV_NOHUGEPAGE));
	q = mremap(p, 2 * A, 2 * A, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (q == MAP_FAILED)
		return;
	SAY_LOAD(q + A);
	SAY(munmap(q, 2 * A));
	p = map(A, RW, MAP_SHARED, fd, 0);
	SAY_LOAD(p);
	SAY(munmap(p, A));
}

static void stack(void)
{
	char *p = map(A, RW, MAP_SHARED | MAP_STACK, fd, 0);

	puts("-- MAP_STACK");
	if (!p)
		return;
	SAY_STORE(p, 5);
	SAY_LOAD(p);
	SAY(madvise(p, A, MADV_POPULATE_READ));
	SAY(madvise(p, A, MADV_HUGEPAGE));
	if (A < 1 << 30)
		SAY_LOAD(p);
	SAY(munmap(p, A));
}

static void grown(void)
{
	char *at = room(4 * A), *p = mmap(at, A, RW, MAP_SHARED | MAP_FIXED, fd, 0), *q;

	puts("-- grown by a page");
	if (p == MAP_FAILED)
		return;
	q = mremap(p, A, A + 4096, 0);
	SAY(q == p ? 0 : -1);
	if (q == MAP_FAILED)
		return;
	SAY_STORE(q, 6);
	SAY_LOAD(q + A);
	SAY(kernel_reads(q));
	SAY(madvise(q, A, MADV_POPULATE_READ));
	SAY(munmap(q + A, 4096));
	SAY_STORE(q, 7);
	puts("-- grown by a page after a touch");
	q = mremap(p, A, A + 4096, 0);
	SAY_LOAD(q);
	SAY_LOAD(q + A);
	SAY(madvise(q, A, MADV_DONTNEED));
	SAY_LOAD(q);
	SAY(mprotect(q, A, PROT_READ));
	SAY_LOAD(q);
	SAY_LOAD(q + A);
	SAY(mremap(q, A, A, 0) == q ? 0 : -1);
	SAY(munmap(q, A + 4096));
}

static void grown_and_moved(void)
{
	char *at = room(4 * A), *p = mmap(at, A, RW, MAP_SHARED | MAP_FIXED, fd, 0), *q, *wall;

	puts("-- grown by a page and moved");
	wall = mmap(at + A, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (p == MAP_FAILED || wall == MAP_FAILED)
		return;
	SAY_STORE(p, 8);
	q = mremap(p, A, A + 4096, MREMAP_MAYMOVE);
	SAY(q != MAP_FAILED && ((unsigned long)q & (A - 1)) == 0 ? 0 : -1);
	if (q == MAP_FAILED)
		return;
	SAY_LOAD(q);
	SAY_LOAD(q + A);
	SAY(munmap(wall, 4096));
	SAY(munmap(q, A + 4096));
}

static void off_alignment(void)
{
	char *p = map(2 * A, RW, MAP_SHARED, fd, 0), *to = room(3 * A), *q;

	puts("-- moved off the alignment");
	if (!p || A == 1 << 30)
		return;
	SAY_STORE(p, 9);
	q = mremap(p, 2 * A, 2 * A, MREMAP_MAYMOVE | MREMAP_FIXED, to + 4096);
	SAY(q == to + 4096 ? 0 : -1);
	if (q == MAP_FAILED)
		return;
	SAY_LOAD(q);
	SAY_LOAD(q + A);
	SAY(kernel_reads(q + A));
	SAY(munmap(q, 4096));
	SAY(munmap(q, A - 4096));
	SAY_LOAD(q + A - 4096);
	SAY_LOAD(q + A);
	SAY(munmap(q, 2 * A));
}

int main(int argc, char **argv)
{
	fd = begin(argc, argv);
	no_huge_page();
	moved_without_huge_page();
	stack();
	grown();
	grown_and_moved();
	off_alignment();
	return 0;
}
