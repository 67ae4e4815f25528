/* SPDX-License-Identifier: MIT */
/* The states at one crash point, made in the image by writing only the lines that the last one had differently. */
#include "crash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int crash_begin(struct crash_states *states, struct crash_walk *walk)
{
	size_t nr = walk->nr_lines, hashes = 0;

	*states = (struct crash_states){ .walk = walk, .nr = nr, .hash = walk->hash };
	for (size_t i = 0; i < nr; i++)
		hashes += walk->lines[i].nr_versions + 1;
	states->choice = calloc(nr + 1, sizeof(*states->choice));
	states->first = calloc(nr + 1, sizeof(*states->first));
	states->hashes = calloc(hashes + 1, sizeof(*states->hashes));
	states->durable = calloc(nr + 1, sizeof(*states->durable));
	if (!states->choice || !states->first || !states->hashes || !states->durable) {
		states->nr = 0;
		crash_end(states);
		return -ENOMEM;
	}
	hashes = 0;
	for (size_t i = 0; i < nr; i++) {
		const struct crash_line *line = &walk->lines[i];

		states->first[i] = hashes;
		memcpy(states->durable[i], walk->image + line->offset, DX_LINE_SIZE);
		states->hashes[hashes++] = crash_hash(line->offset, states->durable[i]);
		for (uint32_t v = 0; v < line->nr_versions; v++)
			states->hashes[hashes++] = crash_hash(line->offset, line->versions[v].bytes);
	}
	return 0;
}

void crash_show(struct crash_states *states, size_t i, uint32_t choice)
{
	const struct crash_line *line = &states->walk->lines[i];
	const uint64_t *hashes = &states->hashes[states->first[i]];

	if (states->choice[i] == choice)
		return;
	memcpy(states->walk->image + line->offset, choice ? line->versions[choice - 1].bytes : states->durable[i],
	       DX_LINE_SIZE);
	states->hash += hashes[choice] - hashes[states->choice[i]];
	states->choice[i] = choice;
}

void crash_end(struct crash_states *states)
{
	for (size_t i = 0; i < states->nr; i++)
		crash_show(states, i, 0);
	free(states->choice);
	free(states->first);
	free(states->hashes);
	free(states->durable);
	*states = (struct crash_states){ 0 };
}

/* Gray code of mixed radix: from one state to the next, a single line changes. */
static int each_of_all(struct crash_states *states, int (*visit)(void *), void *context)
{
	signed char *step = malloc(states->nr + 1);
	int status;

	if (!step)
		return -ENOMEM;
	memset(step, 1, states->nr + 1);
	for (;;) {
		size_t i = 0;

		status = visit(context);
		for (; i < states->nr && status == 0; i++) {
			uint32_t most = states->walk->lines[i].nr_versions, now = states->choice[i];

			if (step[i] > 0 ? now < most : now > 0) {
				crash_show(states, i, now + step[i]);
				break;
			}
			step[i] = -step[i];
		}
		if (status || i == states->nr)
			break;
	}
	free(step);
	return status;
}

static void show_all(struct crash_states *states, int newest)
{
	for (size_t i = 0; i < states->nr; i++)
		crash_show(states, i, newest ? states->walk->lines[i].nr_versions : 0);
}

static uint64_t next_random(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/*
 * None and all of the lines, each alone, all but each, then random ones. Where the limit has no room for every
 * line, they are lines at even distances.
 */
static int each_of_some(struct crash_states *states, uint64_t limit, uint64_t seed, int (*visit)(void *), void *context)
{
	uint64_t room = limit > 2 ? (limit - 2) / 2 : 0, n = states->nr < room ? states->nr : room, done = 2 + 2 * n;
	int status;

	show_all(states, 0);
	status = visit(context);
	for (uint64_t k = 0; k < n && status == 0; k++) {
		size_t i = k * states->nr / n;

		crash_show(states, i, states->walk->lines[i].nr_versions);
		status = visit(context);
		crash_show(states, i, 0);
	}
	show_all(states, 1);
	if (status == 0 && limit > 1)
		status = visit(context);
	for (uint64_t k = 0; k < n && status == 0; k++) {
		size_t i = k * states->nr / n;

		crash_show(states, i, 0);
		status = visit(context);
		crash_show(states, i, states->walk->lines[i].nr_versions);
	}
	for (; done < limit && status == 0; done++) {
		for (size_t i = 0; i < states->nr; i++)
			crash_show(states, i, next_random(&seed) % (states->walk->lines[i].nr_versions + 1));
		status = visit(context);
	}
	return status;
}

int crash_each(struct crash_states *states, uint64_t limit, uint64_t seed, int (*visit)(void *), void *context)
{
	uint64_t nr = 1;
	int status;

	for (size_t i = 0; i < states->nr && nr <= limit; i++)
		if (__builtin_mul_overflow(nr, (uint64_t)states->walk->lines[i].nr_versions + 1, &nr))
			nr = UINT64_MAX;
	show_all(states, 0);
	status = nr <= limit ? each_of_all(states, visit, context) : each_of_some(states, limit, seed, visit, context);
	show_all(states, 0);
	return status;
}

static void put(uint64_t *table, size_t room, uint64_t hash)
{
	size_t at = hash & (room - 1);

	while (table[at])
		at = (at + 1) & (room - 1);
	table[at] = hash;
}

int crash_add(struct crash_seen *seen, uint64_t hash, uint64_t salt)
{
	size_t at;

	hash = crash_mix(hash + crash_mix(salt + 0x9e3779b97f4a7c15));
	if (hash == 0)
		hash = 1; /* 0 is an empty place */
	if (seen->nr >= seen->room / 2) {
		size_t room = seen->room ? seen->room * 2 : 1024;
		uint64_t *table = calloc(room, sizeof(*table));

		if (!table)
			return -ENOMEM;
		for (size_t i = 0; i < seen->room; i++)
			if (seen->table[i])
				put(table, room, seen->table[i]);
		free(seen->table);
		seen->table = table;
		seen->room = room;
	}
	for (at = hash & (seen->room - 1); seen->table[at]; at = (at + 1) & (seen->room - 1))
		if (seen->table[at] == hash)
			return 0;
	seen->table[at] = hash;
	seen->nr++;
	return 1;
}
