/* SPDX-License-Identifier: MIT */
/*
 * Mapping: a device mapped into this interpreter. The buffer protocol gives the memory itself; read
 * and write let the kernel copy, so that a revoked range is an answer and not a signal.
 */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vma.h"

typedef struct {
	PyObject_HEAD
	char *address;
	Py_ssize_t length;
	Py_ssize_t exports;
	int writable;
} Mapping;

uint32_t dx_core_mappings;

/* Note on the exception that is on its way where the mapping was to be: (start, end). Always NULL. */
static PyObject *refused(const struct refusal *why)
{
	PyObject *type, *value, *trace, *where;

	PyErr_Fetch(&type, &value, &trace);
	where = Py_BuildValue("KK", (unsigned long long)why->start, (unsigned long long)why->end);
	if (where && PyObject_SetAttrString(value, "refused", where) < 0)
		PyErr_Clear();
	Py_XDECREF(where);
	PyErr_Restore(type, value, trace);
	return NULL;
}

static PyObject *mapping_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	int fd, prot, alive;
	unsigned long long align;
	long long offset;
	Py_ssize_t length;
	struct refusal why = { 0 };
	struct dx_map map;
	long address;
	Mapping *self;

	(void)kwargs;
	if (!PyArg_ParseTuple(args, "inLipK:Mapping", &fd, &length, &offset, &prot, &alive, &align))
		return NULL;
	if (length < 0 || offset < 0 || align == 0)
		return dx_oserror(EINVAL, "mmap", "a dax device");
	map = (struct dx_map){ .length = length, .prot = prot, .flags = MAP_SHARED, .offset = offset, .fd = fd,
			       .mode = prot & PROT_WRITE ? O_RDWR : O_RDONLY, .alive = alive, .align = align, .why = &why };
	address = dx_map(&map);
	if (address < 0) {
		dx_oserror(-address, "mmap", "a dax device");
		return why.reason ? refused(&why) : NULL;
	}
	self = (Mapping *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
	if (!self) {
		munmap((void *)address, length);
		return NULL;
	}
	self->address = (char *)address;
	self->length = length;
	self->writable = prot & PROT_WRITE;
	__atomic_fetch_add(&dx_core_mappings, 1, __ATOMIC_RELEASE);
	return (PyObject *)self;
}

static void unmap(Mapping *self)
{
	if (self->address)
		munmap(self->address, self->length);
	__atomic_fetch_add(&dx_core_mappings, 1, __ATOMIC_RELEASE);
	self->address = NULL;
	self->length = 0;
}

static void mapping_dealloc(PyObject *object)
{
	PyTypeObject *type = Py_TYPE(object);

	unmap((Mapping *)object);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
	Py_DECREF(type);
}

static PyObject *mapping_unmap(PyObject *object, PyObject *args)
{
	Mapping *self = (Mapping *)object;

	(void)args;
	if (self->exports) {
		PyErr_Format(PyExc_BufferError, "%zd views of the mapping are still in use", self->exports);
		return NULL;
	}
	unmap(self);
	Py_RETURN_NONE;
}

static int mapping_getbuffer(PyObject *object, Py_buffer *view, int flags)
{
	Mapping *self = (Mapping *)object;

	if (!self->address) {
		PyErr_SetString(PyExc_ValueError, "the mapping is closed");
		return -1;
	}
	if (PyBuffer_FillInfo(view, object, self->address, self->length, !self->writable, flags) < 0)
		return -1;
	self->exports++;
	return 0;
}

static void mapping_releasebuffer(PyObject *object, Py_buffer *view)
{
	(void)view;
	((Mapping *)object)->exports--;
}

