/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "vma.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layout.h"

#ifndef MAP_SYNC
#define MAP_SYNC 0x80000
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 3
#endif

#define PAGE 4096UL
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

static long sys_mmap(void *at, size_t length, int prot, int flags, int fd, off_t offset)
{
	long address = syscall(SYS_mmap, at, length, prot, flags, fd, offset);

	return address == -1 ? -errno : address;
}

/* Reserve room for LENGTH bytes at an address congruent to OFFSET. */
static long reserve(size_t length, uint64_t offset, uint64_t align)
{
	long area = sys_mmap(NULL, length + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t at, tail;

	if (area < 0)
		return area;
	at = area + ((offset - area) & (align - 1));
	tail = at + length;
	if (at > (uint64_t)area)
		syscall(SYS_munmap, area, at - area);
	if (tail < area + length + align)
		syscall(SYS_munmap, tail, area + length + align - tail);
	return at;
}

static int check_type(int flags)
{
	int type = flags & MAP_TYPE;

	if (type == MAP_SHARED_VALIDATE)
		return flags & ~(LEGACY_FLAGS | MAP_SYNC) ? -EOPNOTSUPP : 0;
	return type == MAP_SHARED || type == MAP_PRIVATE ? 0 : -EINVAL;
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

long dx_map(void *hint, size_t length, int prot, int flags, int fd, off_t offset, bool alive, uint64_t align)
{
	bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
	bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	int real_flags = (flags & ~(MAP_TYPE | MAP_SYNC | MAP_HUGETLB)) | MAP_SHARED;
	uint64_t rounded = (length + PAGE - 1) & ~(PAGE - 1);
	bool reserved = false;
	long at = (long)((uint64_t)hint & ~(PAGE - 1)), result;
	int status = check_type(flags);

	if (status)
		return status;
	if (length == 0 || (offset & (PAGE - 1)) || (flags & MAP_HUGETLB))
		return -EINVAL;
	if (rounded < length || rounded + align < rounded)
		return -ENOMEM;
	if (fixed && ((uint64_t)hint & (PAGE - 1)))
		return -EINVAL;
	status = dx_check_vma(alive, shared, at, at + rounded, hint || fixed ? align : PAGE);
	if (!status && !hint && !fixed)
		status = dx_check_vma(alive, shared, congruence(offset, rounded, align),
				      congruence(offset, rounded, align) + rounded, align);
	if (status)
		return status;
	/* A fault finds the block that the address lies in, whatever the offset within it. */
	offset &= ~(off_t)(align - 1);
	/* Past the end is past the end; the high bits of offsets say why a mapping has been moved. */
	if ((uint64_t)offset + rounded > FAR_UP)
		offset = FAR_UP / 2 + (offset & (FAR_UP / 2 - 1));
	if (!hint && !fixed) {
		at = reserve(rounded, offset, align);
		if (at < 0)
			return at;
		reserved = true;
		real_flags |= MAP_FIXED;
	}
	result = sys_mmap((void *)at, length, prot, real_flags, fd, offset);
	if (result < 0 && reserved)
		syscall(SYS_munmap, at, rounded);
	if (result >= 0 && result != at) {
		/* The hint was occupied; the kernel chose without regard to the alignment. */
		status = dx_check_vma(alive, shared, result, result + rounded, align);
		if (status) {
			syscall(SYS_munmap, result, rounded);
			return status;
		}
	}
	return result;
}
