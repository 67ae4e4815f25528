/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static const struct table_device *devices(const void *table)
{
	return (const void *)((const char *)table + DX_DEVICES_OFFSET);
}

static const struct table_node *nodes(const void *table)
{
	return (const void *)((const char *)table + DX_NODES_OFFSET);
}

int dx_table_check(const void *table)
{
	const struct table_header *header = dx_table_header(table);

	if (header->magic != DX_TABLE_MAGIC || header->version != DX_WIRE_VERSION)
		return -EPROTO;
	return 0;
}

/* A writer holds the odd state for a handful of stores; if it dies there, readers take what is. */
enum { TRIES = 1 << 20 };

static void read_stable(const void *table, void *to, const void *from, size_t length)
{
	const uint32_t *seq = &dx_table_header(table)->seq;

	for (int tries = 0; tries < TRIES; tries++) {
		uint32_t before = __atomic_load_n(seq, __ATOMIC_ACQUIRE);

		if (before & 1)
			continue;
		memcpy(to, from, length);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(seq, __ATOMIC_RELAXED) == before)
			return;
	}
	memcpy(to, from, length);
}

bool dx_table_device(const void *table, uint32_t minor, struct table_device *out)
{
	if (minor >= DX_NR_DEVICES)
		return false;
	read_stable(table, out, &devices(table)[minor], sizeof(*out));
	return out->flags & DX_DEVICE_PRESENT;
}

static bool dead_device_by_file(const void *table, uint64_t dev, uint64_t ino, struct table_device *out)
{
	const struct table_grave *graves = (const void *)((const char *)table + DX_GRAVES_OFFSET);
	uint32_t n = __atomic_load_n(&dx_table_header(table)->nr_graves, __ATOMIC_ACQUIRE);
	struct table_grave grave;

	for (uint32_t i = 0; i < n && i < DX_NR_GRAVES; i++) {
		if (__atomic_load_n(&graves[i].ino, __ATOMIC_RELAXED) != ino)
			continue;
		read_stable(table, &grave, &graves[i], sizeof(grave));
		if (grave.ino != ino || grave.dev != dev)
			continue;
		*out = (struct table_device){
			.minor = grave.minor, .dev = dev, .ino = ino, .region = grave.region, .id = grave.id
		};
		return true;
	}
	return false;
}

bool dx_table_device_by_file(const void *table, uint64_t dev, uint64_t ino, struct table_device *out)
{
	uint32_t n = __atomic_load_n(&dx_table_header(table)->nr_devices, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < n && i < DX_NR_DEVICES; i++) {
		if (__atomic_load_n(&devices(table)[i].ino, __ATOMIC_RELAXED) != ino)
			continue;
		if (dx_table_device(table, i, out) && out->ino == ino && out->dev == dev)
			return true;
	}
	return dead_device_by_file(table, dev, ino, out);
}

bool dx_table_node(const void *table, uint32_t minor, struct table_node *out)
{
	if (minor >= DX_NR_DEVICES)
		return false;
	read_stable(table, out, &nodes(table)[minor], sizeof(*out));
	return out->flags & DX_NODE_PRESENT;
}

static bool node_at(const void *table, uint32_t slot, uint64_t dev, uint64_t ino, struct table_node *out)
{
	if (__atomic_load_n(&nodes(table)[slot].ino, __ATOMIC_RELAXED) != ino)
		return false;
	read_stable(table, out, &nodes(table)[slot], sizeof(*out));
	return (out->flags & DX_NODE_PRESENT) && out->ino == ino && out->dev == dev;
}

bool dx_table_node_by_file(const void *table, uint64_t dev, uint64_t ino, struct table_node *out)
{
	const struct table_header *header = dx_table_header(table);
	uint32_t primary = __atomic_load_n(&header->nr_devices, __ATOMIC_ACQUIRE);
	uint32_t alias = __atomic_load_n(&header->nr_aliases, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < primary && i < DX_NR_DEVICES; i++)
		if (node_at(table, i, dev, ino, out))
			return true;
	for (uint32_t i = 0; i < alias && i < DX_NR_NODES - DX_NR_DEVICES; i++)
		if (node_at(table, DX_NR_DEVICES + i, dev, ino, out))
			return true;
	return false;
}

bool dx_table_poison(const void *table, uint32_t minor, uint32_t *at, struct table_poison *out)
{
	const struct table_poison *all = (const void *)((const char *)table + DX_POISON_OFFSET);
	uint32_t n = __atomic_load_n(&dx_table_header(table)->nr_poison, __ATOMIC_ACQUIRE);

	while (*at < n && *at < DX_NR_POISON) {
		read_stable(table, out, &all[(*at)++], sizeof(*out));
		if (out->minor == minor)
			return true;
	}
	return false;
}

struct table_check dx_table_broken(const void *table)
{
	struct table_check check;

	read_stable(table, &check, (const char *)table + DX_CHECK_OFFSET, sizeof(check));
	return check;
}

bool dx_table_other_by_file(const void *table, uint64_t dev, uint64_t ino, struct table_other *out)
{
	const struct table_other *others = (const void *)((const char *)table + DX_OTHERS_OFFSET);
	uint32_t n = __atomic_load_n(&dx_table_header(table)->nr_others, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < n && i < DX_NR_OTHERS; i++) {
		if (__atomic_load_n(&others[i].ino, __ATOMIC_RELAXED) != ino &&
		    __atomic_load_n(&others[i].memory_ino, __ATOMIC_RELAXED) != ino)
			continue;
		read_stable(table, out, &others[i], sizeof(*out));
		if ((out->flags & DX_OTHER_PRESENT) && ((out->ino == ino && out->dev == dev) ||
							(out->memory_ino == ino && out->memory_dev == dev)))
			return true;
	}
	return false;
}

void dx_table_write(void *table, uint64_t offset, const void *bytes, uint64_t length)
{
	uint32_t *seq = &((struct table_header *)table)->seq;
	uint32_t before = __atomic_load_n(seq, __ATOMIC_RELAXED);

	__atomic_store_n(seq, before + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy((char *)table + offset, bytes, length);
	__atomic_store_n(seq, before + 2, __ATOMIC_RELEASE);
}
