/* SPDX-License-Identifier: MIT */
/* find_events: what a log shows without any check; the kinds of findings are pmem/findings.py's. */
#include "core.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "grow.h"
#include "log_walk.h"

enum kind { NEVER_FLUSHED, NOT_FENCED, STORED_IN_FLIGHT, NOTHING_CHANGED };

/* A line that was stored to: its newest store, and how many flushes are on their way. */
struct line {
	uint64_t offset, seq, site;
	uint32_t flights;
	int flushed;
	bool observed; /* that store was found by a look: its site is where that was */
};

/* A flush that is not fenced: of a line, with the store that it had then. */
struct flight {
	uint32_t line;
	uint64_t seq, site, store;
};

/* What has happened at one site: how often, and where first. */
struct note {
	enum kind kind;
	uint64_t site, count, offset, seq;
	bool observed;
};

struct array {
	void *of;
	size_t nr, room;
};

struct search {
	struct log_walk walk;
	uint32_t *slots; /* by line number: 1 + index in lines, 0 for none */
	struct array lines, notes;
	struct array *flights; /* by thread */
	uint32_t *places; /* of notes by kind and site, 1 + index; twice as many as there is room for notes */
};

/* One more element at the end; NULL: no memory. */
static void *add(struct array *array, size_t size)
{
	if (grow(&array->of, array->nr, &array->room, size) < 0)
		return NULL;
	return (char *)array->of + size * array->nr++;
}

static uint32_t *place_of(const struct search *search, enum kind kind, uint64_t site, bool observed)
{
	size_t mask = 2 * search->notes.room - 1, i = ((site ^ site >> 29) * 4 + kind) * 0x9e3779b97f4a7c15 >> 32;
	const struct note *notes = search->notes.of;

	for (i &= mask; search->places[i]; i = (i + 1) & mask) {
		const struct note *note = &notes[search->places[i] - 1];

		if (note->kind == kind && note->site == site && note->observed == observed)
			break;
	}
	return &search->places[i];
}

static int place_again(struct search *search)
{
	const struct note *notes = search->notes.of;

	free(search->places);
	search->places = calloc(2 * search->notes.room, sizeof(*search->places));
	if (!search->places)
		return -ENOMEM;
	for (size_t i = 0; i < search->notes.nr; i++)
		*place_of(search, notes[i].kind, notes[i].site, notes[i].observed) = i + 1;
	return 0;
}

static int note(struct search *search, enum kind kind, uint64_t site, uint64_t offset, uint64_t seq, bool observed)
{
	uint32_t *place = search->places ? place_of(search, kind, site, observed) : NULL;
	size_t room = search->notes.room;
	struct note *added;

	if (place && *place) {
		((struct note *)search->notes.of)[*place - 1].count++;
		return 0;
	}
	added = add(&search->notes, sizeof(*added));
	if (!added)
		return -ENOMEM;
	*added = (struct note){ kind, site, 1, offset, seq, observed };
	if (search->notes.room != room)
		return place_again(search);
	*place = search->notes.nr;
	return 0;
}

static int store(struct search *search)
{
	const struct pmem_event *event = &search->walk.event;
	uint32_t *slot = &search->slots[event->offset / DX_LINE_SIZE];
	bool observed = event->flags & DX_EVENT_OBSERVED;
	struct line *line;
	int status = 0;

	if (!*slot) {
		line = add(&search->lines, sizeof(*line));
		if (!line)
			return -ENOMEM;
		*line = (struct line){ .offset = event->offset };
		*slot = search->lines.nr;
	}
	line = (struct line *)search->lines.of + (*slot - 1);
	if (line->flights)
		status = note(search, STORED_IN_FLIGHT, event->site, event->offset, search->walk.seq, observed);
	line->seq = search->walk.seq;
	line->site = event->site;
	line->observed = observed;
	line->flushed = 0;
	return status;
}

/* 1: it takes a store with it. */
static int flush_line(struct search *search, uint32_t number)
{
	const struct pmem_event *event = &search->walk.event;
	struct line *line = (struct line *)search->lines.of + number;
	struct flight *flight;

	if (line->flushed)
		return 0;
	flight = add(&search->flights[event->thread], sizeof(*flight));
	if (!flight)
		return -ENOMEM;
	*flight = (struct flight){ number, search->walk.seq, event->site, line->seq };
	line->flushed = 1;
	line->flights++;
	return 1;
}

