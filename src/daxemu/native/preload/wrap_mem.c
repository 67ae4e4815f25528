/* SPDX-License-Identifier: MIT */
/* mmap of a device. */
#include "preload.h"

#include "real.h"
#include "vma.h"

/* PROT and access mode first, as the kernel does. */
static int check_access(int mode, int prot, int flags)
{
	if (mode == O_WRONLY)
		return -EACCES;
	if (mode == O_RDONLY && (prot & PROT_WRITE) && (flags & MAP_TYPE) != MAP_PRIVATE)
		return -EACCES;
	return 0;
}

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

static long map_device(void *hint, size_t length, int prot, int flags, int fd, off_t offset,
		       const struct table_device *device)
{
	int mode = REAL(fcntl)(fd, F_GETFL) & O_ACCMODE;
	int status = length ? check_access(mode, prot, flags) : -EINVAL;
	bool alive;
	long result;

	if (status == 0)
		status = dx_agent_ensure();
	if (status < 0)
		return status;
	result = dx_map(hint, length, prot, flags, mode == O_RDONLY ? writable(device, fd) : fd, offset, is_alive(device),
			device->align ? device->align : 4096);
	if (result < 0)
		return result;
	dx_forget_readonly((void *)result, length);
	if (mode == O_RDONLY && !dx_note_readonly((void *)result, length)) {
		REAL(munmap)((void *)result, length);
		return -ENOMEM;
	}
	dx_note_mapping((void *)result, length);
	/* A revocation that looked before the mapping was there has missed it: look again, until nothing changed. */
	for (alive = true;;) {
		bool now = is_alive(device);

		if (now == alive)
			return result;
		dx_sync_mappings(device->dev, device->ino, now, dx_is_device, -1);
		alive = now;
	}
}

EXPORT void *mmap(void *hint, size_t length, int prot, int flags, int fd, off_t offset)
{
	struct table_device device;
	long result;

	bool over = unlikely(flags & MAP_FIXED) && dx_may_be_mapped(hint, length);
	bool ours = unlikely(dx_marked(fd)) && !(flags & MAP_ANONYMOUS) && dx_fd_device(fd, &device);

	if (likely(!over && !ours))
		return REAL(mmap)(hint, length, prot, flags, fd, offset);
	if (over && dx_would_split(hint, length))
		return (void *)dx_edge(dx_quirk(DX_QUIRK_FIXED_SPLITS_ENOMEM) ? -ENOMEM : -EINVAL);
	dx_lock_mappings();
	if (ours) {
		result = map_device(hint, length, prot, flags, fd, offset, &device);
	} else {
		result = (long)REAL(mmap)(hint, length, prot, flags, fd, offset);
		result = result == -1 ? -errno : result;
		if (result >= 0)
			dx_forget_readonly(hint, length);
	}
	dx_unlock_mappings();
	return result < 0 ? (void *)dx_edge(result) : (void *)result;
}

void *mmap64(void *hint, size_t length, int prot, int flags, int fd, off_t offset) ALIAS(mmap);
