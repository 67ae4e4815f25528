/* SPDX-License-Identifier: MIT */
/* copy_changes: make one file equal to another by writing only where they differ. */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, WINDOW = 64 << 20, BLOCK = 64 << 10 };

/* Where the file's next written byte is, at or behind AT; END if there is none before. */
static off_t next_data(int fd, off_t at, off_t end)
{
	off_t found = lseek(fd, at, SEEK_DATA);

	if (found < 0)
		return errno == ENXIO ? end : at;
	return found < end ? found : end;
}

static off_t next_hole(int fd, off_t at, off_t end)
{
	off_t found = lseek(fd, at, SEEK_HOLE);

	return found < 0 || found > end ? end : found;
}

static size_t copy_different_pages(char *to, const char *from, size_t length)
{
	size_t copied = 0;

	for (size_t block = 0; block < length; block += BLOCK) {
		size_t n = length - block < BLOCK ? length - block : BLOCK;

		if (memcmp(to + block, from + block, n) == 0)
			continue;
		for (size_t at = block; at < block + n; at += PAGE) {
			size_t page = block + n - at < PAGE ? block + n - at : PAGE;

			if (memcmp(to + at, from + at, page) == 0)
				continue;
			memcpy(to + at, from + at, page);
			copied += page;
		}
	}
	return copied;
}

/* Both files have something in [at, end), or the source has. */
static long long compare_part(int source, int target, off_t at, off_t end)
{
	off_t begin = at & ~(off_t)((2 << 20) - 1); /* where a file of huge pages can be mapped from */
	size_t length = end - begin;
	char *from = mmap(NULL, length, PROT_READ, MAP_SHARED, source, begin);
	char *to = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, target, begin);
	long long copied = -errno;

	if (from != MAP_FAILED && to != MAP_FAILED)
		copied = copy_different_pages(to + (at - begin), from + (at - begin), end - at);
	if (from != MAP_FAILED)
		munmap(from, length);
	if (to != MAP_FAILED)
		munmap(to, length);
	return copied;
}

/* The source has nothing in [at, end), the target may. */
static long long empty_part(int target, off_t at, off_t end)
{
	long long emptied = 0;

	for (at = next_data(target, at, end); at < end; at = next_data(target, at, end)) {
		off_t hole = next_hole(target, at, end);

		if (fallocate(target, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, hole - at) < 0)
			return -errno;
		emptied += hole - at;
		at = hole;
	}
	return emptied;
}

static long long copy_changes(int source, int target, off_t length)
{
	long long total = 0, changed;
	off_t at = 0;

	while (at < length) {
		off_t data = next_data(source, at, length), end;

		changed = data > at ? empty_part(target, at, data) : 0;
		if (changed < 0)
			return changed;
		total += changed;
		at = data;
		if (at == length)
			break;
		end = next_hole(source, at, length - at > WINDOW ? at + WINDOW : length);
		changed = compare_part(source, target, at, end);
		if (changed < 0)
			return changed;
		total += changed;
		at = end;
	}
	return total;
}

PyObject *dx_copy_changes(PyObject *self, PyObject *args)
{
	long long length, changed;
	int source, target;

	(void)self;
	if (!PyArg_ParseTuple(args, "iiL:copy_changes", &source, &target, &length))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	changed = copy_changes(source, target, length);
	Py_END_ALLOW_THREADS
	if (changed < 0)
		return dx_oserror(-changed, "copy_changes", "a backing file");
	return PyLong_FromLongLong(changed);
}
