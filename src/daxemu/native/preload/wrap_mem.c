/* SPDX-License-Identifier: MIT */
/* mmap of a device. */
#include "preload.h"

#include "poison.h"
#include "real.h"
#include "vma.h"

/* Is this still the device that the descriptor was opened on, and alive? */
static bool is_alive(const struct table_device *opened)
{
	struct table_device now;

	return dx_table_device(dx_session.table, opened->minor, &now) && now.dev == opened->dev && now.ino == opened->ino &&
	       (now.flags & DX_DEVICE_ALIVE);
}

/* The backing file for reading and writing: see readonly.c. */
static int writable(const struct table_device *device, int fd)
{
	int backing = dx_backing(device);

	return backing < 0 ? fd : backing;
}

static long map_device(struct dx_map *map, const struct table_device *device)
{
	int status = dx_agent_ensure();
	struct refusal why = { 0 };
	bool alive, no_huge;
	long result;

	if (status < 0)
		return status;
	map->mode = REAL(fcntl)(map->fd, F_GETFL) & O_ACCMODE;
	if (map->mode == O_RDWR && (device->flags & DX_DEVICE_READ_ONLY))
		map->mode = O_RDONLY;
	map->alive = is_alive(device);
	map->align = device->align ? device->align : 4096;
	no_huge = (map->flags & MAP_STACK) && map->align > 4096 && dx_quirk(DX_QUIRK_STACK_FORBIDS_HUGE);
	map->reasons = no_huge ? DX_MOVED_REFUSED : 0;
	if (map->mode == O_RDONLY)
		map->fd = writable(device, map->fd);
	map->why = &why;
	map->unlocked = dx_locks_future;
	result = dx_map(map);
	if (why.reason)
		dx_log_refusal(device->minor, &why);
	if (result < 0)
		return result;
	dx_forget_ranges((void *)result, map->length);
	if ((map->mode == O_RDONLY && !dx_add_range(&dx_readonly, (void *)result, map->length)) ||
	    ((map->flags & MAP_SYNC) && !dx_add_range(&dx_synchronous, (void *)result, map->length)) ||
	    (no_huge && !dx_add_range(&dx_no_huge, (void *)result, map->length))) {
		REAL(munmap)((void *)result, map->length);
		return -ENOMEM;
	}
	dx_note_mapping((void *)result, map->length);
	if (!(device->flags & DX_DEVICE_MOVABLE))
		return result;
	/* A revocation that looked before the mapping was there has missed it: look again, until nothing changed. */
	for (alive = true;;) {
		bool now = is_alive(device);

		if (now == alive)
			break;
		dx_sync_mappings(device->dev, device->ino, now, dx_is_device, -1);
		alive = now;
	}
	dx_sync_poison(device, -1);
	return result;
}

/* Something else takes the place of mappings of devices. */
static SLOW long map_over(const struct dx_map *map)
{
	long result;

	if (map->over)
		return map->over;
	result = (long)REAL(mmap)(map->hint, map->length, map->prot, map->flags, map->fd, map->offset);
	if (result == -1)
		return -errno;
	dx_forget_ranges(map->hint, map->length);
	return result;
}

EXPORT void *mmap(void *hint, size_t length, int prot, int flags, int fd, off_t offset)
{
	struct table_device device;
	struct dx_map map;
	long result;

	bool over = unlikely(flags & MAP_FIXED) && dx_may_be_mapped(hint, length);
	bool ours = unlikely(dx_marked(fd)) && !(flags & MAP_ANONYMOUS) && dx_fd_device(fd, &device);

	if (likely(!over && !ours))
		return REAL(mmap)(hint, length, prot, flags, fd, offset);
	map = (struct dx_map){ .hint = hint, .length = length, .prot = prot, .flags = flags, .offset = offset, .fd = fd };
	if (over && dx_in_ranges(&dx_sealed, hint, length))
		map.over = -EPERM;
	else if (over && dx_would_split(hint, length))
		map.over = dx_quirk(DX_QUIRK_FIXED_SPLITS_ENOMEM) ? -ENOMEM : -EINVAL;
	dx_lock_mappings();
	result = ours ? map_device(&map, &device) : map_over(&map);
	if (over)
		dx_settle_refusals(-1);
	dx_unlock_mappings();
	return result < 0 ? (void *)dx_edge(result) : (void *)result;
}

void *mmap64(void *hint, size_t length, int prot, int flags, int fd, off_t offset) ALIAS(mmap);
