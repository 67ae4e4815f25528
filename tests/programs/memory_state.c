/* SPDX-License-Identifier: MIT */
/* Calls that ask about memory, or steer it: locking, residency, placement, userfaultfd, guards, copies by the kernel. */
#include "observe.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/uio.h>

#define RW (PROT_READ | PROT_WRITE)
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

static int fd;
static char *p;

static long locked_kb(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[128];
	long kb = -1;

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "VmLck: %ld", &kb);
	fclose(file);
	return kb;
}

static int resident(size_t offset, size_t length)
{
	static unsigned char vector[1 << 20];
	int n = 0;

	if (mincore(p + offset, length, vector))
		return -1;
	for (size_t i = 0; i < length / 4096; i++)
		n += vector[i] & 1;
	return n;
}

static void locking(void)
{
	struct rlimit little = { 4096, 4096 };

	if (geteuid() == 0 && setrlimit(RLIMIT_MEMLOCK, &little))
		return;
	SAY(mlock(p, 2 * A));
	SAY(locked_kb());
	SAY(mlock2(p, A, MLOCK_ONFAULT));
	SAY(mlock2(p, A, 4));
	SAY(mlock(p, 4096));
	SAY(munlock(p, 2 * A));
	SAY(munlock(p, 4096));
	SAY(mlock(p + 1, 0));
	SAY(resident(0, A));
	SAY(mlock(p + 2 * A, 0));
}

static void residency(void)
{
	unsigned char one;

	SAY(resident(0, 4 * A));
	SAY_STORE(p + A, 3);
	SAY(resident(0, A));
	SAY(resident(A, 4096));
	SAY(resident(2 * A, A));
	SAY(mincore(p + 1, 4096, &one));
	SAY(mincore(p, 0, &one));
	SAY(mincore(p, 4096, NULL));
	SAY(madvise(p + A, A, MADV_DONTNEED));
	SAY(resident(A, 4096));
	p[0] = 0; /* what another program has left there is not to be seen */
}

static void placement(void)
{
	void *page = p + A;
	int status = 99, mode = 99;
	unsigned long nodes = 1;

	SAY_LOAD(p + A);
	SAY(remap_file_pages(p, A, 0, 0, 0));
	SAY_LOAD(p);
	SAY(remap_file_pages(p, A, 0, A / 4096, 0));
	SAY(remap_file_pages(p, 4096, 0, 0, 0));
	SAY(remap_file_pages(p, A, PROT_READ, 0, 0));
	SAY(syscall(SYS_mbind, p, A, 0, NULL, 0, 0));
	SAY(syscall(SYS_mbind, p, A, 2, &nodes, 2, 0));
	SAY(syscall(SYS_mbind, p, 4096, 2, &nodes, 2, 0));
	SAY(syscall(SYS_get_mempolicy, &mode, NULL, 0, p, 2));
	SAY(syscall(SYS_move_pages, 0, 1, &page, NULL, &status, 0));
	SAY(status);
	page = p + 3 * A;
	SAY(syscall(SYS_move_pages, 0, 1, &page, NULL, &status, 0));
	SAY(status);
}

static void advice(void)
{
	static const int kinds[] = { 0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 99, 102, 103, -1 };
	struct iovec part = { p, A };
	int pidfd = syscall(SYS_pidfd_open, getpid(), 0);

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		printf("advice %d: ", kinds[i]);
		SAY(madvise(p, A, kinds[i]));
		printf("of a page, %d: ", kinds[i]);
		SAY(madvise(p + A, 4096, kinds[i]));
		printf("of nothing, %d: ", kinds[i]);
		SAY(madvise(p + A, 0, kinds[i]));
		printf("unaligned, %d: ", kinds[i]);
		SAY(madvise(p + A + 1, 4096, kinds[i]));
	}
	SAY(madvise(p, 4 * A, MADV_HUGEPAGE));
	if (geteuid() == 0)
		for (int kind = 0; kind < 26; kind++) {
			if (kind == 15)
				continue;
			printf("process_madvise %d: ", kind);
			SAY(process_madvise(pidfd, &part, 1, kind, 0) > 0 ? 1 : -1);
		}
}

