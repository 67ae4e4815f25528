/* SPDX-License-Identifier: MIT */
/* What smaps counts of mappings of a device, how it flags them, and in how many lines it shows them; also another process's. */
#include "observe.h"

#include <stdbool.h>

#define RW (PROT_READ | PROT_WRITE)

static const char *const counts[] = { "KernelPageSize", "Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced",
				      "Anonymous", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Locked", "VmFlags" };

static void tell(const char *line)
{
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		size_t n = strlen(counts[i]);

		bool zero = strstr(line, " 0 kB") && strncmp(line, "Private", 7);

		if (strncmp(line, counts[i], n) == 0 && line[n] == ':' && !zero)
			printf("  %s", line);
	}
}

/* Of the mappings that lie in so many bytes from AT; counts of 0 are left out, but for those that others can take the place of. */
static void show(const char *when, pid_t pid, char *at, size_t length)
{
	char path[64], line[512];
	unsigned long start, end;
	bool inside = false;
	FILE *smaps;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	smaps = fopen(path, "r");
	printf("%s\n", when);
	while (smaps && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			inside = start < (unsigned long)(at + length) && end > (unsigned long)at;
			if (inside)
				printf(" %lu blocks\n", (end - start) / A);
		} else if (inside) {
			tell(line);
		}
	}
	fclose(smaps);
}

static void touching(int fd)
{
	char *p = map(4 * A, RW, MAP_SHARED, fd, 0), *again;

	show("untouched", getpid(), p, A);
	SAY_STORE(p + A - 1, 1);
	show("a block stored to", getpid(), p, A);
	SAY_STORE(p + 2 * A, 1);
	show("another", getpid(), p, A);
	touched(p + 2 * A + 1, -1); /* what is there others may have left */
	show("the same", getpid(), p, A);
	again = map(A, RW, MAP_SHARED, fd, 0);
	SAY_STORE(again, 1);
	show("a block in two mappings", getpid(), again, A);
	show("the first of them", getpid(), p, A);
	munmap(again, A);
	SAY(mprotect(p, A, PROT_READ));
	show("a part for reading", getpid(), p, 4 * A);
	SAY(mprotect(p, A, RW));
	SAY(madvise(p, A, MADV_DONTNEED));
	show("a block dropped", getpid(), p, A);
	SAY(munmap(p + 2 * A, A));
	show("a block unmapped", getpid(), p, 4 * A);
	munmap(p, 4 * A);
}

static void loading(int fd, int reader)
{
	char *p = map(A, RW, MAP_SHARED, fd, 0), *q;

	touched(p, -1);
	show("loaded from only, writable", getpid(), p, A);
	munmap(p, A);
	q = map(2 * A, PROT_READ, MAP_SHARED, reader, 0);
	touched(q + A, -1);
	show("loaded from, by a descriptor for reading", getpid(), q, A);
	munmap(q, 2 * A);
	p = map(2 * A, RW, MAP_SHARED | MAP_POPULATE, fd, 0);
	show("populated", getpid(), p, A);
	munmap(p, 2 * A);
}

static void flags(int fd, int reader)
{
	char *p = map(3 * A, RW, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0), *q = map(A, RW, MAP_SHARED | MAP_SYNC, fd, 0), *to = room(2 * A);

	show("MAP_SYNC", getpid(), p, 3 * A);
	show("MAP_SYNC, not validated", getpid(), q, A);
	SAY(munmap(p + A, A));
	show("less of it", getpid(), p, 3 * A);
	SAY_OK(mremap(p, A, A, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	show("moved", getpid(), to, A);
	munmap(p, 3 * A);
	munmap(to, A);
	munmap(q, A);
	p = map(A, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, reader, 0);
	show("MAP_SYNC, for reading", getpid(), p, A);
	munmap(p, A);
	p = map(3 * A, RW, MAP_SHARED, fd, 0);
	SAY(mlock(p + A, A));
	show("a block locked", getpid(), p, 3 * A);
	SAY(mlock2(p, A, MLOCK_ONFAULT));
	show("one on fault", getpid(), p, 3 * A);
	munmap(p, 3 * A);
	p = map(2 * A, RW, MAP_SHARED, fd, 1L << 40);
	SAY(mlock(p, A));
	SAY(mlock2(p, A, MLOCK_ONFAULT));
	munmap(p, 2 * A);
	p = map(A, PROT_NONE, MAP_SHARED, fd, 0);
	SAY(mlock(p, A));
	munmap(p, A);
	p = map(A, RW, MAP_SHARED | MAP_NORESERVE, fd, 0);
	show("MAP_NORESERVE", getpid(), p, A);
	munmap(p, A);
}

static void others(int fd, int reader)
{
	char *p = map(A, RW, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0), *q = map(A, PROT_READ, MAP_SHARED, reader, 0), *r = map(2 * A, RW, MAP_SHARED, fd, 0);
	int status;

	SAY_STORE(r, 1);
	fflush(stdout);
	if (fork() == 0) {
		show("a child's, MAP_SYNC", getpid(), p, A);
		show("a child's, for reading", getpid(), q, A);
		show("a child's, touched by its parent", getpid(), r, A);
		SAY_STORE(r + 1, 1);
		show("by both", getpid(), r, A);
		show("its parent's, MAP_SYNC", getppid(), p, A);
		show("its parent's, for reading", getppid(), q, A);
		show("its parent's, touched", getppid(), r, A);
		exit(0);
	}
	wait(&status);
	SAY(status);
}

int main(int argc, char **argv)
{
	int fd = begin(argc, argv), reader = open(node, O_RDONLY);

	touching(fd);
	loading(fd, reader);
	flags(fd, reader);
	others(fd, reader);
	return 0;
}
