/* SPDX-License-Identifier: MIT */
/* PmemLog: a recording's log, written from this interpreter. What of a device was flushed is handed over as bytes. */
#include "core.h"

#include <errno.h>

#include "pmem_log.h"

typedef struct {
	PyObject_HEAD
	struct dx_pmem_log log;
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
	if (self)
		self->log = log;
	else
		dx_pmem_detach(&log);
	return (PyObject *)self;
}

static void log_dealloc(PyObject *object)
{
	PyTypeObject *type = Py_TYPE(object);

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

static PyObject *log_flush(PyObject *object, PyObject *args)
{
	PmemLog *self = (PmemLog *)object;
	unsigned long long offset, length;
	unsigned short thread;

	if (!PyArg_ParseTuple(args, "KKH:flush", &offset, &length, &thread) || !in_device(self, offset, length))
		return NULL;
	dx_pmem_flush(&self->log, NULL, offset, length, (struct dx_pmem_actor){ .thread = thread });
	Py_RETURN_NONE;
}

static PyObject *log_persist(PyObject *object, PyObject *args)
{
	PmemLog *self = (PmemLog *)object;
	unsigned long long offset, length;
	unsigned short thread;

	if (!PyArg_ParseTuple(args, "KKH:persist", &offset, &length, &thread) || !in_device(self, offset, length))
		return NULL;
	dx_pmem_persist(&self->log, NULL, offset, length, (struct dx_pmem_actor){ .thread = thread });
	Py_RETURN_NONE;
}

static PyObject *log_observe(PyObject *object, PyObject *args)
{
	PmemLog *self = (PmemLog *)object;
	unsigned long long offset;
	unsigned short thread;
	Py_buffer data;
	int fits;

	if (!PyArg_ParseTuple(args, "Ky*H:observe", &offset, &data, &thread))
		return NULL;
	fits = in_device(self, offset, data.len);
	if (fits && (offset % DX_LINE_SIZE || data.len % DX_LINE_SIZE)) {
		PyErr_SetString(PyExc_ValueError, "a part of a line");
		fits = 0;
	}
	if (fits)
		dx_pmem_observe(&self->log, data.buf, offset, data.len, (struct dx_pmem_actor){ .thread = thread });
	PyBuffer_Release(&data);
	if (!fits)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *log_fence(PyObject *object, PyObject *args)
{
	unsigned short thread;

	if (!PyArg_ParseTuple(args, "H:fence", &thread))
		return NULL;
	dx_pmem_fence(&((PmemLog *)object)->log, (struct dx_pmem_actor){ .thread = thread });
	Py_RETURN_NONE;
}

static PyObject *log_marker(PyObject *object, PyObject *args)
{
	unsigned short thread;
	const char *text;
	Py_ssize_t length;

	if (!PyArg_ParseTuple(args, "s#H:marker", &text, &length, &thread))
		return NULL;
	if (length > UINT16_MAX)
		return dx_oserror(EMSGSIZE, "recording", "a marker");
	dx_pmem_marker(&((PmemLog *)object)->log, text, length, (struct dx_pmem_actor){ .thread = thread });
	Py_RETURN_NONE;
}

static PyObject *log_finish(PyObject *object, PyObject *args)
{
	int64_t count;
	int fd;

	if (!PyArg_ParseTuple(args, "i:finish", &fd))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	count = dx_pmem_finish(&((PmemLog *)object)->log, fd);
	Py_END_ALLOW_THREADS
	return count < 0 ? dx_oserror(-count, "write", "a log") : PyLong_FromLongLong(count);
}

static PyMethodDef methods[] = {
	{ "new_thread", log_new_thread, METH_NOARGS, "new_thread(): the number of a thread that is new to the log." },
	{ "flush", log_flush, METH_VARARGS, "flush(offset, length, thread): a range is flushed; its lines were observed." },
	{ "observe", log_observe, METH_VARARGS, "observe(offset, data, thread): whole lines hold data." },
	{ "fence", log_fence, METH_VARARGS, "fence(thread): what the thread flushed is durable." },
	{ "persist", log_persist, METH_VARARGS, "persist(offset, length, thread): flush() and fence(), as one event." },
	{ "marker", log_marker, METH_VARARGS, "marker(text, thread)." },
	{ "finish", log_finish, METH_VARARGS, "finish(fd): write what there is as a complete log; how many events." },
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
