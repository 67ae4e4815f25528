/* SPDX-License-Identifier: MIT */
/* Writing the log of a recording, by all threads of all processes at once; the layout is pmem/format.py's. */
#ifndef DX_PMEM_LOG_H
#define DX_PMEM_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pmem_format.h"

/* A recording as one process sees it. */
struct dx_pmem_log {
	struct pmem_state *state; /* NULL: none */
	char *shadow; /* what the device holds as far as the log tells */
	char *events;
	uint64_t ready; /* where the log can be written to without a fault */
	bool patient; /* waits while too much is in memory */
	bool may_be_alone;
};

/* Who did something, and from where. */
struct dx_pmem_actor {
	uint16_t thread;
	uint64_t site;
};

/* Take part in a recording, by descriptors of its state and of its events; 0 or -errno. */
int dx_pmem_attach(struct dx_pmem_log *log, int state_fd, int events_fd);
void dx_pmem_detach(struct dx_pmem_log *log);
/* A program that takes no part seems never to flush: have whoever records know why. */
int dx_pmem_miss(int state_fd, int error);

/* Nobody writes any more, for the first reason that is given. */
void dx_pmem_stop(struct dx_pmem_log *log, uint32_t why);

/* The number of a thread that is new; false if there are no more. */
bool dx_pmem_new_thread(struct dx_pmem_log *log, uint16_t *thread);

/*
 * [offset, offset + length) of the device is flushed; the byte at offset is at MEMORY. Lines of it that are not as they
 * were known are logged first; not if MEMORY is NULL. No lock that could be held for ever, no allocation.
 */
void dx_pmem_flush(struct dx_pmem_log *log, const char *memory, uint64_t offset, uint64_t length, struct dx_pmem_actor actor);
void dx_pmem_fence(struct dx_pmem_log *log, struct dx_pmem_actor actor);
/* Both, by one event. */
void dx_pmem_persist(struct dx_pmem_log *log, const char *memory, uint64_t offset, uint64_t length,
		     struct dx_pmem_actor actor);
void dx_pmem_marker(struct dx_pmem_log *log, const char *text, uint32_t length, struct dx_pmem_actor actor);
/* Log lines that have changed, as dx_pmem_flush does, without a flush. */
void dx_pmem_observe(struct dx_pmem_log *log, const char *memory, uint64_t offset, uint64_t length, struct dx_pmem_actor actor);
/* The same of the line at AT, in a file of the device's bytes: who stored it is not known, nor where. */
void dx_pmem_look(struct dx_pmem_log *log, int file, uint64_t at, struct dx_pmem_actor actor);

/* What of the log is in its file: up to AT, which needed no more memory up to RELEASED, and ends in the file at WRITTEN. */
struct dx_pmem_collected {
	uint64_t at, released, written, nr_events;
};

/*
 * Go on to write the events to their file, up to the first that is not finished; the LAST time that one is left out, as
 * its writer was killed. 0 or -errno: up to there they are in the file.
 */
int dx_pmem_collect(struct dx_pmem_log *log, struct dx_pmem_collected *done, int fd, bool last);

#endif
