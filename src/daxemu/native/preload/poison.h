/* SPDX-License-Identifier: MIT */
/* Broken memory, and who is told of it. */
#ifndef DX_POISON_H
#define DX_POISON_H

#include <signal.h>

#include "table.h"

/* -- poison.c -------------------------------------------------------------------------------- */

/*
 * Bring this process's mappings of a device in line with what of it is broken; 0 or -errno. MAPS as for
 * dx_each_vma. Once something is, a handler of this library stands before the program's for SIGBUS.
 */
int dx_sync_poison(const struct table_device *device, int maps);
/* Have a handler of this library stand before the program's for SIGBUS, if that has one, and whenever it sets one. */
void dx_arm(void);

/* -- early.c --------------------------------------------------------------------------------- */

/* If memory has been found broken since the last call: tell the program, if it asked to be told of what it maps. */
void dx_heed_check(int maps);
/* What was found broken before now is not this process's concern. */
void dx_skip_checks(void);
/* Make such a signal look as the kernel's does. */
void dx_explain_early(siginfo_t *info);

/* -- hwpoison.c ------------------------------------------------------------------------------ */

/* madvise(MADV_HWPOISON) of a range in which devices are mapped; 0 or -errno. */
int dx_hwpoison(uintptr_t start, uintptr_t end);

#endif