/* A range may be the whole device, of which few lines were stored to: the smaller of both is gone through. */
static int flush(struct search *search)
{
	const struct pmem_event *event = &search->walk.event;
	uint64_t first = event->offset / DX_LINE_SIZE, nr = 0;
	const struct line *lines = search->lines.of;
	int changed = 0, status = 0;

	if (event->length)
		nr = (event->offset + event->length - 1) / DX_LINE_SIZE - first + 1;
	if (nr > search->lines.nr) {
		for (size_t i = 0; i < search->lines.nr && status >= 0; i++, changed |= status > 0)
			status = lines[i].offset / DX_LINE_SIZE - first < nr ? flush_line(search, i) : 0;
	} else {
		for (uint64_t i = first; i < first + nr && status >= 0; i++, changed |= status > 0)
			status = search->slots[i] ? flush_line(search, search->slots[i] - 1) : 0;
	}
	if (changed || status < 0)
		return status < 0 ? status : 0;
	return note(search, NOTHING_CHANGED, event->site, first * DX_LINE_SIZE, search->walk.seq, false);
}

static void fence(struct search *search)
{
	struct array *flights = &search->flights[search->walk.event.thread];
	struct line *lines = search->lines.of;

	for (size_t i = 0; i < flights->nr; i++)
		lines[((struct flight *)flights->of)[i].line].flights--;
	flights->nr = 0;
}

static int note_end(struct search *search)
{
	const struct line *lines = search->lines.of;
	int status = 0;

	for (size_t i = 0; i < search->lines.nr && status == 0; i++)
		if (!lines[i].flushed)
			status = note(search, NEVER_FLUSHED, lines[i].site, lines[i].offset, lines[i].seq, lines[i].observed);
	for (size_t thread = 0; thread <= UINT16_MAX; thread++) {
		const struct flight *flights = search->flights[thread].of;

		for (size_t i = 0; i < search->flights[thread].nr && status == 0; i++) {
			const struct line *line = &lines[flights[i].line];

			if (line->seq == flights[i].store)
				status = note(search, NOT_FENCED, flights[i].site, line->offset, flights[i].seq, false);
		}
	}
	return status;
}

static int find(struct search *search)
{
	int status;

	search->slots = calloc(search->walk.device_size / DX_LINE_SIZE + 1, sizeof(*search->slots));
	search->flights = calloc(UINT16_MAX + 1, sizeof(*search->flights));
	if (!search->slots || !search->flights)
		return -ENOMEM;
	while ((status = log_next(&search->walk)) > 0) {
		if (search->walk.event.type == DX_EVENT_STORE)
			status = store(search);
		if (search->walk.event.type & DX_EVENT_FLUSH)
			status = flush(search);
		if (search->walk.event.type & DX_EVENT_FENCE)
			fence(search);
		if (status < 0)
			break;
	}
	return status < 0 ? status : note_end(search);
}

static PyObject *as_list(const struct search *search)
{
	PyObject *list = PyList_New(0);

	for (size_t i = 0; list && i < search->notes.nr; i++) {
		const struct note *note = (struct note *)search->notes.of + i;
		PyObject *found = Py_BuildValue("iKKKKN", note->kind, (unsigned long long)note->site,
						(unsigned long long)note->count, (unsigned long long)note->offset,
						(unsigned long long)note->seq, PyBool_FromLong(note->observed));

		if (!found || PyList_Append(list, found) < 0)
			Py_CLEAR(list);
		Py_XDECREF(found);
	}
	return list;
}

PyObject *dx_find_events(PyObject *self, PyObject *args)
{
	struct search search = { 0 };
	unsigned long long size;
	PyObject *result = NULL;
	Py_buffer log;
	int status;

	(void)self;
	if (!PyArg_ParseTuple(args, "y*K:find_events", &log, &size))
		return NULL;
	search.walk.at = log.buf;
	search.walk.end = search.walk.at + log.len;
	search.walk.device_size = size;
	Py_BEGIN_ALLOW_THREADS
	status = find(&search);
	Py_END_ALLOW_THREADS
	if (status == 0)
		result = as_list(&search);
	else if (status == -ENOMEM)
		PyErr_NoMemory();
	else
		PyErr_SetString(PyExc_ValueError, "the log of the recording has an event that is none");
	for (size_t thread = 0; search.flights && thread <= UINT16_MAX; thread++)
		free(search.flights[thread].of);
	free(search.flights);
	free(search.slots);
	free(search.lines.of);
	free(search.notes.of);
	free(search.places);
	PyBuffer_Release(&log);
	return result;
}
