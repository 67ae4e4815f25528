/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "pmem_turn.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPINS = 1000, PAUSES = 10000, GLOBAL_EXPEDITED = 1 << 1, REGISTER_GLOBAL_EXPEDITED = 1 << 2 };

bool dx_pmem_may_be_alone(void)
{
#ifdef __x86_64__
	int saved = errno;
	bool may = syscall(SYS_membarrier, REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;

	errno = saved;
	return may;
#else
	return false;
#endif
}

/* Whoever is waited for may not be running just now, or may have been killed: nobody waits for ever. */
static bool wait_a_little(int tries)
{
	const struct timespec pause = { .tv_nsec = 50000 };
	int saved = errno;

	if (tries < SPINS)
		sched_yield();
	else
		nanosleep(&pause, NULL);
	errno = saved;
	return tries < SPINS + PAUSES;
}

static void wait_until(const uint32_t *word, uint32_t value)
{
	for (int tries = 0; __atomic_load_n(word, __ATOMIC_ACQUIRE) != value && wait_a_little(tries); tries++)
		;
}

/*
 * Who is alone says that it is busy and then looks whether it still is alone, without a barrier in between. After one on
 * its processor it has either seen that it no longer is, or is seen to be busy.
 */
void dx_pmem_share(struct pmem_state *state)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	uint32_t sharing = DX_STATE_ALONE;
	int saved = errno;

	if (__atomic_load_n(&state->sharing, __ATOMIC_ACQUIRE) == DX_STATE_SHARED)
		return;
	if (__atomic_compare_exchange_n(&state->sharing, &sharing, DX_STATE_SOON, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)) {
		if (syscall(SYS_membarrier, GLOBAL_EXPEDITED, 0, 0) < 0)
			nanosleep(&pause, NULL); /* longer than any processor keeps a store to itself */
		wait_until(&state->busy, 0);
	} else {
		wait_until(&state->sharing, DX_STATE_SHARED);
	}
	__atomic_store_n(&state->sharing, DX_STATE_SHARED, __ATOMIC_RELEASE);
	errno = saved;
}

static uint32_t *lock_page(struct pmem_state *state, uint64_t page, uint16_t thread)
{
	uint32_t *locks = (uint32_t *)((char *)state + DX_STATE_LOCKS_OFFSET);
	/* Threads like to work at distances of powers of two. */
	uint32_t *lock = &locks[(page * 0x9e3779b97f4a7c15 >> 32) % DX_STATE_NR_LOCKS];

	for (int tries = 0;; tries++) {
		uint32_t holder = 0;

		if (__atomic_compare_exchange_n(lock, &holder, thread + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			break;
		if (holder == thread + 1U || !wait_a_little(tries)) /* this is a handler, within this thread's turn */
			break;
	}
	return lock;
}

struct dx_pmem_turn dx_pmem_begin_turn(struct pmem_state *state, uint64_t page, uint16_t thread)
{
	struct dx_pmem_turn turn = { 0 };

	if (__atomic_load_n(&state->sharing, __ATOMIC_RELAXED) == DX_STATE_ALONE) {
		turn.before = __atomic_load_n(&state->busy, __ATOMIC_RELAXED);
		__atomic_store_n(&state->busy, 1, __ATOMIC_RELAXED);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		turn.alone = __atomic_load_n(&state->sharing, __ATOMIC_RELAXED) == DX_STATE_ALONE;
		if (turn.alone)
			return turn;
		__atomic_store_n(&state->busy, turn.before, __ATOMIC_RELEASE);
	}
	if (page != DX_NO_PAGE)
		turn.lock = lock_page(state, page, thread);
	return turn;
}

void dx_pmem_end_turn(struct pmem_state *state, struct dx_pmem_turn turn)
{
	if (turn.alone)
		__atomic_store_n(&state->busy, turn.before, __ATOMIC_RELEASE);
	else if (turn.lock)
		__atomic_store_n(turn.lock, 0, __ATOMIC_RELEASE);
}
