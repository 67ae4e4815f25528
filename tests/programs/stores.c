/* SPDX-License-Identifier: MIT */
/* What attributes are like, and what writing them answers: forms of numbers and names, what is refused and in which order. */
#include "observe.h"

static const char *name;
static char home[256], region[256]; /* of the device, and of its region's attributes */

static const char *path_of(const char *attribute)
{
	static char path[512];
	const char *base = attribute + 1;

	switch (attribute[0]) {
	case '@': /* the region's */
		snprintf(path, sizeof(path), "%s/%s", region, base);
		break;
	case '%': /* the bus's */
		snprintf(path, sizeof(path), "/sys/bus/dax/%s", base);
		break;
	case '!': /* the driver's */
		snprintf(path, sizeof(path), "/sys/bus/dax/drivers/device_dax/%s", base);
		break;
	default:
		snprintf(path, sizeof(path), "%s/%s", home, attribute);
	}
	return path;
}

static void quoted(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] == '\n')
			printf("\\n");
		else if (text[i])
			putchar(text[i]);
		else
			printf("\\0");
}

static void put_bytes(const char *attribute, const char *text, size_t length)
{
	int fd = open(path_of(attribute), O_WRONLY);
	ssize_t n;

	printf("%s <- \"", attribute);
	quoted(text, length);
	printf("\": ");
	if (fd < 0) {
		printf("open %s\n", strerrorname_np(errno));
		return;
	}
	n = write(fd, text, length);
	if (n < 0)
		printf("%s\n", strerrorname_np(errno));
	else
		printf("%zd of %zu\n", n, length);
	close(fd);
}

#define PUT(attribute, text) put_bytes(attribute, text, strlen(text))
#define PUT_ALL(attribute, text) put_bytes(attribute, text, sizeof(text) - 1)

static void get(const char *attribute)
{
	int fd = open(path_of(attribute), O_RDONLY);
	char text[4096];
	struct stat st;
	ssize_t n;

	if (stat(path_of(attribute), &st)) {
		printf("%s: %s\n", attribute, strerrorname_np(errno));
		return;
	}
	printf("%s: mode %o size %ld ", attribute, st.st_mode, (long)st.st_size);
	if (fd < 0) {
		printf("open %s\n", strerrorname_np(errno));
		return;
	}
	n = read(fd, text, sizeof(text));
	printf("\"");
	quoted(text, n < 0 ? 0 : n);
	printf("\"\n");
	close(fd);
}

static void attributes(void)
{
	static const char *const all[] = {
		"@id", "@size", "@align", "@available_size", "@seed", "@create", "@delete", "@nothing", "size", "align", "mapping",
		"resource", "target_node", "numa_node", "modalias", "memmap_on_memory", "mapping0/start", "mapping0/end",
		"mapping0/page_offset", "mapping1/start", "%drivers_autoprobe", "%drivers_probe", "%uevent", "!new_id", "!remove_id",
		"!bind", "!unbind", "!uevent",
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		get(all[i]);
	get("mapping0/uevent");
}

/* Which of these a static region has not, and why the others are refused, does not depend on the values. */
static void read_only(void)
{
	PUT("@id", "1");
	PUT("@size", "1");
	PUT("@align", "1");
	PUT("@available_size", "1");
	PUT("@seed", "1");
	PUT("resource", "1");
	PUT("target_node", "1");
	PUT("numa_node", "1");
	PUT("modalias", "1");
	PUT("dev", "1");
	PUT("mapping0/start", "1");
	PUT("mapping0/page_offset", "1");
}

static void names(void)
{
	PUT("!new_id", "dax");
	PUT("!new_id", "");
	PUT("!new_id", "dax77.0");
	PUT("!new_id", "dax77.0");
	PUT("!new_id", "dax77.0\n");
	PUT_ALL("!new_id", "dax77.0\0");
	PUT_ALL("!new_id", "dax77.0\n\0");
	PUT("!new_id", "dax77.0\n\n");
	PUT("!new_id", "dax077.0");
	PUT("!new_id", "dax77.00");
	PUT("!new_id", "dax77.0 ");
	PUT("!new_id", " dax77.0");
	PUT("!new_id", "dax77.0x");
	PUT("!new_id", "dax-1.0");
	PUT("!new_id", "dax77.-1");
	PUT("!new_id", "dax+7.0");
	PUT("!new_id", "dax77");
	PUT("!new_id", "Dax77.0");
	PUT("!remove_id", "dax76.0");
	PUT("!remove_id", "dax77.0");
	PUT("!remove_id", "dax77.0");
	PUT("!remove_id", "dax-1.0");
	PUT("!remove_id", "dax77.-1");
	PUT("!remove_id", "seventy-seven");
	PUT("!bind", "dax77.0");
	PUT("!unbind", "dax77.0");
	PUT("!bind", "");
	PUT("%drivers_probe", "dax77.0");
	PUT("%drivers_probe", "");
	PUT("%drivers_autoprobe", "0");
	get("%drivers_autoprobe");
	PUT("%drivers_autoprobe", "0x");
	PUT("%drivers_autoprobe", "no");
	get("%drivers_autoprobe");
	PUT("%drivers_autoprobe", "");
	PUT("%drivers_autoprobe", "1\n");
	get("%drivers_autoprobe");
}

static void bound(const char *size)
{
	PUT("!bind", name);
	PUT("!new_id", name);
	PUT("%drivers_probe", name);
	PUT("size", size);
	PUT("size", "0");
	PUT("size", "4096");
	PUT("size", "three");
	PUT("align", "4096");
	PUT("align", "2097152");
	PUT("align", "3");
	PUT("align", "three");
	PUT("@create", "1");
	PUT("@create", "0x1\n");
	PUT("@create", "2");
	PUT("@create", "-1");
	PUT("@create", "01");
	PUT("@create", "+1");
	PUT("@create", "");
	PUT("@create", "one");
	PUT("@create", "99999999999");
	PUT("@delete", name);
	PUT("@delete", "dax0.9");
	PUT("@delete", "");
	PUT("memmap_on_memory", "0");
	PUT("memmap_on_memory", "n");
	PUT("memmap_on_memory", "off");
	PUT("memmap_on_memory", "2");
	PUT("memmap_on_memory", "");
}

static void numbers(void)
{
	static const char *const sizes[] = {
		"",	     "\n",	   "size",	 "-2097152",  "+4194304", "0x400000", "0X400000", "020000000", "4194304 ", " 4194304",
		"4194304x", "4194304\n", "4194304\n\n", "4M",	      "0x",	  "0xg",      "08",	  "4097",      "2097153",  "1048576",
		"18446744073709551615", "18446744073709551616", "0x10000000000000000", "99999999999999999999999x", "0x100000000000",
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		PUT("size", sizes[i]);
		get("size");
	}
	PUT_ALL("size", "0x600000\n\0");
	PUT_ALL("size", "0x800000\0 and more");
	get("size");
}

static void alignments(void)
{
	static const char *const values[] = { "",	"align", "0",	    "1",	  "8192",	"65536",      "1048576", "-4096",
					      "4096x", "4K",	"0x1000", "1073741824", "0x200000\n", "99999999999999999999999", "2097152 " };

	PUT("size", "0x600000");
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		PUT("align", values[i]);
		get("align");
	}
	PUT("align", "4096");
	PUT("size", "4096");
	PUT("size", "0x601000");
	PUT("align", "2097152");
}

