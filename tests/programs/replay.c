/* SPDX-License-Identifier: MIT */
/*
 * Does what its input says, a line each, and tells after each what came of it and what has changed in sysfs:
 *
 *   write PATH TEXT      to an attribute; \n and \0 in the text are a newline and a zero byte
 *   open F NODE          as file F; close F
 *   map M F LENGTH OFF   file F from OFF on, as mapping M; unmap M
 *   touch M OFF          prints what is there, and stores the number of the line
 *
 * usage: replay PARENT... < LINES    PARENT: the directory of a region's devices
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 8, FACTS = 2048 };

static int files[SLOTS];
static struct {
	char *at;
	size_t length;
} maps[SLOTS];

/* -- what there is in sysfs ----------------------------------------------------------------------- */

struct facts {
	char *lines[FACTS];
	size_t count;
};

static void fact(struct facts *facts, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (facts->count == FACTS || vasprintf(&facts->lines[facts->count++], format, arguments) < 0)
		abort();
	va_end(arguments);
}

static void attribute(struct facts *facts, const char *home, const char *name)
{
	char path[256], text[64] = "";
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", home, name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[strcspn(text, "\n")] = 0;
	fact(facts, "%s %s", path, n < 0 ? strerrorname_np(errno) : text);
}

static void device(struct facts *facts, const char *home)
{
	static const char *const names[] = { "size", "align", "resource" };
	char path[288], target[256];
	struct dirent *entry;
	DIR *directory = opendir(home);
	ssize_t n;

	if (!directory)
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		attribute(facts, home, names[i]);
	snprintf(path, sizeof(path), "%s/driver", home);
	n = readlink(path, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = 0;
	fact(facts, "%s %s", path, n < 0 ? "none" : strrchr(target, '/') + 1);
	snprintf(path, sizeof(path), "/dev/%s", strrchr(home, '/') + 1);
	fact(facts, "%s %s", path, access(path, F_OK) ? strerrorname_np(errno) : "there");
	while ((entry = readdir(directory)))
		if (!strncmp(entry->d_name, "mapping", 7) && entry->d_name[7]) {
			snprintf(path, sizeof(path), "%s/%.20s", home, entry->d_name);
			attribute(facts, path, "start");
			attribute(facts, path, "end");
			attribute(facts, path, "page_offset");
		}
	closedir(directory);
}

static int by_text(const void *one, const void *other)
{
	return strcmp(*(char *const *)one, *(char *const *)other);
}

static void look(struct facts *facts, char **parents)
{
	static const char *const names[] = { "available_size", "seed", "create" };
	char path[256];
	struct dirent *entry;

	facts->count = 0;
	attribute(facts, "/sys/bus/dax", "drivers_autoprobe");
	for (; *parents; parents++) {
		DIR *directory = opendir(*parents);

		snprintf(path, sizeof(path), "%s/dax_region", *parents);
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			attribute(facts, path, names[i]);
		while (directory && (entry = readdir(directory)))
			if (!strncmp(entry->d_name, "dax", 3) && strchr(entry->d_name, '.')) {
				snprintf(path, sizeof(path), "%s/%.20s", *parents, entry->d_name);
				device(facts, path);
			}
		if (directory)
			closedir(directory);
	}
	qsort(facts->lines, facts->count, sizeof(char *), by_text);
}

/* What is in one and not in the other: a merge of two sorted lists. Forgets the older one. */
static void changes(struct facts *before, struct facts *now)
{
	size_t i = 0, j = 0;

	while (i < before->count || j < now->count) {
		int order = i == before->count ? 1 : j == now->count ? -1 : strcmp(before->lines[i], now->lines[j]);

		if (order < 0)
			printf("  - %s\n", before->lines[i]);
		if (order > 0)
			printf("  + %s\n", now->lines[j]);
		if (order <= 0)
			free(before->lines[i++]);
		if (order >= 0)
			j++;
	}
}

/* -- operations ------------------------------------------------------------------------------------ */

static sigjmp_buf back;
static siginfo_t fault;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	fault = *info;
	siglongjmp(back, number);
}

static void answer(long result)
{
	printf("%s\n", result < 0 ? strerrorname_np(errno) : "ok");
}

static size_t unescaped(char *text)
{
	char *from = text, *to = text;

	for (; *from; from++)
		if (*from == '\\') {
			from++;
			*to++ = *from == 'n' ? '\n' : *from == '0' ? '\0' : *from;
		} else {
			*to++ = *from;
		}
	return to - text;
}

static void put(const char *path, char *text)
{
	size_t length = unescaped(text);
	int fd = open(path, O_WRONLY), error;
	ssize_t n;

	if (fd < 0) {
		printf("%s at open\n", strerrorname_np(errno));
		return;
	}
	n = write(fd, text, length);
	error = errno;
	close(fd);
	errno = error;
	answer(n >= 0 && (size_t)n != length ? (errno = EIO, -1) : n);
}

static void touch(int slot, size_t offset, long number)
{
	volatile long *at = (volatile long *)(maps[slot].at + offset);
	int got = sigsetjmp(back, 1);

	if (got) {
		printf("SIG%s %d%s\n", sigabbrev_np(got), fault.si_code, fault.si_addr == (void *)at ? "" : " elsewhere");
		return;
	}
	printf("%ld\n", *at);
	*at = number;
}

static void operate(char *line, long number)
{
	char path[256];
	int slot, file, rest;
	size_t length;
	long offset;

	if (sscanf(line, "write %255s %n", path, &rest) == 1) {
		put(path, line + rest);
	} else if (sscanf(line, "open %d %255s", &slot, path) == 2) {
		answer(files[slot] = open(path, O_RDWR));
	} else if (sscanf(line, "close %d", &slot) == 1) {
		answer(close(files[slot]));
	} else if (sscanf(line, "map %d %d %zu %ld", &slot, &file, &length, &offset) == 4) {
		void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, files[file], offset);

		maps[slot].at = at;
		maps[slot].length = length;
		answer(at == MAP_FAILED ? -1 : 0);
	} else if (sscanf(line, "unmap %d", &slot) == 1) {
		answer(munmap(maps[slot].at, maps[slot].length));
	} else if (sscanf(line, "touch %d %ld", &slot, &offset) == 2) {
		touch(slot, offset, number);
	} else {
		printf("what?\n");
	}
}

int main(int argc, char **argv)
{
	static struct facts facts[2];
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	char line[512];
	long number = 0;

	if (argc < 2)
		return 2;
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	look(&facts[0], argv + 1);
	changes(&facts[1], &facts[0]);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		printf("%ld %s: ", ++number, line);
		operate(line, number);
		look(&facts[number % 2], argv + 1);
		changes(&facts[(number - 1) % 2], &facts[number % 2]);
	}
	return 0;
}
