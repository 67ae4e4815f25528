/* SPDX-License-Identifier: MIT */
/*
 * The log is memory that everybody maps. To write events is to take the next bytes of it, by one addition; so they are
 * in order, and what a killed program has written is there. Who records takes them from the begin to a file.
 */
#define _GNU_SOURCE
#include "pmem_log.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pmem_event.h"
#include "pmem_turn.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { BLOCK = 1 << 20, MOST_PAUSES = 10000, PAGE = 64 * DX_LINE_SIZE };

#define MASK (DX_LINE_SIZE - 1ULL)
#define MOST_LENGTH (1U << 31)

/* Not by the functions of these names: descriptors may be of an agent's own table, and not what the preload library knows. */
static void *map_shared(int fd, uint64_t length, int flags)
{
	return (void *)syscall(SYS_mmap, NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0L);
}

int dx_pmem_miss(int state_fd, int error)
{
	struct pmem_state *state = map_shared(state_fd, sizeof(*state), 0);

	if (state != MAP_FAILED) {
		__atomic_store_n(&state->missed, error, __ATOMIC_RELAXED);
		syscall(SYS_munmap, state, sizeof(*state));
	}
	return -error;
}

int dx_pmem_attach(struct dx_pmem_log *log, int state_fd, int events_fd)
{
	struct pmem_state head;
	char *state, *events;

	if (syscall(SYS_pread64, state_fd, &head, sizeof(head), 0L) != sizeof(head))
		return -EPROTO;
	state = map_shared(state_fd, DX_SHADOW_OFFSET + head.device_size, 0);
	if (state == MAP_FAILED)
		return dx_pmem_miss(state_fd, errno);
	events = map_shared(events_fd, DX_LOG_MOST, MAP_NORESERVE);
	if (events == MAP_FAILED) {
		int error = errno;

		syscall(SYS_munmap, state, DX_SHADOW_OFFSET + head.device_size);
		return dx_pmem_miss(state_fd, error);
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

void dx_pmem_stop(struct dx_pmem_log *log, uint32_t why)
{
	uint32_t running = 0;

	__atomic_compare_exchange_n(&log->state->stopped, &running, why, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

bool dx_pmem_new_thread(struct dx_pmem_log *log, uint16_t *thread)
{
	uint32_t number = __atomic_fetch_add(&log->state->nr_threads, 1, __ATOMIC_RELAXED);

	*thread = number;
	if (number || !log->may_be_alone)
		dx_pmem_share(log->state);
	if (number <= UINT16_MAX)
		return true;
	dx_pmem_stop(log, DX_STOPPED_FULL);
	return false;
}

static bool is_stopped(const struct dx_pmem_log *log)
{
	return __builtin_expect(__atomic_load_n(&log->state->stopped, __ATOMIC_RELAXED) != 0, 0);
}

/* What is not in the file is to be bounded. False: nobody collects it, whoever did may have been killed. */
static bool wait_for_collector(const struct dx_pmem_log *log, uint64_t end)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t before = 0;

	for (int pauses = 0; pauses < MOST_PAUSES && !is_stopped(log); pauses++) {
		uint64_t collected = __atomic_load_n(&log->state->collected, __ATOMIC_ACQUIRE);

		if (end - collected <= log->state->held_most)
			return true;
		if (collected != before)
			pauses = 0;
		before = collected;
		nanosleep(&pause, NULL);
	}
	return false;
}

/*
 * Have the memory of the log there at [at, end): a lack of it is to be an answer, not SIGBUS. Known to be there is a
 * window of blocks: the first, and the one behind the last, in one word.
 */
static bool make_ready(struct dx_pmem_log *log, uint64_t at, uint64_t end)
{
	uint64_t first = at / BLOCK, behind = (end + BLOCK - 1) / BLOCK;
	uint64_t limit = __atomic_load_n(&log->state->limit, __ATOMIC_RELAXED);
	int saved = errno;
	bool room;

	room = end <= limit && (!log->patient || wait_for_collector(log, end)) &&
	       (madvise(log->events + first * BLOCK, (behind - first) * BLOCK, MADV_POPULATE_WRITE) == 0 || errno == EINVAL);
	errno = saved;
	if (room) {
		__atomic_store_n(&log->ready, first << 32 | behind, __ATOMIC_RELAXED);
		return true;
	}
	dx_pmem_stop(log, DX_STOPPED_FULL);
	while (at < limit && !__atomic_compare_exchange_n(&log->state->limit, &limit, at, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return false;
}

/* The next bytes of the log; NULL if there is no room for them. */
static char *take(struct dx_pmem_log *log, struct dx_pmem_turn turn, uint64_t size)
{
	uint64_t at = dx_pmem_next_place(log->state, turn, size), end = at + size;
	uint64_t ready = __atomic_load_n(&log->ready, __ATOMIC_RELAXED);

	if (__builtin_expect(at < (ready >> 32) * BLOCK || end > (ready & UINT32_MAX) * BLOCK, 0) && !make_ready(log, at, end))
		return NULL;
	for (int i = 0; i < 4; i++) /* what waits for stores is to wait less */
		__builtin_prefetch(log->events + end + i * 64, 1);
	return log->events + at;
}

/*
 * An event says that it is unfinished before anything else of it is there. Of a program that is killed all is there
 * that comes before; so it is enough that the compiler keeps the order.
 */
static struct pmem_event *begin(char *to, const struct pmem_event *event)
{
	struct pmem_event *put = (struct pmem_event *)to;

	__atomic_store_n(&put->type, event->type | DX_EVENT_UNFINISHED, __ATOMIC_RELAXED);
	put->length = event->length;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	put->flags = event->flags;
	put->thread = event->thread;
	put->offset = event->offset;
	put->site = event->site;
	return put;
}

static void end(struct pmem_event *put, uint8_t type)
{
	__atomic_store_n(&put->type, type, __ATOMIC_RELEASE);
}

static bool differ(const char *one, const char *other)
{
	uint64_t a[DX_LINE_SIZE / 8], b[DX_LINE_SIZE / 8], found = 0;

	memcpy(a, one, sizeof(a));
	memcpy(b, other, sizeof(b));
	for (size_t i = 0; i < DX_LINE_SIZE / 8; i++)
		found |= a[i] ^ b[i];
	return found;
}

/* Copy a line as it was at one time, as far as two looks can tell. */
static void look(char *line, const char *memory)
{
	for (int tries = 0; tries < 100; tries++) {
		memcpy(line, memory, DX_LINE_SIZE);
		__asm__ volatile("" ::: "memory");
		if (!differ(line, memory))
			return;
	}
}

/*
 * Lines of one page are told of if they have changed, and then DONE if that has a type. In the order in which the
 * contents of lines were there they are in the log: nobody else has the page while they are looked at and get their places.
 */
static void tell(struct dx_pmem_log *log, const char *memory, uint64_t first, uint64_t nr, const struct pmem_event *done)
{
	struct pmem_event store = { .type = DX_EVENT_STORE, .thread = done->thread, .length = DX_LINE_SIZE, .site = done->site };
	struct dx_pmem_turn turn = dx_pmem_begin_turn(log->state, first / PAGE, done->thread);
	char *shadow = log->shadow + first, *to = NULL;
	uint64_t changed = 0, size = done->type ? sizeof(*done) : 0;

	for (uint64_t i = 0; i < nr; i++) {
		if (!differ(memory + i * DX_LINE_SIZE, shadow + i * DX_LINE_SIZE))
			continue;
		changed |= 1ULL << i;
		size += sizeof(store) + DX_LINE_SIZE;
	}
	if (size)
		to = take(log, turn, size);
	for (; to && changed; changed &= changed - 1) {
		uint64_t at = __builtin_ctzll(changed) * DX_LINE_SIZE;
		struct pmem_event *put;

		store.offset = first + at;
		put = begin(to, &store);
		to += sizeof(store);
		look(to, memory + at);
		memcpy(shadow + at, to, DX_LINE_SIZE);
		to += DX_LINE_SIZE;
		end(put, store.type);
	}
	if (to && done->type)
		end(begin(to, done), done->type);
	dx_pmem_end_turn(log->state, turn);
}

/* All lines that have any of the range; then DONE. */
static void tell_all(struct dx_pmem_log *log, const char *memory, uint64_t offset, uint64_t length,
		     const struct pmem_event *done)
{
	const struct pmem_event nothing = { .thread = done->thread, .site = done->site };
	uint64_t first = offset & ~MASK, behind = (offset + length + MASK) & ~MASK, next;

	memory -= offset - first;
	for (uint64_t at = first; at < behind; at = next) {
		next = (at / PAGE + 1) * PAGE;
		next = next < behind ? next : behind;
		tell(log, memory + (at - first), at, (next - at) / DX_LINE_SIZE, next == behind ? done : &nothing);
	}
}

void dx_pmem_observe(struct dx_pmem_log *log, const char *memory, uint64_t offset, uint64_t length, struct dx_pmem_actor actor)
{
	if (!is_stopped(log))
		tell_all(log, memory, offset, length, &(struct pmem_event){ .thread = actor.thread, .site = actor.site });
}

static void put_in_turn(struct dx_pmem_log *log, struct dx_pmem_turn turn, const struct pmem_event *event,
			const void *payload, uint32_t length)
{
	char *to = take(log, turn, sizeof(*event) + dx_pmem_padded(length));
	struct pmem_event *put;

	if (!to)
		return;
	put = begin(to, event);
	if (length)
		memcpy(to + sizeof(*event), payload, length);
	end(put, event->type);
}

static void put(struct dx_pmem_log *log, const struct pmem_event *event, const void *payload, uint32_t length)
{
	struct dx_pmem_turn turn = dx_pmem_begin_turn(log->state, DX_NO_PAGE, event->thread);

	put_in_turn(log, turn, event, payload, length);
	dx_pmem_end_turn(log->state, turn);
}

/* A line as it was at one time; false if it is stored to all the time: then the next look is early enough. */
static bool look_into(int file, uint64_t at, char line[DX_LINE_SIZE])
{
	char again[DX_LINE_SIZE];

	for (int tries = 0; tries < 100; tries++) {
		if (syscall(SYS_pread64, file, line, DX_LINE_SIZE, at) != DX_LINE_SIZE ||
		    syscall(SYS_pread64, file, again, DX_LINE_SIZE, at) != DX_LINE_SIZE)
			return false;
		if (!differ(line, again))
			return true;
	}
	return false;
}

void dx_pmem_look(struct dx_pmem_log *log, int file, uint64_t at, struct dx_pmem_actor actor)
{
	const struct pmem_event store = { .type = DX_EVENT_STORE, .flags = DX_EVENT_OBSERVED, .thread = actor.thread,
					  .length = DX_LINE_SIZE, .offset = at, .site = actor.site };
	struct dx_pmem_turn turn = dx_pmem_begin_turn(log->state, at / PAGE, actor.thread);
	char line[DX_LINE_SIZE];

	if (!is_stopped(log) && look_into(file, at, line) && differ(line, log->shadow + at)) {
		memcpy(log->shadow + at, line, DX_LINE_SIZE);
		put_in_turn(log, turn, &store, line, DX_LINE_SIZE);
	}
	dx_pmem_end_turn(log->state, turn);
}

static void flush(struct dx_pmem_log *log, const char *memory, uint64_t offset, uint64_t length, struct dx_pmem_actor actor,
		  uint8_t type)
{
	struct pmem_event event = { .type = type, .thread = actor.thread, .length = length, .offset = offset, .site = actor.site };

	if (is_stopped(log))
		return;
	if (length > MOST_LENGTH) { /* more than an event can say */
		flush(log, memory, offset, MOST_LENGTH, actor, DX_EVENT_FLUSH);
		flush(log, memory ? memory + MOST_LENGTH : NULL, offset + MOST_LENGTH, length - MOST_LENGTH, actor, type);
	} else if (memory) {
		tell_all(log, memory, offset, length, &event);
	} else {
		put(log, &event, NULL, 0);
	}
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
	if (!is_stopped(log))
		put(log, &(struct pmem_event){ .type = DX_EVENT_FENCE, .thread = actor.thread, .site = actor.site }, NULL, 0);
}

void dx_pmem_marker(struct dx_pmem_log *log, const char *text, uint32_t length, struct dx_pmem_actor actor)
{
	struct pmem_event event = { .type = DX_EVENT_MARKER, .thread = actor.thread, .length = length, .site = actor.site };

	if (!is_stopped(log))
		put(log, &event, text, length);
}
