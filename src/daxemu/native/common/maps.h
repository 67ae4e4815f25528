/* SPDX-License-Identifier: MIT */
#ifndef DX_MAPS_H
#define DX_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One line of /proc/thread-self/maps; "self" is the first thread, which may have ended. */
struct dx_vma {
	uint64_t start, end, offset, dev, ino;
	bool shared;
	int prot;
};

/* Read one: "start-end perms offset major:minor inode path". */
void dx_parse_vma(const char *line, struct dx_vma *vma);

typedef int dx_visit(const struct dx_vma *vma, void *context);

/*
 * MAPS is open on it, or -1 to open it. Call VISIT for every mapping of this process, by address, until it returns other than 0; that, or
 * -errno. Safe in a signal handler and in a thread that the C library does not know.
 */
int dx_each_vma(int maps, dx_visit *visit, void *context);

/* The same with little stack, for one mapping: 1, 0 if nothing is mapped at AT, or -errno. */
int dx_find_vma(uint64_t at, struct dx_vma *vma);

/*
 * What is mapped at AT at this very moment: 1, 0 if nothing is, or -errno from a kernel that cannot be asked for one
 * mapping (before 6.11).
 */
int dx_vma_at(int maps, uint64_t at, struct dx_vma *vma);

#endif
