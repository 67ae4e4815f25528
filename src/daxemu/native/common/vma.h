/* SPDX-License-Identifier: MIT */
/* Mappings of a device: the rule for making one, and how they are revoked and restored. */
#ifndef DX_VMA_H
#define DX_VMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "layout.h"

/* May [start, end) of a device with this alignment be mapped so? 0, -ENXIO dead, -EINVAL. */
int dx_check_vma(bool alive, bool shared, uint64_t start, uint64_t end, uint64_t align);

/* An mmap(2) of a device, and what there is to know for it. */
struct dx_map {
	void *hint;
	size_t length;
	int prot, flags;
	off_t offset;
	int fd; /* the backing file */
	int mode; /* what the descriptor is open for, of O_ACCMODE */
	int over; /* -errno if what lies at a fixed address cannot be taken away */
	bool alive;
	uint64_t align;
	bool unlocked; /* new mappings are locked and populated, but this one must not be */
	uint64_t reasons; /* DX_MOVED_… that hold from the begin */
	struct refusal *why; /* is told what the kernel logs of a refusal, if anything; may be NULL */
};

/* Map by the kernel's rules, in the kernel's order of checks; the address, or -errno. Without a hint it is congruent to the offset. */
long dx_map(const struct dx_map *map);

/* The mappings that this process has of a file's bytes [first, end), as far as they lie at addresses [from, to). */
struct dx_part {
	uint64_t dev, ino;
	uint64_t first, end;
	uintptr_t from, to;
};

/*
 * Say that a REASON (one DX_MOVED_…) for every touch of these mappings being SIGBUS holds, or holds
 * no longer. A mapping stays where it is; while any reason holds it raises SIGBUS. The part is
 * made of whole pages. Returns how many mappings were changed, or -errno. No memory is allocated,
 * no lock taken; safe in a signal handler and in a thread that the C library does not know. What the
 * kernel cannot move is an error: under valgrind and strict seccomp filters all, else a mapping
 * made by a descriptor for reading. OURS tells whether a file is some device's: a mapping of
 * another one that has just taken the place of ours, between the look and the move, is moved back.
 * NULL: there is nobody who could do that. MAPS as for dx_each_vma.
 */
typedef bool dx_ours(uint64_t dev, uint64_t ino);
int dx_move_mappings(const struct dx_part *part, uint64_t reason, bool holds, dx_ours *ours, int maps);

/* The same for all mappings of a file, and whether its device is alive. */
int dx_sync_mappings(uint64_t dev, uint64_t ino, bool alive, dx_ours *ours, int maps);

#endif
