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
	if (!states->blind)
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