static void on_reading(void)
{
	int ro = open(node, O_RDONLY);
	char *q = map(A, PROT_READ, MAP_SHARED, ro, 0), *w = map(A, PROT_READ, MAP_SHARED, fd, 0);

	SAY(madvise(q, A, MADV_REMOVE));
	SAY(madvise(w, A, MADV_REMOVE));
	SAY(madvise(q, A, 22));
	SAY(madvise(q, A, 23));
	SAY(madvise(q, A, MADV_FREE));
	SAY(mprotect(q, A, RW));
	SAY(mprotect(q, 4096, RW));
	SAY(mprotect(q, A, PROT_NONE));
	SAY_LOAD(q);
	SAY(pkey_mprotect(w, A, PROT_READ, -1));
	SAY(pkey_mprotect(w, 4096, RW, -1));
	SAY(mprotect(w, A, 0x10));
	SAY(mprotect(w + 1, A, PROT_READ));
	munmap(q, A);
	munmap(w, A);
}

static void faults_by_user(void)
{
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .range = { (unsigned long)p, A } };

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		return;
	for (range.mode = 1; range.mode <= 4; range.mode <<= 1) {
		printf("mode %d: ", (int)range.mode);
		SAY(ioctl(uffd, UFFDIO_REGISTER, &range));
	}
	close(uffd);
}

static void copies(void)
{
	char byte = 7, got = 0;
	struct iovec here = { &byte, 1 }, there = { p + A + 3, 1 }, back = { &got, 1 };
	int mem = open("/proc/self/mem", O_RDWR), ends[2];
	char *r = map(A, PROT_READ, MAP_SHARED, fd, 0);

	SAY(process_vm_writev(getpid(), &here, 1, &there, 1, 0));
	SAY(process_vm_readv(getpid(), &back, 1, &there, 1, 0));
	SAY(got);
	SAY(pwrite(mem, &byte, 1, (long)p + 5));
	SAY(pread(mem, &got, 1, (long)p + 5));
	SAY(pwrite(mem, &byte, 1, (long)r));
	there.iov_base = r;
	SAY(process_vm_writev(getpid(), &here, 1, &there, 1, 0));
	SAY(pipe(ends));
	SAY(write(ends[1], p, 100));
	SAY(read(ends[0], p + A, 100));
	SAY(vmsplice(ends[1], &there, 1, 0));
	SAY(getrandom(p + 4096 % A, 16, 0));
	SAY_STORE(p, 1);
	close(mem);
	munmap(r, A);
}

static void sealing(void)
{
	char *q = map(A, RW, MAP_SHARED, fd, 0);
	long status = syscall(SYS_mseal, q, A, 0);

	if (status < 0 && errno == ENOSYS)
		return;
	SAY(status);
	SAY(munmap(q, A));
	SAY(mprotect(q, A, PROT_READ));
	SAY_STORE(q, 1);
	SAY(madvise(q, A, MADV_DONTNEED));
	SAY_OK(mremap(q, A, 2 * A, MREMAP_MAYMOVE));
	SAY(syscall(SYS_mseal, q, A, 0));
	SAY(syscall(SYS_mseal, q + 4096, A, 0));
	SAY_OK(mmap(q, A, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0));
}

int main(int argc, char **argv)
{
	fd = begin(argc, argv);
	p = map(4 * A, RW, MAP_SHARED, fd, 0);
	if (!p)
		return SKIP;
	puts("-- residency");
	residency();
	puts("-- copies");
	copies();
	puts("-- locking");
	locking();
	puts("-- placement");
	placement();
	puts("-- read only");
	on_reading();
	puts("-- userfaultfd");
	faults_by_user();
	puts("-- advice");
	advice();
	puts("-- sealing");
	sealing();
	puts("-- mlockall");
	SAY(mlockall(MCL_CURRENT));
	return 0;
}
