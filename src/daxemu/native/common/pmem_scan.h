/* SPDX-License-Identifier: MIT */
/* Lines that were stored to and that nobody has flushed: a cache may write them back at any time. */
#ifndef DX_PMEM_SCAN_H
#define DX_PMEM_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "maps.h"
#include "pmem_log.h"

enum { DX_SCAN_REGIONS = 32 };

/* Pages of this process that show a part of the device. */
struct dx_scan_region {
	uintptr_t start, end;
	uint64_t offset;
};

/* A descriptor that programs may close, or use for something else. */
struct dx_scan_fd {
	int fd; /* 0: none yet */
	dev_t dev;
	ino_t ino;
};

/* What a process knows of its own stores. All zero: nothing yet. */
struct dx_pmem_scan {
	int holder; /* the thread that is looking: its number + 1 */
	uint32_t generation; /* of the mappings that are known */
	bool all; /* what pages tell is not enough this time */
	bool protects; /* this look */
	uint64_t nr_pages; /* that were stored to, as the last look found */
	uint64_t swapped; /* how much the machine had swapped out then */
	struct dx_scan_fd uffd, pagemap;
	uint32_t nr; /* if there is no more room: perhaps not all are known */
	struct dx_scan_region of[DX_SCAN_REGIONS];
};

/* Does a mapping of this process show some of the recorded device? */
static inline bool dx_pmem_is_mapped(const struct pmem_state *state, const struct dx_vma *vma)
{
	return vma->ino == state->ino && vma->dev == state->dev && vma->shared && vma->offset < state->device_size;
}

/* Is there to be a look before an event of this type? */
static inline bool dx_pmem_scan_due(struct dx_pmem_log *log, uint8_t type)
{
	struct pmem_state *state = log->state;

	if (__builtin_expect(!(state->scan_at & type), 1))
		return false;
	return state->scan_every <= 1 || __atomic_fetch_add(&state->scan_count, 1, __ATOMIC_RELAXED) % state->scan_every == 0;
}

/*
 * Log all lines of the device that are not as the log knows them. MEMORY is a descriptor of the device's bytes: what is
 * looked at is never a fault. The kernel tells which pages this process has stored to since the last time; where it
 * cannot, all of the device is compared. GENERATION is another number whenever mappings may have changed.
 */
void dx_pmem_scan(struct dx_pmem_log *log, struct dx_pmem_scan *scan, int memory, uint32_t generation,
		  struct dx_pmem_actor actor);

/* What the kernel cannot do that would tell of stores to a file, at least a page of it, and errno why; NULL: it tells. */
const char *dx_pmem_scan_lacks(int memory);

/* Compare all of the device with what the log knows. */
void dx_pmem_compare(struct dx_pmem_log *log, int memory, struct dx_pmem_actor actor);

/* Pages were dropped from this process's page tables, and with them what they told. */
void dx_pmem_scan_all(struct dx_pmem_scan *scan);
/* Know nothing: in a forked child, and at the end. */
void dx_pmem_scan_forget(struct dx_pmem_scan *scan);

#endif