/* Where process_vm_readv is forbidden (old container filters), /proc/self/mem does the same. */
static ssize_t copy_by_mem(void *local, char *remote, size_t length, int write)
{
	int fd = open("/proc/self/mem", (write ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write ? pwrite(fd, local, length, (off_t)remote) : pread(fd, local, length, (off_t)remote);
	if (n < 0 && errno == EIO)
		n = 0;
	close(fd);
	return n;
}

/* Copy as far as memory can be reached; how far, or -1 with errno. */
static ssize_t copy(void *local, char *remote, size_t length, int write)
{
	size_t done = 0;

	while (done < length) {
		struct iovec here = { (char *)local + done, length - done };
		struct iovec there = { remote + done, length - done };
		ssize_t n = write ? process_vm_writev(getpid(), &here, 1, &there, 1, 0) :
				    process_vm_readv(getpid(), &here, 1, &there, 1, 0);

		if (n < 0 && (errno == EPERM || errno == ENOSYS))
			n = copy_by_mem(here.iov_base, there.iov_base, here.iov_len, write);
		if (n < 0 && errno != EFAULT)
			return -1;
		if (n <= 0)
			break;
		done += n;
	}
	return done;
}

static int in_bounds(Mapping *self, Py_ssize_t offset, Py_ssize_t length)
{
	if (!self->address) {
		PyErr_SetString(PyExc_ValueError, "the mapping is closed");
		return 0;
	}
	if (offset < 0 || length < 0 || offset > self->length || length > self->length - offset) {
		PyErr_Format(PyExc_IndexError, "%zd bytes at %zd are outside the mapping of %zd bytes", length, offset,
			     self->length);
		return 0;
	}
	return 1;
}

static PyObject *mapping_read(PyObject *object, PyObject *args)
{
	Mapping *self = (Mapping *)object;
	Py_ssize_t offset, length, done;
	PyObject *bytes;
	char *to, *from;

	if (!PyArg_ParseTuple(args, "nn:_read", &offset, &length) || !in_bounds(self, offset, length))
		return NULL;
	bytes = PyBytes_FromStringAndSize(NULL, length);
	if (!bytes)
		return NULL;
	to = PyBytes_AsString(bytes);
	from = self->address + offset;
	self->exports++;
	Py_BEGIN_ALLOW_THREADS
	done = copy(to, from, length, 0);
	Py_END_ALLOW_THREADS
	self->exports--;
	if (done == length)
		return bytes;
	Py_DECREF(bytes);
	return done < 0 ? dx_oserror(errno, "process_vm_readv", "a dax mapping") : PyLong_FromSsize_t(offset + done);
}

static PyObject *mapping_write(PyObject *object, PyObject *args)
{
	Mapping *self = (Mapping *)object;
	Py_ssize_t offset, done = -2, length = 0;
	Py_buffer data;
	char *to;

	if (!PyArg_ParseTuple(args, "ny*:_write", &offset, &data))
		return NULL;
	if (in_bounds(self, offset, data.len)) {
		length = data.len;
		to = self->address + offset;
		self->exports++;
		Py_BEGIN_ALLOW_THREADS
		done = copy(data.buf, to, length, 1);
		Py_END_ALLOW_THREADS
		self->exports--;
	}
	PyBuffer_Release(&data);
	if (done == -2)
		return NULL;
	if (done < 0)
		return dx_oserror(errno, "process_vm_writev", "a dax mapping");
	if (done < length)
		return PyLong_FromSsize_t(offset + done);
	Py_RETURN_NONE;
}

static Py_ssize_t mapping_length(PyObject *object)
{
	return ((Mapping *)object)->length;
}

static PyObject *mapping_address(PyObject *object, void *closure)
{
	(void)closure;
	return PyLong_FromVoidPtr(((Mapping *)object)->address);
}

static PyMethodDef methods[] = {
	{ "_read", mapping_read, METH_VARARGS, "_read(offset, length): bytes, or as an int where it stopped." },
	{ "_write", mapping_write, METH_VARARGS, "_write(offset, data): None, or as an int where it stopped." },
	{ "_unmap", mapping_unmap, METH_NOARGS, "_unmap(): take the mapping away; BufferError while it is viewed." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef getset[] = {
	{ "address", mapping_address, NULL, "Where the mapping is in this process; 0 when closed.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot slots[] = {
	{ Py_tp_doc, "Mapping(fd, length, offset, prot, alive, align): a dax device mapped into this process." },
	{ Py_tp_new, mapping_new },
	{ Py_tp_dealloc, mapping_dealloc },
	{ Py_tp_methods, methods },
	{ Py_tp_getset, getset },
	{ Py_bf_getbuffer, mapping_getbuffer },
	{ Py_bf_releasebuffer, mapping_releasebuffer },
	{ Py_sq_length, mapping_length },
	{ 0, NULL },
};

PyType_Spec dx_mapping_spec = {
	.name = "daxemu._core.Mapping",
	.basicsize = sizeof(Mapping),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = slots,
};
