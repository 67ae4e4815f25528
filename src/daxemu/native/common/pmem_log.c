/* SPDX-License-Identifier: MIT */
/*
 * The log is a sparse file that everybody maps. To write an event is to take the next bytes of it, by one addition;
 * so events are in order, and what a killed program has written is there.
 */
#define _GNU_SOURCE
#include "pmem_log.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { STEP = 1 << 20, MOST_TRIES = 1 << 16 };

#define MASK (DX_LINE_SIZE - 1ULL)
#define MOST_LENGTH (1U << 31)

int dx_pmem_attach(struct dx_pmem_log *log, int state_fd, int events_fd)
{
	struct pmem_state head;
	char *state, *events;

	if (pread(state_fd, &head, sizeof(head), 0) != sizeof(head))
		return -EPROTO;
	state = mmap(NULL, DX_SHADOW_OFFSET + head.device_size, PROT_READ | PROT_WRITE, MAP_SHARED, state_fd, 0);
	if (state == MAP_FAILED)
		return -errno;
	events = mmap(NULL, DX_LOG_MOST, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, events_fd, 0);
	if (events == MAP_FAILED) {
		int error = errno;

		munmap(state, DX_SHADOW_OFFSET + head.device_size);
		return -error;
	}
	*log = (struct dx_pmem_log){ .state = (void *)state, .shadow = state + DX_SHADOW_OFFSET, .events = events };
	return 0;
}

void dx_pmem_detach(struct dx_pmem_log *log)
{
	if (!log->state)
		return;
	munmap(log->events, DX_LOG_MOST);
	munmap(log->state, DX_SHADOW_OFFSET + log->state->device_size);
	log->state = NULL;
}

