/* SPDX-License-Identifier: MIT */
/* Where a function of PMDK's libraries is that has one of ours in front of it. */
#include "preload.h"

#include <dlfcn.h>
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
