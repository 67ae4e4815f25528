/* SPDX-License-Identifier: MIT */
/* index_log: all events of a log are looked at once, so that nobody later meets one that is damaged. */
#include "core.h"

#include <errno.h>
#include <stdlib.h>

#include "grow.h"
#include "log_walk.h"

struct numbers {
	uint64_t *of;
	size_t nr, room;
};

static int add(struct numbers *numbers, uint64_t number)
{
	if (grow((void **)&numbers->of, numbers->nr, &numbers->room, sizeof(*numbers->of)) < 0) {
		PyErr_NoMemory();
		return -1;
	}
	numbers->of[numbers->nr++] = number;
	return 0;
}

static PyObject *as_bytes(const struct numbers *numbers)
{
	return PyBytes_FromStringAndSize((const char *)numbers->of, numbers->nr * sizeof(*numbers->of));
}

static int add_marker(PyObject *markers, const struct log_walk *walk)
{
	PyObject *text = PyUnicode_DecodeUTF8((const char *)walk->payload, walk->event.length, "replace"), *marker;
	int status;

	marker = text ? Py_BuildValue("KN", (unsigned long long)walk->seq, text) : NULL;
	status = marker ? PyList_Append(markers, marker) : -1;
	Py_XDECREF(marker);
	return status;
}

/* TORN: whoever wrote the log may have been killed within the last event, which is then none. */
static PyObject *index_of(struct log_walk walk, const unsigned char *begin, int torn)
{
	struct numbers fences = { 0 }, flushes = { 0 }, places = { 0 };
	PyObject *markers = PyList_New(0), *result = NULL;
	int status = markers ? 1 : -1;

	while (status > 0) {
		if (walk.seq % DX_LOG_STRIDE == 0 && add(&places, walk.at - begin) < 0)
			break;
		status = log_next(&walk);
		if (status <= 0)
			break;
		if (walk.event.type & DX_EVENT_FENCE)
			status = add(&fences, walk.seq) < 0 ? -1 : 1;
		else if (walk.event.type == DX_EVENT_FLUSH)
			status = add(&flushes, walk.seq) < 0 ? -1 : 1;
		else if (walk.event.type == DX_EVENT_MARKER)
			status = add_marker(markers, &walk) < 0 ? -1 : 1;
	}
	if (status == -ENODATA && torn) {
		walk.seq--;
		status = 0;
	}
	if (status == 0)
		result = Py_BuildValue("KnNNNO", (unsigned long long)walk.seq, (Py_ssize_t)(walk.at - begin), as_bytes(&fences),
				       as_bytes(&flushes), as_bytes(&places), markers);
	else if (status == -EINVAL || status == -ENODATA)
		PyErr_Format(PyExc_ValueError, "event %llu, at byte %zd, %s", (unsigned long long)walk.seq,
			     (Py_ssize_t)(walk.at - begin), walk.refusal);
	free(fences.of);
	free(flushes.of);
	free(places.of);
	Py_XDECREF(markers);
	return result;
}

PyObject *dx_index_log(PyObject *self, PyObject *args)
{
	unsigned long long size;
	PyObject *result = NULL;
	Py_buffer log;
	int torn;

	(void)self;
	if (!PyArg_ParseTuple(args, "y*Kp:index_log", &log, &size, &torn))
		return NULL;
	if ((size_t)log.len < sizeof(struct pmem_log_header)) {
		PyErr_SetString(PyExc_ValueError, "it has fewer bytes than a header");
	} else {
		const unsigned char *begin = log.buf;
		struct log_walk walk = { .at = begin + sizeof(struct pmem_log_header), .end = begin + log.len,
					 .device_size = size };

		result = index_of(walk, begin, torn);
	}
	PyBuffer_Release(&log);
	return result;
}
