/* SPDX-License-Identifier: MIT */
/* The parts of sysfs that belong to a device, entry by entry, in the order in which the kernel lists them. */
#include "observe.h"

#include <dirent.h>

static void link_at(const char *path)
{
	char target[256];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	const char *from = target;

	target[n < 0 ? 0 : n] = 0;
	while (!strncmp(from, "../", 3))
		from += 3;
	if (!strncmp(from, "devices/", 8)) /* where that is depends on the machine */
		from = strrchr(from, '/') + 1;
	printf(" -> %s%s\n", from, access(path, F_OK) ? " which is not there" : "");
}

/* Numbers of devices differ from boot to boot. */
static void file_at(const char *path, const struct stat *st)
{
	const char *name = strrchr(path, '/') + 1;
	char text[4096], *line, *rest = text;
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	printf(" %o, %ld:", st->st_mode & 07777, (long)st->st_size);
	if (n < 0) {
		printf(" %s at %s\n", strerrorname_np(errno), fd < 0 ? "open" : "read");
	} else {
		text[n] = 0;
		while ((line = strsep(&rest, "\n")))
			if (strcmp(name, "dev") && strncmp(line, "MAJOR", 5) && strncmp(line, "MINOR", 5))
				printf(" %s", line);
		printf("\n");
	}
	if (fd >= 0)
		close(fd);
}

static void walk(const char *path, int deep)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	struct stat st;
	char inner[512];

	if (!directory) {
		printf("%s: %s\n", path, strerrorname_np(errno));
		return;
	}
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(inner, sizeof(inner), "%s/%.60s", path, entry->d_name);
		if (lstat(inner, &st))
			continue;
		printf("%s", strstr(inner, "/dax") ?: inner);
		if (S_ISLNK(st.st_mode)) {
			link_at(inner);
		} else if (S_ISDIR(st.st_mode)) {
			printf("/ %o\n", st.st_mode & 07777);
			if (deep)
				walk(inner, deep);
		} else {
			file_at(inner, &st);
		}
	}
	closedir(directory);
}

int main(int argc, char **argv)
{
	char home[256], parent[256], path[300];
	const char *name;
	int fd = begin(argc, argv);

	name = strrchr(node, '/') + 1;
	snprintf(home, sizeof(home), "/sys/bus/dax/devices/%s", name);
	if (!realpath(home, parent))
		return SKIP;
	*strrchr(parent, '/') = 0;
	puts("-- the bus");
	walk("/sys/bus/dax", 1);
	puts("-- the device");
	walk(home, 1);
	puts("-- its region");
	snprintf(path, sizeof(path), "%s/dax_region", parent);
	walk(path, 1);
	if (!strncmp(parent, "/sys/devices/platform/hmem", 26)) {
		puts("-- its region's parent");
		walk(parent, 0);
	}
	puts("-- what there is not");
	walk("/sys/class/dax", 0);
	return close(fd);
}
