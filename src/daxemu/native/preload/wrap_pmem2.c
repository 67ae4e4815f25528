/* SPDX-License-Identifier: MIT */
/*
 * libpmem2 hands out functions for a mapping; for one of a device that is recorded, ours. All mappings of one device
 * have the same ones, so it is enough to know them once.
 */
#include "preload.h"

#include "recording.h"

#define SITE __builtin_return_address(0)

struct pmem2_map;
typedef void pmem2_range_fn(const void *at, size_t length);
typedef void pmem2_drain_fn(void);
typedef void *pmem2_copy_fn(void *to, const void *from, size_t length, unsigned flags);
typedef void *pmem2_set_fn(void *to, int byte, size_t length, unsigned flags);

static pmem2_range_fn *real_persist, *real_flush;
static pmem2_drain_fn *real_drain;
static pmem2_copy_fn *real_memcpy, *real_memmove;
static pmem2_set_fn *real_memset;

static bool is_recorded(struct pmem2_map *map, const void *site)
{
	void *(*address)(struct pmem2_map *) = dx_find_behind("pmem2_map_get_address", site);
	size_t (*size)(struct pmem2_map *) = dx_find_behind("pmem2_map_get_size", site);

	return dx_recorded(address(map), size(map));
}

static void flush(const void *at, size_t length)
{
	dx_record_flush(at, length, SITE);
	real_flush(at, length);
}

static void drain(void)
{
	real_drain();
	dx_record_fence(SITE);
}

static void persist(const void *at, size_t length)
{
	dx_record_persist(at, length, SITE);
	real_persist(at, length);
}

static void *copy(void *to, const void *from, size_t length, unsigned flags)
{
	real_memcpy(to, from, length, flags);
	dx_record_copy(to, length, flags, SITE);
	return to;
}

static void *move(void *to, const void *from, size_t length, unsigned flags)
{
	real_memmove(to, from, length, flags);
	dx_record_copy(to, length, flags, SITE);
	return to;
}

static void *set(void *to, int byte, size_t length, unsigned flags)
{
	real_memset(to, byte, length, flags);
	dx_record_copy(to, length, flags, SITE);
	return to;
}

#define WRAP_GETTER(name, type, real, ours)                                                                            \
	EXPORT type *name(struct pmem2_map *map)                                                                       \
	{                                                                                                              \
		type *(*getter)(struct pmem2_map *) = dx_find_behind(#name, SITE), *given = getter(map);                               \
                                                                                                                       \
		if (!dx_records() || !is_recorded(map, SITE))                                                                \
			return given;                                                                                  \
		real = given;                                                                                          \
		return ours;                                                                                           \
	}

WRAP_GETTER(pmem2_get_persist_fn, pmem2_range_fn, real_persist, persist)
WRAP_GETTER(pmem2_get_flush_fn, pmem2_range_fn, real_flush, flush)
WRAP_GETTER(pmem2_get_drain_fn, pmem2_drain_fn, real_drain, drain)
WRAP_GETTER(pmem2_get_memcpy_fn, pmem2_copy_fn, real_memcpy, copy)
WRAP_GETTER(pmem2_get_memmove_fn, pmem2_copy_fn, real_memmove, move)
WRAP_GETTER(pmem2_get_memset_fn, pmem2_set_fn, real_memset, set)
