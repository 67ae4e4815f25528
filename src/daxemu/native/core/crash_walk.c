/* SPDX-License-Identifier: MIT */
/* The events of a log, one after the other: which lines are durable, and which are on their way. */
#include "crash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "grow.h"

uint64_t crash_mix(uint64_t x)
{
	x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93;
	return x ^ (x >> 32);
}

uint64_t crash_hash(uint64_t offset, const unsigned char *bytes)
{
	uint64_t hash = crash_mix(offset + 0x9e3779b97f4a7c15);

	for (int i = 0; i < DX_LINE_SIZE; i += 8) {
		uint64_t word;

		memcpy(&word, bytes + i, sizeof(word));
		hash = crash_mix(hash ^ word) + 0x9e3779b97f4a7c15 * (i + 1);
	}
	return crash_mix(hash);
}

int crash_open(struct crash_walk *walk)
{
	walk->slots = calloc(walk->size / DX_LINE_SIZE + 1, sizeof(*walk->slots));
	walk->flights = calloc(UINT16_MAX + 1, sizeof(*walk->flights));
	return walk->slots && walk->flights ? 0 : -ENOMEM;
}

void crash_close(struct crash_walk *walk)
{
	for (size_t i = 0; i < walk->room; i++)
		free(walk->lines[i].versions);
	for (size_t i = 0; walk->flights && i <= UINT16_MAX; i++)
		free(walk->flights[i].of);
	free(walk->lines);
	free(walk->flights);
	free(walk->slots);
}

static void make_durable(struct crash_walk *walk, uint64_t offset, const unsigned char *bytes)
{
	unsigned char *line = walk->image + offset;

	walk->hash += crash_hash(offset, bytes) - crash_hash(offset, line);
	memcpy(line, bytes, DX_LINE_SIZE);
}

static int store(struct crash_walk *walk, const struct pmem_event *event, const unsigned char *bytes)
{
	uint32_t *slot = &walk->slots[event->offset / DX_LINE_SIZE];
	struct crash_line *line;

	if (walk->durable_at_once) {
		make_durable(walk, event->offset, bytes);
		return 0;
	}
	if (!*slot) {
		if (grow((void **)&walk->lines, walk->nr_lines, &walk->room, sizeof(*walk->lines)) < 0)
			return -ENOMEM;
		line = &walk->lines[walk->nr_lines++];
		line->offset = event->offset;
		line->nr_versions = 0;
		*slot = walk->nr_lines;
	}
	line = &walk->lines[*slot - 1];
	if (line->nr_versions == line->room) {
		uint32_t room = line->room ? line->room * 2 : 2;
		void *grown = realloc(line->versions, room * sizeof(*line->versions));

		if (!grown)
			return -ENOMEM;
		line->versions = grown;
		line->room = room;
	}
	line->versions[line->nr_versions++] =
		(struct crash_version){ bytes, walk->log.seq, event->site, event->flags & DX_EVENT_OBSERVED };
	return 0;
}

static int take_off(struct crash_walk *walk, const struct crash_line *line, uint32_t thread)
{
	struct crash_flights *flights = &walk->flights[thread];

	if (grow((void **)&flights->of, flights->nr, &flights->room, sizeof(*flights->of)) < 0)
		return -ENOMEM;
	flights->of[flights->nr++] = (struct crash_flight){ .line = line->offset / DX_LINE_SIZE,
							    .seq = line->versions[line->nr_versions - 1].seq };
	return 0;
}

/* A range may be the whole device, of which few lines are pending: the smaller of both is gone through. */
static int flush(struct crash_walk *walk, const struct pmem_event *event)
{
	uint64_t end = event->offset + event->length, first = event->offset / DX_LINE_SIZE, n;
	int status = 0;

	if (event->length == 0)
		return 0;
	n = (end - 1) / DX_LINE_SIZE - first + 1;
	if (n > walk->nr_lines) {
		for (size_t i = 0; i < walk->nr_lines && status == 0; i++) {
			uint64_t line = walk->lines[i].offset / DX_LINE_SIZE;

			if (line >= first && line < first + n)
				status = take_off(walk, &walk->lines[i], event->thread);
		}
	} else {
		for (uint64_t line = first; line < first + n && status == 0; line++) {
			if (walk->slots[line])
				status = take_off(walk, &walk->lines[walk->slots[line] - 1], event->thread);
		}
	}
	return status;
}

/* Its versions up to seq are older than what is durable now. */
static void land(struct crash_walk *walk, const struct crash_flight *flight)
{
	uint32_t slot = walk->slots[flight->line], old = 0;
	struct crash_line *line, *last;

	if (!slot)
		return;
	line = &walk->lines[slot - 1];
	while (old < line->nr_versions && line->versions[old].seq <= flight->seq)
		old++;
	if (old == 0)
		return;
	make_durable(walk, line->offset, line->versions[old - 1].bytes);
	line->nr_versions -= old;
	memmove(line->versions, line->versions + old, line->nr_versions * sizeof(*line->versions));
	if (line->nr_versions)
		return;
	last = &walk->lines[--walk->nr_lines];
	walk->slots[flight->line] = 0;
	if (line != last) {
		struct crash_line emptied = *line;

		*line = *last;
		*last = emptied;
		walk->slots[line->offset / DX_LINE_SIZE] = slot;
	}
}

static void fence(struct crash_walk *walk, uint32_t thread)
{
	struct crash_flights *flights = &walk->flights[thread];

	for (size_t i = 0; i < flights->nr; i++)
		land(walk, &flights->of[i]);
	flights->nr = 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct crash_line *one = a, *other = b;

	return (one->offset > other->offset) - (one->offset < other->offset);
}

int crash_advance(struct crash_walk *walk, uint64_t seq)
{
	int status = 1;

	while (status > 0 && walk->log.seq + 1 < seq) {
		const struct pmem_event *event = &walk->log.event;

		status = log_next(&walk->log);
		if (status <= 0)
			break;
		if (event->type == DX_EVENT_STORE)
			status = store(walk, event, walk->log.payload) < 0 ? -ENOMEM : 1;
		if (event->type & DX_EVENT_FLUSH)
			status = flush(walk, event) < 0 ? -ENOMEM : 1;
		if (event->type & DX_EVENT_FENCE)
			fence(walk, event->thread);
	}
	if (walk->nr_lines)
		qsort(walk->lines, walk->nr_lines, sizeof(*walk->lines), by_offset);
	for (size_t i = 0; i < walk->nr_lines; i++)
		walk->slots[walk->lines[i].offset / DX_LINE_SIZE] = i + 1;
	return status < 0 ? status : 0;
}
