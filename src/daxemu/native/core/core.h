/* SPDX-License-Identifier: MIT */
#ifndef DX_CORE_H
#define DX_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Raise OSError naming the call that failed and what it was about. Always NULL. */
PyObject *dx_oserror(int error, const char *call, const char *about);

extern PyType_Spec dx_crash_states_spec;
extern PyType_Spec dx_mapping_spec;
extern PyType_Spec dx_pmem_log_spec;

/* Another number whenever mappings of devices in this interpreter may have changed. */
extern uint32_t dx_core_mappings;

PyObject *dx_elf_facts(PyObject *self, PyObject *argument);
PyObject *dx_find_events(PyObject *self, PyObject *args);
PyObject *dx_index_log(PyObject *self, PyObject *args);
PyObject *dx_huge_tmpfs(PyObject *self, PyObject *args);
PyObject *dx_copy_changes(PyObject *self, PyObject *args);
PyObject *dx_scan_lacks(PyObject *self, PyObject *args);

#endif
