/* SPDX-License-Identifier: MIT */
/*
 * What calls on the mapping of a device answer: a line each, "call: answer". Runs the same on a real
 * device of at least 16 alignments. usage: vma PATH ALIGN; exit 77: no such device.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void say(const char *call, long result)
{
	printf("%s: %s\n", call, result == -1 ? strerrorname_np(errno) : "ok");
}

#define SAY(call) (errno = 0, say(#call, (long)(call)))

int main(int argc, char **argv)
{
	size_t A = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
	int fd = argc > 2 ? open(argv[1], O_RDWR) : -1;
	int ro = argc > 2 ? open(argv[1], O_RDONLY) : -1;
	char *p, *q, *hole;

	if (fd < 0 || ro < 0)
		return 77;
	p = mmap(NULL, 8 * A, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	q = mmap(NULL, A, PROT_READ, MAP_SHARED, ro, 0);
	if (p == MAP_FAILED || q == MAP_FAILED)
		return 1;
	memset(p + 4 * A, 7, 64);
	hole = mmap(NULL, 4 * A, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	hole = (char *)(((unsigned long)hole + A - 1) & ~(A - 1));
	SAY(munmap(p, 4096));
	SAY(munmap(p + A - 4096, 4096));
	SAY(munmap(p + 4096, A));
	SAY(mprotect(p, 4096, PROT_READ));
	SAY(mprotect(p, A, PROT_READ));
	SAY(mprotect(p, A, PROT_READ | PROT_WRITE));
	SAY(mprotect(q, A, PROT_READ | PROT_WRITE));
	SAY(mmap(p + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	SAY(madvise(p, 8 * A, MADV_DONTNEED));
	SAY(p[4 * A + 5] == 7 ? 0 : -1);
	SAY(madvise(p + A, 4096, MADV_DONTNEED));
	SAY(madvise(p, A, MADV_WILLNEED));
	SAY(madvise(p, A, MADV_FREE));
	SAY(madvise(p, A, MADV_WIPEONFORK));
	SAY(madvise(p, A, MADV_REMOVE));
	SAY(madvise(p + A, 4096, MADV_DONTFORK));
	SAY(madvise(p + A, 4096, MADV_RANDOM));
	SAY(madvise(p + A, 4096, MADV_SEQUENTIAL));
	SAY(madvise(p + A, 4096, MADV_DONTDUMP));
	SAY(madvise(p + A, A, MADV_HUGEPAGE));
	SAY(madvise(p, 8 * A, MADV_DODUMP));
	SAY(madvise(p, A, 12345));
	SAY(msync(p, A, MS_SYNC));
	SAY(msync(p, 4096, MS_SYNC | MS_INVALIDATE));
	SAY(msync(p, A, MS_ASYNC));
	SAY(msync(p, A, MS_SYNC | MS_ASYNC));
	SAY(mlock(p, A));
	SAY(munlock(p, A));
	SAY(mremap(p + 7 * A, A, A, 0));
	SAY(mremap(p + 7 * A, A, 4096, 0));
	SAY(mremap(p + 7 * A, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, hole));
	SAY(mremap(p + 6 * A, 2 * A, A, 0));
	SAY(mremap(p + 6 * A, A, A, MREMAP_MAYMOVE | MREMAP_FIXED, hole));
	SAY(munmap(p + 2 * A, A));
	SAY(munmap(p, 6 * A));
	SAY(munmap(q, A));
	return 0;
}
