/* SPDX-License-Identifier: MIT */
/* What a power failure may leave of a device, found by walking the log of a recording. */
#ifndef DX_CRASH_H
#define DX_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log_walk.h"

/* What a line held for a time: from this store on, until the next one. */
struct crash_version {
	const unsigned char *bytes;
	uint64_t seq, site;
	bool observed; /* found by a look, not where it was flushed */
};

/* A line with stores that are newer than what is durable of it; versions[0] is the oldest. */
struct crash_line {
	uint64_t offset;
	struct crash_version *versions;
	uint32_t nr_versions, room;
};

/* Lines that a thread has flushed, each as it was at seq, and not fenced yet. */
struct crash_flight {
	uint64_t line, seq;
};
struct crash_flights {
	struct crash_flight *of;
	size_t nr, room;
};

struct crash_walk {
	unsigned char *image; /* what is durable, but while a state is shown */
	uint64_t size;
	struct log_walk log; /* its event is the last that was applied */
	int durable_at_once; /* eADR */
	uint64_t hash; /* of all durable lines, as far as they differ from the begin */
	uint32_t *slots; /* by line number: 1 + index in lines, 0 for none */
	struct crash_line *lines;
	size_t nr_lines, room; /* lines that have had versions keep their memory: room, not nr_lines, are allocated */
	struct crash_flights *flights; /* by thread */
};

/* 0, or -errno: ENOMEM, EINVAL for an event that is none. */
int crash_open(struct crash_walk *walk);
void crash_close(struct crash_walk *walk);
/* Apply all events before this one. Lines are in order of their offsets afterwards. */
int crash_advance(struct crash_walk *walk, uint64_t seq);
uint64_t crash_mix(uint64_t x);
uint64_t crash_hash(uint64_t offset, const unsigned char *bytes);

/* The states at one crash point: each line has its durable content, choice 0, or that of a version, choice 1 and up. */
struct crash_states {
	struct crash_walk *walk;
	size_t nr;
	uint32_t *choice; /* what the image shows of each line */
	uint32_t *first; /* where a line's hashes begin */
	uint64_t *hashes;
	unsigned char (*durable)[DX_LINE_SIZE];
	uint64_t hash; /* of the state that is shown */
	int blind; /* nobody looks at the image: it is left alone */
};

int crash_begin(struct crash_states *states, struct crash_walk *walk);
void crash_show(struct crash_states *states, size_t line, uint32_t choice);
/* The image is what is durable again. */
void crash_end(struct crash_states *states);

/* How many there are, at most UINT64_MAX. */
uint64_t crash_count(const struct crash_states *states);

/* Going through states: visit is called for each that is shown; what it returns but 0 ends it. */
struct crash_tour {
	uint64_t limit, seed;
	int (*visit)(void *);
	void *context;
};

/* Which states, and one after the other; see pmem/orders.py for what the names stand for. */
struct crash_order {
	const char *name;
	int (*each)(struct crash_states *states, const struct crash_tour *tour);
};

/* NULL: there is none of this name. */
const struct crash_order *crash_order(const char *name);
/* Blind: the image is not touched, only the states' hashes are there. */
int crash_each(struct crash_states *states, const struct crash_order *order, const struct crash_tour *tour, int blind);

/* Hashes of the states that have been there. */
struct crash_seen {
	uint64_t *table;
	size_t nr, room;
};

/* 1: it is new with this salt; 0: it is not; -ENOMEM. */
int crash_add(struct crash_seen *seen, uint64_t hash, uint64_t salt);

#endif
