/* SPDX-License-Identifier: MIT */
/* index_log: all events of a log are looked at once, so that nobody later meets one that is damaged. */
#include "core.h"

#include <stdlib.h>
#include <string.h>

#include "pmem_format.h"

struct walk {
	const unsigned char *begin, *at, *end;
	uint64_t device_size, seq;
	struct pmem_event event;
	const unsigned char *payload;
};

static int refuse(const struct walk *walk, const char *what)
{
	PyErr_Format(PyExc_ValueError, "%s at byte %zd", what, (Py_ssize_t)(walk->at - walk->begin));
	return -1;
}

static int refuse_event(const struct walk *walk, const char *what)
{
	PyErr_Format(PyExc_ValueError, "event %llu %s", (unsigned long long)walk->seq, what);
	return -1;
}

/* The next event; 0: there is none, -1: it is damaged. */
static int next(struct walk *walk)
{
	struct pmem_event *event = &walk->event;
	uint64_t left = walk->end - walk->at, size = sizeof(*event);

	if (!left)
		return 0;
	if (left < size)
		return refuse(walk, "it ends inside the event");
	memcpy(event, walk->at, sizeof(*event));
	walk->seq++;
	switch (event->type) {
	case DX_EVENT_STORE:
	case DX_EVENT_MARKER:
		size += (event->length + 7ULL) & ~7ULL;
		break;
	case DX_EVENT_FLUSH:
	case DX_EVENT_FENCE:
	case DX_EVENT_PERSIST:
		break;
	default:
		return refuse(walk, "an event of an unknown kind");
	}
	if (size > left)
		return refuse(walk, "it ends inside the event");
	if (event->type & (DX_EVENT_STORE | DX_EVENT_FLUSH) &&
	    (event->offset > walk->device_size || event->length > walk->device_size - event->offset))
		return refuse_event(walk, "is past the end of the device");
	if (event->type == DX_EVENT_STORE && (event->length != DX_LINE_SIZE || event->offset % DX_LINE_SIZE))
		return refuse_event(walk, "stores something else than one line");
	walk->payload = walk->at + sizeof(*event);
	walk->at += size;
	return 1;
}

struct numbers {
	uint64_t *of;
	size_t nr, room;
};

static int add(struct numbers *numbers, uint64_t number)
{
	if (numbers->nr == numbers->room) {
		size_t room = numbers->room ? numbers->room * 2 : 64;
		void *grown = realloc(numbers->of, room * sizeof(*numbers->of));

		if (!grown) {
			PyErr_NoMemory();
			return -1;
		}
		numbers->of = grown;
		numbers->room = room;
	}
	numbers->of[numbers->nr++] = number;
	return 0;
}

static PyObject *as_bytes(const struct numbers *numbers)
{
	return PyBytes_FromStringAndSize((const char *)numbers->of, numbers->nr * sizeof(*numbers->of));
}

static int add_marker(PyObject *markers, const struct walk *walk)
{
	PyObject *text = PyUnicode_DecodeUTF8((const char *)walk->payload, walk->event.length, "replace"), *marker;
	int status;

	marker = text ? Py_BuildValue("KN", (unsigned long long)walk->seq, text) : NULL;
	status = marker ? PyList_Append(markers, marker) : -1;
	Py_XDECREF(marker);
	return status;
}

static PyObject *index_of(struct walk walk)
{
	struct numbers fences = { 0 }, flushes = { 0 }, places = { 0 };
	PyObject *markers = PyList_New(0), *result = NULL;
	int status = markers ? 1 : -1;

	while (status > 0) {
		if (walk.seq % DX_LOG_STRIDE == 0 && add(&places, walk.at - walk.begin) < 0)
			break;
		status = next(&walk);
		if (status > 0 && walk.event.type & DX_EVENT_FENCE)
			status = add(&fences, walk.seq) < 0 ? -1 : 1;
		else if (status > 0 && walk.event.type == DX_EVENT_FLUSH)
			status = add(&flushes, walk.seq) < 0 ? -1 : 1;
		else if (status > 0 && walk.event.type == DX_EVENT_MARKER)
			status = add_marker(markers, &walk) < 0 ? -1 : 1;
	}
	if (status == 0)
		result = Py_BuildValue("KNNNO", (unsigned long long)walk.seq, as_bytes(&fences), as_bytes(&flushes), as_bytes(&places),
				       markers);
	free(fences.of);
	free(flushes.of);
	free(places.of);
	Py_XDECREF(markers);
	return result;
}

PyObject *dx_index_log(PyObject *self, PyObject *args)
{
	struct walk walk = { 0 };
	unsigned long long size;
	PyObject *result = NULL;
	Py_buffer log;

	(void)self;
	if (!PyArg_ParseTuple(args, "y*K:index_log", &log, &size))
		return NULL;
	walk.begin = log.buf;
	walk.at = walk.begin + sizeof(struct pmem_log_header);
	walk.end = walk.begin + log.len;
	walk.device_size = size;
	if ((size_t)log.len < sizeof(struct pmem_log_header))
		PyErr_SetString(PyExc_ValueError, "it has fewer bytes than a header");
	else
		result = index_of(walk);
	PyBuffer_Release(&log);
	return result;
}
