/* SPDX-License-Identifier: MIT */
/* What the makers of views of /proc share. */
#ifndef DX_VIEWS_H
#define DX_VIEWS_H

#include "text.h"

enum { LINK = 64 }; /* "/memfd:/proc/4194304/task/4194304/numa_maps (deleted)" */

/* The file of this name in the directory of PATH, to be read; -1 without it. */
int dx_open_beside(const char *path, const char *name);
/* The view of maps, or smaps by the end of its PATH; true if there is a device in it. */
bool dx_show_mappings(const struct dx_text *in, struct dx_text *out, const char *path);

#endif
