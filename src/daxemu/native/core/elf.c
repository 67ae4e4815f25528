/* SPDX-License-Identifier: MIT */
/* What decides whether a program can be reached: asked at every start, so it has to be quick. */
#define _GNU_SOURCE
#include "core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define NATIVE_CLASS (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)

/* The interpreter's path from the program headers: its length, 0 without one, -1 if the file is damaged. */
static ssize_t interpreter(int fd, const Elf64_Ehdr *header, char path[PATH_MAX])
{
	for (int i = 0; i < header->e_phnum; i++) {
		Elf64_Phdr part;
		ssize_t n;

		if (pread(fd, &part, sizeof(part), header->e_phoff + (off_t)i * header->e_phentsize) != sizeof(part))
			return -1;
		if (part.p_type != PT_INTERP)
			continue;
		n = pread(fd, path, part.p_filesz < PATH_MAX ? part.p_filesz : PATH_MAX - 1, part.p_offset);
		if (n <= 0)
			return -1;
		path[n] = 0;
		return strlen(path);
	}
	return 0;
}

PyObject *dx_elf_facts(PyObject *self, PyObject *argument)
{
	Elf64_Ehdr header = { 0 };
	char path[PATH_MAX];
	PyObject *name, *result = NULL;
	ssize_t got, n = 0;
	int fd;

	(void)self;
	if (!PyUnicode_FSConverter(argument, &name))
		return NULL;
	fd = open(PyBytes_AsString(name), O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		dx_oserror(errno, "open", PyBytes_AsString(name));
		Py_DECREF(name);
		return NULL;
	}
	got = pread(fd, &header, sizeof(header), 0);
	if (got < EI_NIDENT + 4 || memcmp(header.e_ident, ELFMAG, SELFMAG))
		result = Py_NewRef(Py_None);
	else if (header.e_ident[EI_CLASS] == NATIVE_CLASS)
		n = got == sizeof(header) ? interpreter(fd, &header, path) : -1;
	close(fd);
	Py_DECREF(name);
	if (result)
		return result;
	if (n < 0)
		return Py_NewRef(Py_None);
	return Py_BuildValue("iz", header.e_machine, n ? path : NULL); // machine, interpreter
}
