/* SPDX-License-Identifier: MIT */
/* Lock-free view of the session's table: which devices and nodes there are. */
#ifndef DX_TABLE_H
#define DX_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

/* Check a mapped table of DX_TABLE_SIZE bytes; 0 or -EPROTO if it is none of ours. */
int dx_table_check(const void *table);

/* Copies of entries, never torn; false if there is no such entry. By its file a removed device is found as well, without flags. */
bool dx_table_device(const void *table, uint32_t minor, struct table_device *out);
bool dx_table_device_by_file(const void *table, uint64_t dev, uint64_t ino, struct table_device *out);
bool dx_table_node(const void *table, uint32_t minor, struct table_node *out);
bool dx_table_node_by_file(const void *table, uint64_t dev, uint64_t ino, struct table_node *out);

/* By the file that stands for it, or by the memory that it opens. */
bool dx_table_other_by_file(const void *table, uint64_t dev, uint64_t ino, struct table_other *out);

static inline const struct table_header *dx_table_header(const void *table)
{
	return table;
}

/* The next broken part of a device, beginning with *AT = 0; false if there is no more. They are sorted by where they begin. */
bool dx_table_poison(const void *table, uint32_t minor, uint32_t *at, struct table_poison *out);

/* The last part that was found broken. */
struct table_check dx_table_broken(const void *table);

/* The one writer: change LENGTH bytes at OFFSET as seen by every reader at once. */
void dx_table_write(void *table, uint64_t offset, const void *bytes, uint64_t length);

#endif
