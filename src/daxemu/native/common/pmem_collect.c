/* SPDX-License-Identifier: MIT */
/* What is in a recording's memory goes to the log's file as it is: the events of both are the same. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pmem_event.h"
#include "pmem_log.h"

enum { MOST_AT_ONCE = 4 << 20, HUGE_PAGE = 2 << 20 };

/* Bytes of the event if it is finished, else 0. */
static uint64_t finished(const struct dx_pmem_log *log, uint64_t at, uint64_t end)
{
	const struct pmem_event *event = (const struct pmem_event *)(log->events + at);
	uint64_t size;
	uint8_t type;

	if (end - at < sizeof(*event))
		return 0;
	type = __atomic_load_n(&event->type, __ATOMIC_ACQUIRE);
	if (!type || type & DX_EVENT_UNFINISHED)
		return 0;
	size = dx_pmem_event_size(type, event->length);
	return size <= end - at ? size : 0;
}

/* Bytes that whoever had the place was killed in, before it wrote anything or all. */
static uint64_t abandoned(const struct dx_pmem_log *log, uint64_t at, uint64_t end)
{
	const struct pmem_event *event = (const struct pmem_event *)(log->events + at);
	uint64_t size = 8;

	if (end - at >= sizeof(*event) && event->type)
		size = dx_pmem_event_size(event->type & ~DX_EVENT_UNFINISHED, event->length);
	return size < end - at ? size : end - at;
}

static int write_out(const char *from, uint64_t n, int fd, uint64_t to)
{
	while (n) {
		ssize_t done = pwrite(fd, from, n, to);

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			from += done;
			to += done;
			n -= done;
		}
	}
	return 0;
}

/* Give the memory back that nobody needs any more. */
static void release(struct dx_pmem_log *log, struct dx_pmem_collected *done)
{
	uint64_t behind = done->at & ~(HUGE_PAGE - 1ULL);

	if (behind > done->released && madvise(log->events + done->released, behind - done->released, MADV_REMOVE) == 0)
		done->released = behind;
	__atomic_store_n(&log->state->collected, done->at, __ATOMIC_RELEASE);
}

int dx_pmem_collect(struct dx_pmem_log *log, struct dx_pmem_collected *done, int fd, bool last)
{
	uint64_t end = __atomic_load_n(&log->state->tail, __ATOMIC_RELAXED);
	uint64_t limit = __atomic_load_n(&log->state->limit, __ATOMIC_RELAXED);
	int status = 0;

	end = end < limit ? end : limit;
	while (done->at < end && status == 0) {
		uint64_t run = 0, nr = 0, size;

		while (run < MOST_AT_ONCE && (size = finished(log, done->at + run, end))) {
			run += size;
			nr++;
		}
		if (!run && !last && end - done->at < log->state->held_most / 2)
			break;
		if (!run) { /* it was killed, or it is not there while all others have written so much more */
			done->at += abandoned(log, done->at, end);
			continue;
		}
		status = write_out(log->events + done->at, run, fd, done->written);
		if (status == 0) {
			done->at += run;
			done->written += run;
			done->nr_events += nr;
			release(log, done);
		}
	}
	return status;
}