static void stop(struct dx_pmem_log *log)
{
	uint32_t running = 0;

	__atomic_compare_exchange_n(&log->state->stopped, &running, DX_STOPPED_FULL, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

bool dx_pmem_new_thread(struct dx_pmem_log *log, uint16_t *thread)
{
	uint32_t number = __atomic_fetch_add(&log->state->nr_threads, 1, __ATOMIC_RELAXED);

	*thread = number;
	if (number <= UINT16_MAX)
		return true;
	stop(log);
	return false;
}

/* Have the file's memory there up to END: a full disk is to be an answer, not SIGBUS. */
static bool make_ready(struct dx_pmem_log *log, uint64_t at, uint64_t end)
{
	uint64_t from = __atomic_load_n(&log->ready, __ATOMIC_RELAXED), start = from ? from : at & ~(STEP - 1ULL);
	int saved = errno;
	bool full;

	end = (end + STEP - 1) & ~(STEP - 1ULL);
	full = end > DX_LOG_MOST || (madvise(log->events + start, end - start, MADV_POPULATE_WRITE) < 0 && errno != EINVAL);
	errno = saved;
	if (full)
		return false;
	__atomic_store_n(&log->ready, end, __ATOMIC_RELAXED);
	return true;
}

static void put(struct dx_pmem_log *log, struct pmem_event head, const void *payload, uint32_t length)
{
	uint64_t size = sizeof(head) + ((length + 7ULL) & ~7ULL), at;
	struct pmem_event *event;
	uint8_t type = head.type;

	if (__atomic_load_n(&log->state->stopped, __ATOMIC_RELAXED))
		return;
	at = __atomic_fetch_add(&log->state->tail, size, __ATOMIC_RELAXED);
	if (__builtin_expect(at + size > __atomic_load_n(&log->ready, __ATOMIC_RELAXED), 0) && !make_ready(log, at, at + size)) {
		stop(log);
		return;
	}
	event = (struct pmem_event *)(log->events + at);
	head.type |= DX_EVENT_UNFINISHED;
	*event = head;
	if (length)
		memcpy(event + 1, payload, length);
	__atomic_store_n(&event->type, type, __ATOMIC_RELEASE);
}

/* Whoever had a line may have been killed, or interrupted by a handler that is here now: nobody waits for ever. */
static uint32_t *lock_line(struct dx_pmem_log *log, uint64_t line)
{
	uint32_t *locks = (uint32_t *)((char *)log->state + DX_STATE_LOCKS_OFFSET);
	uint32_t *lock = &locks[line / DX_LINE_SIZE % DX_STATE_NR_LOCKS];

	for (int tries = 0; tries < MOST_TRIES; tries++) {
		uint32_t nobody = 0;

		if (__atomic_compare_exchange_n(lock, &nobody, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			break;
		sched_yield();
	}
	return lock;
}

/* A copy of a line as it was at one time, as far as two looks can tell. */
static void look(const char *memory, char line[DX_LINE_SIZE])
{
	for (int tries = 0; tries < 100; tries++) {
		memcpy(line, memory, DX_LINE_SIZE);
		__asm__ volatile("" ::: "memory");
		if (memcmp(line, memory, DX_LINE_SIZE) == 0)
			return;
	}
}

static void log_line(struct dx_pmem_log *log, const char *memory, uint64_t at, struct dx_pmem_actor actor)
{
	/* In the order in which a line's contents were there they are logged. */
	uint32_t *lock = lock_line(log, at);
	char line[DX_LINE_SIZE];

	look(memory, line);
	if (memcmp(line, log->shadow + at, DX_LINE_SIZE) != 0) {
		memcpy(log->shadow + at, line, DX_LINE_SIZE);
		put(log,
		    (struct pmem_event){ .type = DX_EVENT_STORE, .thread = actor.thread, .length = DX_LINE_SIZE, .offset = at,
					 .site = actor.site },
		    line, DX_LINE_SIZE);
	}
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

void dx_pmem_observe(struct dx_pmem_log *log, const char *memory, uint64_t offset, uint64_t length, struct dx_pmem_actor actor)
{
	uint64_t first = offset & ~MASK, end = (offset + length + MASK) & ~MASK;

	memory -= offset - first;
	for (uint64_t at = first; at < end; at += DX_LINE_SIZE)
		if (memcmp(memory + (at - first), log->shadow + at, DX_LINE_SIZE) != 0)
			log_line(log, memory + (at - first), at, actor);
}

static void flush(struct dx_pmem_log *log, const char *memory, uint64_t offset, uint64_t length, struct dx_pmem_actor actor,
		  uint8_t type)
{
	if (__atomic_load_n(&log->state->stopped, __ATOMIC_RELAXED))
		return;
	if (memory)
		dx_pmem_observe(log, memory, offset, length, actor);
	/* The length of an event has 32 bits. */
	for (; length > MOST_LENGTH; offset += MOST_LENGTH, length -= MOST_LENGTH)
		put(log,
		    (struct pmem_event){ .type = DX_EVENT_FLUSH, .thread = actor.thread, .length = MOST_LENGTH,
					 .offset = offset, .site = actor.site },
		    NULL, 0);
	put(log,
	    (struct pmem_event){ .type = type, .thread = actor.thread, .length = length, .offset = offset,
				 .site = actor.site },
	    NULL, 0);
}

void dx_pmem_flush(struct dx_pmem_log *log, const char *memory, uint64_t offset, uint64_t length, struct dx_pmem_actor actor)
{
	if (length)
		flush(log, memory, offset, length, actor, DX_EVENT_FLUSH);
}

void dx_pmem_persist(struct dx_pmem_log *log, const char *memory, uint64_t offset, uint64_t length,
		     struct dx_pmem_actor actor)
{
	if (length)
		flush(log, memory, offset, length, actor, DX_EVENT_PERSIST);
	else
		dx_pmem_fence(log, actor);
}

void dx_pmem_fence(struct dx_pmem_log *log, struct dx_pmem_actor actor)
{
	put(log, (struct pmem_event){ .type = DX_EVENT_FENCE, .thread = actor.thread, .site = actor.site }, NULL, 0);
}

void dx_pmem_marker(struct dx_pmem_log *log, const char *text, uint32_t length, struct dx_pmem_actor actor)
{
	put(log,
	    (struct pmem_event){ .type = DX_EVENT_MARKER, .thread = actor.thread, .length = length, .site = actor.site },
	    text, length);
}
