/* SPDX-License-Identifier: MIT */
/* PmemLog: a recording's log, written from this interpreter. What of a device was flushed is handed over as bytes. */
#include "core.h"

#include <errno.h>
#include <unistd.h>

#include "pmem_scan.h"

typedef struct {
	PyObject_HEAD
	struct dx_pmem_log log;
	struct dx_pmem_collected collected;
	struct dx_pmem_scan scan; /* of this process */
	pid_t pid;
} PmemLog;

static PyObject *log_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	struct dx_pmem_log log;
	int state, events, status;
	PmemLog *self;

	(void)kwargs;
	if (!PyArg_ParseTuple(args, "ii:PmemLog", &state, &events))
		return NULL;
	status = dx_pmem_attach(&log, state, events);
	if (status < 0)
		return dx_oserror(-status, "mmap", "a recording");
	self = (PmemLog *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
	if (!self) {
		dx_pmem_detach(&log);
		return NULL;
	}
	self->log = log;
	self->collected.at = self->collected.written = sizeof(struct pmem_log_header);
	return (PyObject *)self;
}

static void log_dealloc(PyObject *object)
{
	PyTypeObject *type = Py_TYPE(object);

	dx_pmem_scan_forget(&((PmemLog *)object)->scan);
	dx_pmem_detach(&((PmemLog *)object)->log);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
	Py_DECREF(type);
}

static PyObject *log_new_thread(PyObject *object, PyObject *args)
{
	uint16_t thread;

	(void)args;
	return dx_pmem_new_thread(&((PmemLog *)object)->log, &thread) ? PyLong_FromLong(thread) :
									 dx_oserror(EAGAIN, "recording", "one more thread");
}

/* Does the device have this range? */
static int in_device(PmemLog *self, uint64_t offset, uint64_t length)
{
	uint64_t size = self->log.state->device_size;

	if (offset <= size && length <= size - offset)
		return 1;
	PyErr_SetString(PyExc_ValueError, "the range is not all in the device");
	return 0;
}

/* Who does it: the thread's number and, if it is known, the place in the program. */
#define ACTOR(actor) &(actor).thread, &(actor).site

typedef void range_fn(struct dx_pmem_log *, const char *, uint64_t, uint64_t, struct dx_pmem_actor);

static PyObject *tell_of_range(PyObject *object, PyObject *args, const char *format, range_fn *tell)
{
	PmemLog *self = (PmemLog *)object;
	unsigned long long offset, length;
	struct dx_pmem_actor actor = { 0 };

	if (!PyArg_ParseTuple(args, format, &offset, &length, ACTOR(actor)) || !in_device(self, offset, length))
		return NULL;
	tell(&self->log, NULL, offset, length, actor);
	Py_RETURN_NONE;
}

static PyObject *log_flush(PyObject *object, PyObject *args)
{
	return tell_of_range(object, args, "KKH|K:flush", dx_pmem_flush);
}

static PyObject *log_persist(PyObject *object, PyObject *args)
{
	return tell_of_range(object, args, "KKH|K:persist", dx_pmem_persist);
}

