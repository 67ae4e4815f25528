/* SPDX-License-Identifier: MIT */
/*
 * Whose turn it is to write to a log. A locked instruction waits for all stores before it, and programs on persistent
 * memory have many on their way; so the thread that wrote first takes its turns without any, while it is alone.
 */
#ifndef DX_PMEM_TURN_H
#define DX_PMEM_TURN_H

#include <stdbool.h>
#include <stdint.h>

#include "pmem_format.h"

struct dx_pmem_turn {
	bool alone;
	uint32_t before; /* what "busy" was: a signal handler may be within a turn */
	uint32_t *lock; /* NULL: none is needed */
};

#define DX_NO_PAGE UINT64_MAX

/* May a thread of this process be alone? False where it could not be told that others have come. */
bool dx_pmem_may_be_alone(void);

/* A thread is about to write that is not the first one, or may not be alone: from here on nobody is. */
void dx_pmem_share(struct pmem_state *state);

/* Nobody else looks at the page, or where it is DX_NO_PAGE takes a place in the log, without a locked instruction. */
struct dx_pmem_turn dx_pmem_begin_turn(struct pmem_state *state, uint64_t page, uint16_t thread);
void dx_pmem_end_turn(struct pmem_state *state, struct dx_pmem_turn turn);

/* The next SIZE bytes of the log. */
static inline uint64_t dx_pmem_next_place(struct pmem_state *state, struct dx_pmem_turn turn, uint64_t size)
{
#ifdef __x86_64__
	/* One instruction, so that a signal handler comes before or after it. */
	if (turn.alone) {
		__asm__ volatile("xaddq %0, %1" : "+r"(size), "+m"(state->tail) : : "cc");
		return size;
	}
#endif
	(void)turn;
	return __atomic_fetch_add(&state->tail, size, __ATOMIC_RELAXED);
}

#endif
