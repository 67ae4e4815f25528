/* SPDX-License-Identifier: MIT */
/* CrashStates: what a power failure may have left of a device, as images for Python to check. */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

typedef struct {
	PyObject_HEAD
	Py_buffer image, log;
	struct crash_walk walk;
	struct crash_states states;
	struct crash_seen seen;
	int busy, stopped;
} CrashStates;

/* One call of explore(). */
struct visit {
	CrashStates *self;
	PyObject *check, *failures; /* no check: None */
	unsigned long long salt; /* what the check is told besides: the same bytes are another state then */
	unsigned long long tried, fresh, failed;
	Py_ssize_t keep;
};

static PyObject *failed_walk(int error)
{
	if (error == -ENOMEM)
		return PyErr_NoMemory();
	PyErr_SetString(PyExc_ValueError, "the log of the recording has an event that is none");
	return NULL;
}

static PyObject *crash_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	CrashStates *self = (CrashStates *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);

	(void)kwargs;
	if (!self)
		return NULL;
	if (!PyArg_ParseTuple(args, "w*y*p:CrashStates", &self->image, &self->log, &self->walk.durable_at_once)) {
		Py_DECREF(self);
		return NULL;
	}
	self->walk.image = self->image.buf;
	self->walk.size = self->image.len;
	self->walk.log.device_size = self->image.len;
	self->walk.log.at = self->log.buf;
	self->walk.log.end = self->walk.log.at + self->log.len;
	if (crash_open(&self->walk) < 0 || crash_begin(&self->states, &self->walk) < 0) {
		Py_DECREF(self);
		return PyErr_NoMemory();
	}
	return (PyObject *)self;
}

static void crash_dealloc(PyObject *object)
{
	CrashStates *self = (CrashStates *)object;
	PyTypeObject *type = Py_TYPE(object);

	crash_end(&self->states);
	crash_close(&self->walk);
	free(self->seen.table);
	if (self->image.obj)
		PyBuffer_Release(&self->image);
	if (self->log.obj)
		PyBuffer_Release(&self->log);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
	Py_DECREF(type);
}

/* A check that calls back would change the image under itself. */
static int is_busy(CrashStates *self)
{
	if (self->busy)
		PyErr_SetString(PyExc_RuntimeError, "states are being explored");
	return self->busy;
}

static PyObject *crash_advance_to(PyObject *object, PyObject *args)
{
	CrashStates *self = (CrashStates *)object;
	unsigned long long seq;
	int status;

	if (is_busy(self) || !PyArg_ParseTuple(args, "K:advance", &seq))
		return NULL;
	crash_end(&self->states);
	status = crash_advance(&self->walk, seq);
	if (crash_begin(&self->states, &self->walk) < 0)
		return PyErr_NoMemory();
	if (status < 0)
		return failed_walk(status);
	Py_RETURN_NONE;
}

static PyObject *crash_pending(PyObject *object, PyObject *args)
{
	const struct crash_walk *walk = &((CrashStates *)object)->walk;
	PyObject *lines = PyList_New(0);

	(void)args;
	for (size_t i = 0; lines && i < walk->nr_lines; i++) {
		const struct crash_line *line = &walk->lines[i];
		PyObject *versions = PyTuple_New(line->nr_versions), *pair;

		for (uint32_t v = 0; versions && v < line->nr_versions; v++) {
			PyObject *version = Py_BuildValue("KKN", (unsigned long long)line->versions[v].seq,
							  (unsigned long long)line->versions[v].site,
							  PyBool_FromLong(line->versions[v].observed));

			if (!version || PyTuple_SetItem(versions, v, version) < 0)
				Py_CLEAR(versions);
		}
		pair = versions ? Py_BuildValue("KN", (unsigned long long)line->offset, versions) : NULL;
		if (!pair || PyList_Append(lines, pair) < 0)
			Py_CLEAR(lines);
		Py_XDECREF(pair);
	}
	return lines;
}

static PyObject *crash_choose(PyObject *object, PyObject *args)
{
	CrashStates *self = (CrashStates *)object;
	PyObject *choice;
	unsigned long value;

	if (is_busy(self) || !PyArg_ParseTuple(args, "O!:choose", &PyTuple_Type, &choice))
		return NULL;
	if ((size_t)PyTuple_Size(choice) != self->states.nr)
		return PyErr_Format(PyExc_ValueError, "%zd choices for %zu lines", PyTuple_Size(choice), self->states.nr);
	for (size_t i = 0; i < self->states.nr; i++) {
		value = PyLong_AsUnsignedLong(PyTuple_GetItem(choice, i));
		if (PyErr_Occurred())
			return NULL;
		if (value > self->walk.lines[i].nr_versions)
			return PyErr_Format(PyExc_ValueError, "line %zu has no version %lu", i, value);
		crash_show(&self->states, i, value);
	}
	Py_RETURN_NONE;
}

