/* SPDX-License-Identifier: MIT */
/* Where a function of PMDK's libraries is that has one of ours in front of it. */
#include "preload.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>

#include "recording.h"

/* The function of that name in an object that is loaded, or in what it needs; but not ours. */
static void *find_in(const char *path, const char *name)
{
	void *object = dlopen(path, RTLD_LAZY | RTLD_NOLOAD), *function = object ? dlsym(object, name) : NULL;
	Dl_info theirs, ours;

	if (!function || !dladdr(function, &theirs) || !dladdr(&dx_nr_recordings, &ours) || theirs.dli_fbase == ours.dli_fbase)
		return NULL;
	return function;
}

SLOW void *dx_find_behind(const char *name, const void *site)
{
	static const char *const libraries[] = { "libpmem.so.1", "libpmem2.so.1", "libpmemobj.so.1", "libpmemlog.so.1", "libpmemblk.so.1" };
	void *function = dlsym(RTLD_NEXT, name);
	Dl_info caller;

	for (size_t i = 0; !function && i < sizeof(libraries) / sizeof(*libraries); i++)
		function = find_in(libraries[i], name);
	if (!function && dladdr(site, &caller))
		function = find_in(caller.dli_fname, name);
	if (!function)
		abort(); /* whoever calls it has it */
	return function;
}

struct search {
	uintptr_t address;
	struct dx_code *code;
};

/* _dl_find_object would be shorter, but musl has no such function, and glibc since 2.35. */
static int note_code(struct dl_phdr_info *info, size_t size, void *context)
{
	const struct search *search = context;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + part->p_vaddr;

		if (part->p_type != PT_LOAD || search->address - start >= part->p_memsz)
			continue;
		search->code->start = start;
		__atomic_store_n(&search->code->length, part->p_memsz, __ATOMIC_RELEASE);
		return 1;
	}
	return 0;
}

void dx_find_code(const void *at, struct dx_code *code)
{
	dl_iterate_phdr(note_code, &(struct search){ (uintptr_t)at, code });
}

/* Also called by wrap_pmdk.c's assembler. */
__attribute__((used)) SLOW void *dx_find_pmdk(const char *name, const void *site, struct dx_code *library)
{
	void *function = dx_find_behind(name, site);

	dx_find_code(function, library);
	return function;
}