static PyObject *log_observe(PyObject *object, PyObject *args)
{
	PmemLog *self = (PmemLog *)object;
	unsigned long long offset;
	struct dx_pmem_actor actor = { 0 };
	Py_buffer data;
	int fits;

	if (!PyArg_ParseTuple(args, "Ky*H|K:observe", &offset, &data, ACTOR(actor)))
		return NULL;
	fits = in_device(self, offset, data.len);
	if (fits && (offset % DX_LINE_SIZE || data.len % DX_LINE_SIZE)) {
		PyErr_SetString(PyExc_ValueError, "a part of a line");
		fits = 0;
	}
	if (fits) {
		Py_BEGIN_ALLOW_THREADS
		dx_pmem_observe(&self->log, data.buf, offset, data.len, actor);
		Py_END_ALLOW_THREADS
	}
	PyBuffer_Release(&data);
	if (!fits)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *log_fence(PyObject *object, PyObject *args)
{
	struct dx_pmem_actor actor = { 0 };

	if (!PyArg_ParseTuple(args, "H|K:fence", ACTOR(actor)))
		return NULL;
	dx_pmem_fence(&((PmemLog *)object)->log, actor);
	Py_RETURN_NONE;
}

static PyObject *log_scan(PyObject *object, PyObject *args)
{
	PmemLog *self = (PmemLog *)object;
	struct dx_pmem_actor actor = { 0 };
	unsigned char type;
	int fd;

	if (!PyArg_ParseTuple(args, "ibH|K:scan", &fd, &type, ACTOR(actor)))
		return NULL;
	if (!dx_pmem_scan_due(&self->log, type))
		Py_RETURN_NONE;
	if (self->pid != getpid()) { /* a child that was forked, or the first time */
		dx_pmem_scan_forget(&self->scan);
		self->pid = getpid();
	}
	Py_BEGIN_ALLOW_THREADS
	dx_pmem_scan(&self->log, &self->scan, fd, __atomic_load_n(&dx_core_mappings, __ATOMIC_ACQUIRE), actor);
	Py_END_ALLOW_THREADS
	Py_RETURN_NONE;
}

static PyObject *log_compare(PyObject *object, PyObject *args)
{
	struct dx_pmem_actor actor = { 0 };
	int fd;

	if (!PyArg_ParseTuple(args, "iH:compare", &fd, &actor.thread))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	dx_pmem_compare(&((PmemLog *)object)->log, fd, actor);
	Py_END_ALLOW_THREADS
	Py_RETURN_NONE;
}

static PyObject *log_marker(PyObject *object, PyObject *args)
{
	struct dx_pmem_actor actor = { 0 };
	const char *text;
	Py_ssize_t length;

	if (!PyArg_ParseTuple(args, "s#H|K:marker", &text, &length, ACTOR(actor)))
		return NULL;
	if (length > DX_MARKER_MOST)
		return dx_oserror(EMSGSIZE, "recording", "a marker");
	dx_pmem_marker(&((PmemLog *)object)->log, text, length, actor);
	Py_RETURN_NONE;
}

static PyObject *log_stop(PyObject *object, PyObject *args)
{
	unsigned int why;

	if (!PyArg_ParseTuple(args, "I:stop", &why))
		return NULL;
	dx_pmem_stop(&((PmemLog *)object)->log, why);
	Py_RETURN_NONE;
}

static PyObject *log_stopped(PyObject *object, PyObject *args)
{
	(void)args;
	return PyLong_FromUnsignedLong(__atomic_load_n(&((PmemLog *)object)->log.state->stopped, __ATOMIC_RELAXED));
}

static PyObject *log_collect(PyObject *object, PyObject *args)
{
	PmemLog *self = (PmemLog *)object;
	int fd, last, status;

	if (!PyArg_ParseTuple(args, "ip:collect", &fd, &last))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	status = dx_pmem_collect(&self->log, &self->collected, fd, last);
	Py_END_ALLOW_THREADS
	return status < 0 ? dx_oserror(-status, "write", "a log") : Py_NewRef(Py_None);
}

static PyObject *log_collected(PyObject *object, PyObject *args)
{
	const struct dx_pmem_collected *collected = &((PmemLog *)object)->collected;

	(void)args;
	return Py_BuildValue("KK", (unsigned long long)collected->nr_events, (unsigned long long)collected->written);
}

static PyObject *log_held(PyObject *object, PyObject *args)
{
	PmemLog *self = (PmemLog *)object;

	(void)args;
	return PyLong_FromUnsignedLongLong(__atomic_load_n(&self->log.state->tail, __ATOMIC_RELAXED) - self->collected.at);
}

static PyMethodDef methods[] = {
	{ "new_thread", log_new_thread, METH_NOARGS, "new_thread(): the number of a thread that is new to the log." },
	{ "flush", log_flush, METH_VARARGS, "flush(offset, length, thread, site): a range is flushed; its lines were observed." },
	{ "observe", log_observe, METH_VARARGS, "observe(offset, data, thread, site): whole lines hold data." },
	{ "scan", log_scan, METH_VARARGS,
	  "scan(fd, type, thread, site): such an event is next; log what was stored and not flushed, if that is wanted." },
	{ "compare", log_compare, METH_VARARGS, "compare(fd, thread): log what is not as it is known; fd has the device's bytes." },
	{ "fence", log_fence, METH_VARARGS, "fence(thread, site): what the thread flushed is durable." },
	{ "persist", log_persist, METH_VARARGS, "persist(offset, length, thread, site): flush() and fence(), as one event." },
	{ "marker", log_marker, METH_VARARGS, "marker(text, thread, site)." },
	{ "stop", log_stop, METH_VARARGS, "stop(why): nobody writes any more." },
	{ "stopped", log_stopped, METH_NOARGS, "stopped(): why nobody writes any more; 0: they do." },
	{ "collect", log_collect, METH_VARARGS,
	  "collect(fd, last): go on to write the events to their file; the last time without those that nobody finishes." },
	{ "collected", log_collected, METH_NOARGS, "collected(): how many events are in the file, and where they end." },
	{ "held", log_held, METH_NOARGS, "held(): how many bytes are not." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_doc, "PmemLog(state_fd, events_fd): a recording's log." },
	{ Py_tp_new, log_new },
	{ Py_tp_dealloc, log_dealloc },
	{ Py_tp_methods, methods },
	{ 0, NULL },
};

PyType_Spec dx_pmem_log_spec = {
	.name = "daxemu._core.PmemLog",
	.basicsize = sizeof(PmemLog),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};

PyObject *dx_scan_lacks(PyObject *self, PyObject *args)
{
	const char *lacks;
	int fd;

	(void)self;
	if (!PyArg_ParseTuple(args, "i:scan_lacks", &fd))
		return NULL;
	lacks = dx_pmem_scan_lacks(fd);
	return lacks ? Py_BuildValue("si", lacks, errno) : Py_NewRef(Py_None);
}
