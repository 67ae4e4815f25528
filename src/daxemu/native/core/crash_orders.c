/* SPDX-License-Identifier: MIT */
/* Which of the states at a crash point are visited, and in which order. */
#include "crash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t crash_count(const struct crash_states *states)
{
	uint64_t nr = 1;

	for (size_t i = 0; i < states->nr; i++)
		if (__builtin_mul_overflow(nr, (uint64_t)states->walk->lines[i].nr_versions + 1, &nr))
			return UINT64_MAX;
	return nr;
}

static int visit(const struct crash_tour *tour)
{
	return tour->visit(tour->context);
}

static uint32_t newest(const struct crash_states *states, size_t i)
{
	return states->walk->lines[i].nr_versions;
}

static void show_all(struct crash_states *states, int new)
{
	for (size_t i = 0; i < states->nr; i++)
		crash_show(states, i, new ? newest(states, i) : 0);
}

static uint64_t next_random(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static void show_random(struct crash_states *states, uint64_t *seed)
{
	for (size_t i = 0; i < states->nr; i++)
		crash_show(states, i, next_random(seed) % (newest(states, i) + 1));
}

/* Gray code of mixed radix: from one state to the next, a single line changes. */
static int each_of_all(struct crash_states *states, const struct crash_tour *tour)
{
	signed char *step = malloc(states->nr + 1);
	int status;

	if (!step)
		return -ENOMEM;
	memset(step, 1, states->nr + 1);
	for (;;) {
		size_t i = 0;

		status = visit(tour);
		for (; i < states->nr && status == 0; i++) {
			uint32_t now = states->choice[i];

			if (step[i] > 0 ? now < newest(states, i) : now > 0) {
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

/*
 * None and all of the lines, each alone, all but each, then random ones. Where the limit has no room for every
 * line, they are lines at even distances.
 */
static int each_of_some(struct crash_states *states, const struct crash_tour *tour)
{
	uint64_t room = tour->limit > 2 ? (tour->limit - 2) / 2 : 0, n = states->nr < room ? states->nr : room;
	uint64_t done = 2 + 2 * n, seed = tour->seed;
	int status = visit(tour);

	for (uint64_t k = 0; k < n && status == 0; k++) {
		size_t i = k * states->nr / n;

		crash_show(states, i, newest(states, i));
		status = visit(tour);
		crash_show(states, i, 0);
	}
	show_all(states, 1);
	if (status == 0 && tour->limit > 1)
		status = visit(tour);
	for (uint64_t k = 0; k < n && status == 0; k++) {
		size_t i = k * states->nr / n;

		crash_show(states, i, 0);
		status = visit(tour);
		crash_show(states, i, newest(states, i));
	}
	for (; done < tour->limit && status == 0; done++) {
		show_random(states, &seed);
		status = visit(tour);
	}
	return status;
}

static int as_many_as_the_limit(struct crash_states *states, const struct crash_tour *tour)
{
	return crash_count(states) <= tour->limit ? each_of_all(states, tour) : each_of_some(states, tour);
}

/* A store that is not durable, of a line. */
struct pending {
	uint64_t seq;
	size_t line;
	uint32_t choice;
};

static int by_seq(const void *a, const void *b)
{
	const struct pending *one = a, *other = b;

	return (one->seq > other->seq) - (one->seq < other->seq);
}

/* All stores that are not durable, the oldest first; NULL without memory. */
static struct pending *in_order(const struct crash_states *states, size_t *nr)
{
	struct pending *stores;
	size_t n = 0;

	for (size_t i = 0; i < states->nr; i++)
		n += newest(states, i);
	stores = malloc((n + 1) * sizeof(*stores));
	*nr = n;
	if (!stores)
		return NULL;
	n = 0;
	for (size_t i = 0; i < states->nr; i++)
		for (uint32_t v = 0; v < newest(states, i); v++)
			stores[n++] = (struct pending){ states->walk->lines[i].versions[v].seq, i, v + 1 };
	qsort(stores, n, sizeof(*stores), by_seq);
	return stores;
}

/* One store more each time. None is overtaken by an older one of its line: of each line only the newest shows. */
static int one_by_one(struct crash_states *states, const struct crash_tour *tour, int newest_first)
{
	size_t nr;
	struct pending *stores = in_order(states, &nr);
	int status;

	if (!stores)
		return -ENOMEM;
	status = visit(tour);
	for (size_t k = 0; k < nr && status == 0; k++) {
		const struct pending *next = &stores[newest_first ? nr - 1 - k : k];

		if (states->choice[next->line] > next->choice)
			continue;
		crash_show(states, next->line, next->choice);
		status = visit(tour);
	}
	free(stores);
	return status;
}

static int oldest_first(struct crash_states *states, const struct crash_tour *tour)
{
	return one_by_one(states, tour, 0);
}

static int newest_first(struct crash_states *states, const struct crash_tour *tour)
{
	return one_by_one(states, tour, 1);
}

#define DRAWN 3

/* As many random ones, each another than those before. */
static int a_few(struct crash_states *states, const struct crash_tour *tour)
{
	uint64_t seed = tour->seed;
	size_t size = states->nr * sizeof(*states->choice);
	uint32_t *drawn;
	int status = 0;

	if (crash_count(states) <= DRAWN)
		return each_of_all(states, tour);
	drawn = malloc(DRAWN * size);
	if (!drawn)
		return -ENOMEM;
	for (size_t k = 0; k < DRAWN && status == 0; k++) {
		size_t other;

		do {
			show_random(states, &seed);
			for (other = 0; other < k && memcmp(&drawn[other * states->nr], states->choice, size); other++)
				;
		} while (other < k);
		memcpy(&drawn[k * states->nr], states->choice, size);
		status = visit(tour);
	}
	free(drawn);
	return status;
}

static int all_stores(struct crash_states *states, const struct crash_tour *tour)
{
	show_all(states, 1);
	return visit(tour);
}

static int none(struct crash_states *states, const struct crash_tour *tour)
{
	(void)states;
	(void)tour;
	return 0;
}

static const struct crash_order orders[] = {
	{ "auto", as_many_as_the_limit },
	{ "full", each_of_all },
	{ "partial", a_few },
	{ "accumulative", oldest_first },
	{ "reverse-accumulative", newest_first },
	{ "no-reorder", all_stores },
	{ "no-check", none },
};

const struct crash_order *crash_order(const char *name)
{
	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++)
		if (strcmp(orders[i].name, name) == 0)
			return &orders[i];
	return NULL;
}

int crash_each(struct crash_states *states, const struct crash_order *order, const struct crash_tour *tour, int blind)
{
	int status;

	show_all(states, 0);
	states->blind = blind;
	status = order->each(states, tour);
	show_all(states, 0);
	states->blind = 0;
	return status;
}
