/* SPDX-License-Identifier: MIT */
/* daxemu._core: the functions and types that Python needs from C. */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "table.h"
#include "vma.h"

PyObject *dx_oserror(int error, const char *call, const char *about)
{
	PyObject *text = PyUnicode_FromFormat("%s of %s: %s", call, about, strerror(error));
	PyObject *exception = text ? PyObject_CallFunction(PyExc_OSError, "iO", error, text) : NULL;

	Py_XDECREF(text);
	if (exception) {
		PyErr_SetObject(PyExc_OSError, exception);
		Py_DECREF(exception);
	}
	return NULL;
}

static PyObject *core_check_vma(PyObject *self, PyObject *args)
{
	int alive, shared;
	unsigned long long start, end, align;

	(void)self;
	if (!PyArg_ParseTuple(args, "ppKKK:check_vma", &alive, &shared, &start, &end, &align))
		return NULL;
	return PyLong_FromLong(dx_check_vma(alive, shared, start, end, align));
}

static PyObject *core_sync_mappings(PyObject *self, PyObject *args)
{
	int alive, status;
	unsigned long long dev, ino;

	(void)self;
	if (!PyArg_ParseTuple(args, "KKp:sync_mappings", &dev, &ino, &alive))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	status = dx_sync_mappings(dev, ino, alive, NULL, -1);
	Py_END_ALLOW_THREADS
	__atomic_fetch_add(&dx_core_mappings, 1, __ATOMIC_RELEASE);
	if (status < 0)
		return dx_oserror(-status, "remap_file_pages", "a dax mapping");
	return PyLong_FromLong(status);
}

static PyObject *core_move_mappings(PyObject *self, PyObject *args)
{
	struct dx_part part = { .to = UINTPTR_MAX };
	int holds, status;
	unsigned long long dev, ino, first, end, reason;

	(void)self;
	if (!PyArg_ParseTuple(args, "KKKKKp:move_mappings", &dev, &ino, &first, &end, &reason, &holds))
		return NULL;
	part.dev = dev, part.ino = ino, part.first = first, part.end = end;
	Py_BEGIN_ALLOW_THREADS
	status = dx_move_mappings(&part, reason, holds, NULL, -1);
	Py_END_ALLOW_THREADS
	__atomic_fetch_add(&dx_core_mappings, 1, __ATOMIC_RELEASE);
	if (status < 0)
		return dx_oserror(-status, "remap_file_pages", "a dax mapping");
	return PyLong_FromLong(status);
}

static PyObject *core_table_write(PyObject *self, PyObject *args)
{
	Py_buffer table, bytes;
	unsigned long long offset;
	PyObject *result = NULL;

	(void)self;
	if (!PyArg_ParseTuple(args, "w*Ky*:table_write", &table, &offset, &bytes))
		return NULL;
	if (offset > (unsigned long long)table.len || (unsigned long long)(table.len - offset) < (unsigned long long)bytes.len) {
		PyErr_SetString(PyExc_ValueError, "table_write: past the end of the table");
	} else {
		dx_table_write(table.buf, offset, bytes.buf, bytes.len);
		result = Py_NewRef(Py_None);
	}
	PyBuffer_Release(&table);
	PyBuffer_Release(&bytes);
	return result;
}

static PyObject *core_die_with_parent(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return dx_oserror(errno, "prctl", "PR_SET_PDEATHSIG");
	Py_RETURN_NONE;
}

static PyObject *core_punch_hole(PyObject *self, PyObject *args)
{
	long long offset, length;
	int fd, status;

	(void)self;
	if (!PyArg_ParseTuple(args, "iLL:punch_hole", &fd, &offset, &length))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	status = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
	Py_END_ALLOW_THREADS
	if (status < 0)
		return dx_oserror(errno, "fallocate", "a backing file");
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{ "check_vma", core_check_vma, METH_VARARGS,
	  "check_vma(alive, shared, start, end, align): 0, or -errno as the kernel refuses the mapping." },
	{ "sync_mappings", core_sync_mappings, METH_VARARGS,
	  "sync_mappings(dev, ino, alive): revoke or restore this process's mappings of a file; how many." },
	{ "move_mappings", core_move_mappings, METH_VARARGS,
	  "move_mappings(dev, ino, first, end, reason, holds): make touches of these bytes SIGBUS; how many." },
	{ "table_write", core_table_write, METH_VARARGS,
	  "table_write(table, offset, bytes): change the shared table as seen by all readers at once." },
	{ "die_with_parent", core_die_with_parent, METH_NOARGS,
	  "die_with_parent(): this process gets SIGKILL when the thread that forked it ends." },
	{ "punch_hole", core_punch_hole, METH_VARARGS,
	  "punch_hole(fd, offset, length): give the memory of a part of a file back; it reads as zeros." },
	{ "elf_facts", dx_elf_facts, METH_O,
	  "elf_facts(path): (e_machine, interpreter or None) of a program, or None for what is no ELF file." },
	{ "copy_changes", dx_copy_changes, METH_VARARGS,
	  "copy_changes(source, target, length): make a file equal to another; how many bytes were not." },
	{ "huge_tmpfs", dx_huge_tmpfs, METH_NOARGS,
	  "huge_tmpfs(): a descriptor of a tmpfs with huge pages that is mounted nowhere." },
	{ "scan_lacks", dx_scan_lacks, METH_VARARGS,
	  "scan_lacks(fd): what the kernel cannot do that would tell of stores to a file, and errno; None: it tells." },
	{ "find_events", dx_find_events, METH_VARARGS,
	  "find_events(events, device_size): [(kind, site, count, offset, seq), …] of what a log shows without any check." },
	{ "index_log", dx_index_log, METH_VARARGS,
	  "index_log(log, device_size, torn): of a log's events how many there are, and where they end; those that fence, and "
	  "flushes; where each of some lies; and [(seq, text), …] of the markers. torn: if the last is cut off, it is none." },
	{ NULL, NULL, 0, NULL },
};

static int add_type(PyObject *module, PyType_Spec *spec)
{
	PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
	int status = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;

	Py_XDECREF(type);
	return status;
}

static int exec_module(PyObject *module)
{
	PyType_Spec *specs[] = { &dx_mapping_spec, &dx_crash_states_spec, &dx_pmem_log_spec };
	int status = 0;

	for (size_t i = 0; i < sizeof(specs) / sizeof(*specs) && status == 0; i++)
		status = add_type(module, specs[i]);
	return status;
}

static PyModuleDef_Slot slots[] = {
	{ Py_mod_exec, exec_module },
	{ 0, NULL },
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT, .m_name = "daxemu._core", .m_doc = "The C core of daxemu.", .m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void)
{
	return PyModuleDef_Init(&module);
}