static void ranges(void)
{
	unsigned long start;
	char text[96];
	FILE *file;

	PUT("size", "0");
	get("resource");
	get("mapping0/start");
	file = fopen(path_of("resource"), "r");
	if (!file || fscanf(file, "%lx", &start) != 1)
		exit(1);
	fclose(file);
#define RANGE(from, to)                                                                      \
	do {                                                                                 \
		snprintf(text, sizeof(text), "%#lx-%#lx", start + (from), start + (to));     \
		PUT("mapping", text);                                                        \
		get("size");                                                                 \
	} while (0)
	RANGE(0x200000, 0x3fffff);
	RANGE(0x200000, 0x3fffff);
	RANGE(0x3ff000, 0x5fefff);
	RANGE(0x800000, 0x9fffff);
	RANGE(0xa00000, 0xa00fff);
	RANGE(0xa00000, 0xb00000);
	RANGE(0xc00000, 0xbfffff);
	RANGE(0xe00000, 0xc00000);
	RANGE(-0x200000, -1);
	RANGE(0x3ff00000000, 0x3ff001fffff);
	PUT("mapping", "1000");
	PUT("mapping", "-");
	PUT("mapping", "0x-0x");
	PUT("mapping", "start-end");
	PUT("mapping", "0-1fffff");
	PUT("mapping", "0x0 - 0x1fffff");
	PUT("mapping", "10000000000000000-1");
	PUT("mapping", "1-2-3");
	get("mapping0/start");
	get("mapping0/end");
	get("mapping1/start");
	get("mapping1/page_offset");
	get("resource");
	PUT("size", "0x200000");
	get("mapping1/start");
	PUT("size", "0");
	RANGE(0x800000, 0x7fffff);
	PUT("!bind", name);
	PUT("%drivers_probe", name);
	PUT("!new_id", name);
	PUT("@delete", name);
}

int main(int argc, char **argv)
{
	char size[32] = "";
	FILE *file;

	close(begin(argc, argv));
	name = strrchr(node, '/') + 1;
	snprintf(home, sizeof(home), "/sys/bus/dax/devices/%s", name);
	if (!realpath(home, region))
		return SKIP;
	strcpy(strrchr(region, '/'), "/dax_region");
	file = fopen(path_of("size"), "r");
	if (!file || !fgets(size, sizeof(size), file))
		return SKIP;
	fclose(file);
	puts("-- as they are");
	attributes();
	puts("-- written though read-only");
	read_only();
	puts("-- names");
	names();
	puts("-- bound");
	bound(size);
	puts("-- unbound");
	PUT("!unbind", name);
	PUT("!unbind", name);
	get("resource");
	PUT("size", size);
	if (access(path_of("@create"), F_OK) == 0) {
		numbers();
		alignments();
		ranges();
		PUT("@create", "1\n");
		get("@create");
		get("@seed");
		PUT("@delete", "dax0.1 ");
		PUT("@delete", "dax0.1\n");
		get("@create");
		get("@seed");
	}
	PUT("size", size);
	PUT("!bind", name);
	attributes();
	return 0;
}
