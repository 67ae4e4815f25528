/* SPDX-License-Identifier: MIT */
/* How the kernel shows mappings of a device in /proc; of smaps the lines that do not depend on what is built into it. */
#include "observe.h"

#include <sys/sysmacros.h>

#define RW (PROT_READ | PROT_WRITE)

static const char *const shown[] = { "Size:", "KernelPageSize:", "MMUPageSize:", "FilePmdMapped:", "Locked:", "VmFlags:" };

/* The mapping that begins at AT: is it the node's, and of the file system that has the node? */
static void show(const char *what, const char *at)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	char line[512], permissions[8], path[256];
	unsigned long start, end, offset, inode;
	unsigned int high, low;
	struct stat st;
	int ours = 0;

	printf("-- %s\n", what);
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx %7s %lx %x:%x %lu %255[^\n]", &start, &end, permissions, &offset, &high, &low, &inode,
			   path) >= 7 &&
		    strchr(line, '-') < strchr(line, ' ')) {
			ours = start == (unsigned long)at;
			if (!ours)
				continue;
			printf("%lu blocks %s at %lx of %s", (end - start) / A, permissions, offset,
			       strncmp(path, "/tmp/", 5) ? path : strstr(path, "(deleted)") ? "another node (deleted)" : "another node");
			if (!stat(path, &st))
				printf(", its inode: %d", st.st_ino == inode && st.st_dev == makedev(high, low));
			printf("\n");
		}
		for (size_t i = 0; ours && i < sizeof(shown) / sizeof(shown[0]); i++)
			if (!strncmp(line, shown[i], strlen(shown[i])))
				printf("%s", line);
	}
	if (file)
		fclose(file);
}

static void map_files(const char *at, size_t length)
{
	char path[96], target[64];
	struct stat st, there;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)at, (unsigned long)at + length);
	n = readlink(path, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = 0;
	printf("map_files: %s\n", n < 0 ? strerrorname_np(errno) : target);
	fd = open(path, O_RDWR);
	printf("opened: %s\n", fd < 0 ? strerrorname_np(errno) : "ok");
	stat(node, &there);
	printf("the node's: %d\n", !fstat(fd, &st) && st.st_ino == there.st_ino && st.st_rdev == there.st_rdev);
	close(fd);
}

int main(int argc, char **argv)
{
	int fd = begin(argc, argv), other, read_only = open(node, O_RDONLY);
	char alias[32], *p, *q, *r;
	struct stat st;

	fstat(fd, &st);
	snprintf(alias, sizeof(alias), "/tmp/node-%d", getpid());
	if (mknod(alias, S_IFCHR | 0600, st.st_rdev))
		return 1;
	other = open(alias, O_RDWR);
	p = map(2 * A, RW, MAP_SHARED, fd, A);
	q = map(A, PROT_READ, MAP_SHARED, read_only, 0);
	r = map(A, RW | PROT_EXEC, MAP_SHARED_VALIDATE | 0x80000 /* MAP_SYNC */, other, 0);
	if (!p || !q || !r)
		return 1;
	show("two blocks", p);
	*p = 1;
	show("touched", p);
	show("for reading, of a file for reading", q);
	show("synchronous, by another node", r);
	map_files(q, A);
	unlink(alias);
	show("that is gone", r);
	mprotect(p, A, PROT_READ);
	madvise(p + A, A, MADV_DONTFORK);
	show("the first is for reading", p);
	show("the second is not for children", p + A);
	munmap(p, A);
	show("there is no first", p);
	show("the second is left", p + A);
	close(other);
	return 0;
}
