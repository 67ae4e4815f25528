/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "vma.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "layout.h"

#ifndef MAP_SYNC
#define MAP_SYNC 0x80000
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 3
#endif

#define PAGE 4096UL
#define TASK_SIZE ((1UL << 47) - PAGE)
#define FAR_UP (DX_MOVED_DEAD / 2)

/* Flags that a driver which supports MAP_SYNC lets through MAP_SHARED_VALIDATE. */
#define LEGACY_FLAGS (0x7c000000 | 0x0007ffff)

int dx_check_vma(bool alive, bool shared, uint64_t start, uint64_t end, uint64_t align)
{
	if (!alive)
		return -ENXIO;
	if (!shared)
		return -EINVAL;
	if ((start | end) & (align - 1))
		return -EINVAL;
	return 0;
}

static long sys_mmap(uint64_t at, size_t length, int prot, int flags, int fd, off_t offset)
{
	long address = syscall(SYS_mmap, at, length, prot, flags, fd, offset);

	return address == -1 ? -errno : address;
}

/* Hold LENGTH bytes of addresses: at AT, or low ones, as FLAGS say. */
static long hold(uint64_t at, size_t length, int flags)
{
	return sys_mmap(at, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

/* Hold LENGTH bytes at an address congruent to OFFSET; anywhere if there is no room to choose. */
static long hold_aligned(size_t length, uint64_t offset, uint64_t align, int flags)
{
	long area = hold(0, length + align, flags);
	uint64_t at, tail;

	if (area < 0)
		return hold(0, length, flags);
	at = area + ((offset - area) & (align - 1));
	tail = at + length;
	if (at > (uint64_t)area)
		syscall(SYS_munmap, area, at - area);
	if (tail < area + length + align)
		syscall(SYS_munmap, tail, area + length + align - tail);
	return at;
}

/*
 * Where the kernel begins a mapping without a hint, modulo the alignment: at the offset, unless
 * that leaves no whole block; then anywhere, and aligned is what its choice comes to in practice.
 */
static uint64_t congruence(uint64_t offset, uint64_t length, uint64_t align)
{
	uint64_t end = offset + length, first_block = (offset + align - 1) & ~(align - 1);

	return end <= first_block || end - first_block < align ? 0 : offset & (align - 1);
}

/* What the kernel looks at before it looks for room. */
static int check_request(const struct dx_map *map, uint64_t rounded, uint64_t at, bool fixed)
{
	if ((map->offset & (PAGE - 1)) || (map->flags & MAP_HUGETLB) || map->length == 0)
		return -EINVAL;
	if (rounded < map->length || rounded > TASK_SIZE || (fixed && at > TASK_SIZE - rounded))
		return -ENOMEM;
	return fixed && ((uint64_t)map->hint & (PAGE - 1)) ? -EINVAL : 0;
}

/* And what it looks at before it asks the driver. */
static int check_file(const struct dx_map *map, uint64_t rounded)
{
	int type = map->flags & MAP_TYPE;
	bool reads = map->mode == O_RDONLY || map->mode == O_RDWR, writes = map->mode == O_WRONLY || map->mode == O_RDWR;

	if ((uint64_t)map->offset / PAGE > (UINT64_MAX - rounded) / PAGE)
		return -EOVERFLOW;
	if (type != MAP_SHARED && type != MAP_SHARED_VALIDATE && type != MAP_PRIVATE)
		return -EINVAL;
	if (type == MAP_SHARED_VALIDATE && (map->flags & ~(LEGACY_FLAGS | MAP_SYNC)))
		return -EOPNOTSUPP;
	if (!reads || (type != MAP_PRIVATE && (map->prot & PROT_WRITE) && !writes))
		return -EACCES;
	return map->flags & MAP_GROWSDOWN ? -EINVAL : map->over;
}

/* Where in the backing file the mapping lies. */
static uint64_t place_in_file(const struct dx_map *map, uint64_t rounded)
{
	/* A fault finds the block that the address lies in, whatever the offset within it. */
	uint64_t offset = map->offset & ~(map->align - 1);

	/* Past the end is past the end; the high bits of offsets say why a mapping has been moved. */
	if (offset + rounded > FAR_UP)
		offset = FAR_UP / 2 + (offset & (FAR_UP / 2 - 1));
	return offset + map->reasons;
}

/* Hold the addresses that the mapping is to lie at: those asked for if possible. Where, or -errno. */
static long find_room(const struct dx_map *map, uint64_t rounded, uint64_t at)
{
	if (map->flags & MAP_FIXED_NOREPLACE)
		return hold(at, rounded, MAP_FIXED_NOREPLACE);
	if (map->flags & MAP_FIXED)
		return at;
	if (at)
		return hold(at, rounded, map->flags & MAP_32BIT);
	return hold_aligned(rounded, congruence(map->offset, rounded, map->align), map->align, map->flags & MAP_32BIT);
}

/*
 * Map the backing file over the addresses that are held. A file of huge pages would grow when it is
 * mapped past its end to be written, and a device does not: such a one is mapped without rights first.
 */
static long map_file(uint64_t at, size_t length, int prot, int flags, int fd, off_t offset)
{
	struct statfs fs;
	long result;

	if (syscall(SYS_fstatfs, fd, &fs) < 0 || fs.f_type != HUGETLBFS_MAGIC) {
		/* On real persistent memory as a device is: what was flushed needs nothing of the file system. */
		result = sys_mmap(at, length, prot, MAP_SHARED_VALIDATE | MAP_SYNC | MAP_FIXED | flags, fd, offset);
		return result != -EOPNOTSUPP ? result :
					       sys_mmap(at, length, prot, MAP_SHARED | MAP_FIXED | flags, fd, offset);
	}
	result = sys_mmap(at, length, PROT_NONE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, offset);
	return result >= 0 && syscall(SYS_mprotect, at, length, prot) < 0 ? -errno : result;
}

/* What the device says to addresses that are free. */
static int check_room(const struct dx_map *map, uint64_t room, uint64_t rounded, uint64_t at)
{
	bool shared = (map->flags & MAP_TYPE) != MAP_PRIVATE;
	int status = dx_check_vma(map->alive, shared, room, room + rounded, map->align);

	/* Where the hint is taken the kernel chooses, and without regard to the alignment. */
	if (status == 0 && at && room != at && map->align > PAGE)
		status = -EINVAL;
	if (status == -EINVAL && map->why)
		*map->why = (struct refusal){ shared ? DX_REFUSED_UNALIGNED : DX_REFUSED_PRIVATE, room, room + rounded };
	return status;
}

long dx_map(const struct dx_map *map)
{
	bool fixed = map->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	uint64_t rounded = (map->length + PAGE - 1) & ~(PAGE - 1), at = (uint64_t)map->hint & ~(PAGE - 1);
	/* Locked or not, the memory of a device is populated and stays where it is. */
	int populate = map->flags & (MAP_POPULATE | MAP_LOCKED) ? MAP_POPULATE | (map->flags & MAP_NONBLOCK) : 0;
	int flags = populate | (map->flags & MAP_NORESERVE); /* the latter shows in smaps */
	long room, result = check_request(map, rounded, at, fixed);

	if (result < 0)
		return result;
	room = find_room(map, rounded, at);
	if (room < 0)
		return room;
	result = check_file(map, rounded);
	if (result == 0)
		result = check_room(map, room, rounded, at);
	if (result == 0)
		result = map_file(room, rounded, map->unlocked ? PROT_NONE : map->prot, flags, map->fd,
				  place_in_file(map, rounded));
	if (result >= 0 && map->unlocked) {
		syscall(SYS_munlock, room, rounded);
		syscall(SYS_mprotect, room, rounded, map->prot);
	}
	if (result < 0 && !(map->flags & MAP_FIXED))
		syscall(SYS_munmap, room, rounded);
	return result;
}