static PyObject *shown(const struct crash_states *states)
{
	PyObject *choice = PyTuple_New(states->nr);

	for (size_t i = 0; choice && i < states->nr; i++) {
		PyObject *number = PyLong_FromUnsignedLong(states->choice[i]);

		if (!number || PyTuple_SetItem(choice, i, number) < 0)
			Py_CLEAR(choice);
	}
	return choice;
}

/* Takes what the check has raised, if it has. */
static int keep_failure(struct visit *visit)
{
	PyObject *type = NULL, *value = NULL, *trace = NULL, *choice, *failure = NULL;
	int status = -EINTR;

	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	if (value && trace)
		PyException_SetTraceback(value, trace);
	choice = shown(&visit->self->states);
	if (choice)
		failure = Py_BuildValue("NO", choice, value ? value : Py_None);
	if (failure && PyList_Append(visit->failures, failure) == 0)
		status = 0;
	Py_XDECREF(failure);
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(trace);
	return status;
}

#define LOOK_UP 4096 /* states without a check, from which time to time others get their turn */

/* What checks do by themselves: let other threads and signals be heard. */
static int look_up(CrashStates *self)
{
	Py_BEGIN_ALLOW_THREADS
	Py_END_ALLOW_THREADS
	if (self->stopped)
		PyErr_SetNone(PyExc_KeyboardInterrupt);
	return self->stopped || PyErr_CheckSignals() < 0 ? -EINTR : 0;
}

/* -EINTR: an exception is on its way. */
static int visit_state(void *context)
{
	struct visit *visit = context;
	CrashStates *self = visit->self;
	PyObject *result;
	int fresh, failed;

	visit->tried++;
	fresh = crash_add(&self->seen, self->states.hash, visit->salt);
	if (fresh < 0)
		return fresh;
	if (!fresh || visit->check == Py_None)
		return visit->tried % LOOK_UP ? 0 : look_up(self);
	visit->fresh++;
	result = PyObject_CallNoArgs(visit->check);
	failed = !result || result == Py_False;
	Py_XDECREF(result);
	if (self->stopped) {
		PyErr_SetNone(PyExc_KeyboardInterrupt);
		return -EINTR;
	}
	if (!result && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
		return -EINTR;
	if (!failed)
		return 0;
	visit->failed++;
	if (PyList_Size(visit->failures) < visit->keep)
		return keep_failure(visit);
	PyErr_Clear();
	return 0;
}

static PyObject *crash_explore(PyObject *object, PyObject *args)
{
	CrashStates *self = (CrashStates *)object;
	struct visit visit = { .self = self };
	struct crash_tour tour = { .visit = visit_state, .context = &visit };
	const struct crash_order *order;
	unsigned long long limit, seed;
	const char *name;
	int status;

	if (is_busy(self) ||
	    !PyArg_ParseTuple(args, "OsKKnK:explore", &visit.check, &name, &limit, &seed, &visit.keep, &visit.salt))
		return NULL;
	order = crash_order(name);
	if (!order)
		return PyErr_Format(PyExc_ValueError, "no order %s", name);
	visit.failures = PyList_New(0);
	if (!visit.failures)
		return NULL;
	tour.limit = limit;
	tour.seed = seed;
	self->busy = 1;
	status = self->stopped ? look_up(self) : crash_each(&self->states, order, &tour, visit.check == Py_None);
	self->busy = 0;
	if (status == 0)
		return Py_BuildValue("KKKN", visit.tried, visit.fresh, visit.failed, visit.failures);
	Py_DECREF(visit.failures);
	return status == -EINTR ? NULL : PyErr_NoMemory();
}

static PyObject *crash_count_states(PyObject *object, PyObject *args)
{
	(void)args;
	return PyLong_FromUnsignedLongLong(crash_count(&((CrashStates *)object)->states));
}

static PyObject *crash_stop(PyObject *object, PyObject *args)
{
	(void)args;
	((CrashStates *)object)->stopped = 1;
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{ "advance", crash_advance_to, METH_VARARGS, "advance(seq): apply all events before this one." },
	{ "pending", crash_pending, METH_NOARGS, "pending(): [(offset, ((seq, site, observed), …)), …] of the lines not durable." },
	{ "choose", crash_choose, METH_VARARGS, "choose(choice): show a state; for each line 0, durable, or a version." },
	{ "count", crash_count_states, METH_NOARGS, "count(): how many states there are here, at most 2**64 - 1." },
	{ "explore", crash_explore, METH_VARARGS,
	  "explore(check, order, limit, seed, keep, salt): call check() for each state that was not there with this salt; "
	  "(tried, new, failed, [(choice, exception or None), …]) with up to keep failures. A check of None only notes that "
	  "the states were there." },
	{ "stop", crash_stop, METH_NOARGS, "stop(): a KeyboardInterrupt for the thread that explores, now and from here on." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_doc, "CrashStates(image, events, durable_at_once): the images that a power failure may leave." },
	{ Py_tp_new, crash_new },
	{ Py_tp_dealloc, crash_dealloc },
	{ Py_tp_methods, methods },
	{ 0, NULL },
};

PyType_Spec dx_crash_states_spec = {
	.name = "daxemu._core.CrashStates",
	.basicsize = sizeof(CrashStates),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};
