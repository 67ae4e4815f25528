/* SPDX-License-Identifier: MIT */
/*
 * What /proc says of mappings of a device: for each, its permissions, offset and path as in maps,
 * and what smaps adds. Addresses and inode numbers are left out, so it prints the same on a real
 * device of at least 4 alignments. usage: smaps PATH ALIGN; exit 77: no such device.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static size_t align;

/* All mappings whose line names PATH, in the order of their addresses. */
static void show(const char *file, const char *path)
{
	FILE *stream = fopen(file, "r");
	char line[512];
	int ours = 0;

	printf("%s\n", file);
	while (fgets(line, sizeof(line), stream)) {
		char permissions[5], name[256] = "";
		unsigned long start, end, offset, inode;
		unsigned major, minor;
		struct stat st;

		if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %255[^\n]", &start, &end, permissions, &offset, &major, &minor, &inode, name) >= 7) {
			ours = strncmp(name, path, strlen(path)) == 0;
			if (ours)
				printf("%lu blocks %s %08lx at %td: %s%s\n", (end - start) / align, permissions, offset, strstr(line, "/dev/") - line, name,
				       stat(path, &st) == 0 && (st.st_ino != inode || st.st_dev != makedev(major, minor)) ? " of another node" : "");
		} else if (ours) {
			fputs(line, stdout);
		}
	}
	fclose(stream);
}

int main(int argc, char **argv)
{
	int fd = argc > 2 ? open(argv[1], O_RDWR) : -1, reader = argc > 2 ? open(argv[1], O_RDONLY) : -1;
	char *all, *part;

	if (fd < 0 || reader < 0)
		return 77;
	align = strtoul(argv[2], NULL, 0);
	all = mmap(NULL, 4 * align, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	part = mmap(NULL, align, PROT_READ, MAP_SHARED, reader, 2 * align);
	if (all == MAP_FAILED || part == MAP_FAILED)
		return 1;
	all[0] = part[0] + 1;
	show("/proc/self/maps", argv[1]);
	show("/proc/self/smaps", argv[1]);
	mprotect(all + align, align, PROT_NONE);
	munmap(part, align);
	show("/proc/self/maps", argv[1]);
	munmap(all, 4 * align);
	show("/proc/self/maps", argv[1]);
	return 0;
}
