/* SPDX-License-Identifier: MIT */
/* Device nodes: files that stand for a device number, and what open and stat make of them. */
#include "preload.h"

#include <string.h>
#include <sys/sysmacros.h>

#include "real.h"

bool dx_node_minor(const struct stat *st, bool in_dev, uint32_t *minor)
{
	struct table_node node;

	if (S_ISCHR(st->st_mode)) {
		*minor = minor(st->st_rdev);
		return major(st->st_rdev) == dx_table_header(dx_session.table)->major;
	}
	if (!S_ISREG(st->st_mode) || st->st_size ||
	    !dx_table_node_by_file(dx_session.table, st->st_dev, st->st_ino, &node) ||
	    (!in_dev && !(node.flags & DX_NODE_ALIAS)))
		return false;
	*minor = node.minor;
	return true;
}

static void show_as_node(struct stat *st, uint32_t minor)
{
	st->st_mode = (st->st_mode & 07777) | S_IFCHR;
	st->st_rdev = makedev(dx_table_header(dx_session.table)->major, minor);
	st->st_size = 0;
	st->st_blocks = 0;
	st->st_blksize = 4096;
}

void dx_patch_stat(enum dx_where where, struct stat *st)
{
	uint32_t minor;

	if (where == DX_TREE) {
		st->st_dev = dx_session.dev_of_sys;
		if (S_ISREG(st->st_mode)) {
			st->st_size = 4096;
			st->st_blocks = 0;
			st->st_nlink = 1; /* files that read alike share an inode */
		}
	} else if (S_ISREG(st->st_mode) && dx_node_minor(st, where == DX_NODE, &minor)) {
		show_as_node(st, minor);
		if (where == DX_NODE)
			st->st_dev = dx_session.dev_of_dev;
	} else if (where == DX_NODE) {
		dx_patch_other(st);
	}
}

bool dx_device_node(const struct table_device *device, char name[DX_NODE_NAME], struct stat *st)
{
	char path[PATH_MAX];
	bool found;

	snprintf(path, sizeof(path), "%.3900s/dev/dax%d.%d", dx_session.directory, device->region, device->id);
	found = (device->flags & DX_DEVICE_PRESENT) && REAL(stat)(path, st) == 0;
	snprintf(name, DX_NODE_NAME, "/dev/dax%d.%d%s", device->region, device->id, found ? "" : " (deleted)");
	if (found)
		st->st_dev = dx_session.dev_of_dev;
	return found;
}

/* The node that a device's own descriptor shows: the one in /dev. */
static void show_device(struct stat *st, const struct table_device *device)
{
	char name[DX_NODE_NAME];
	struct stat node;

	if (dx_device_node(device, name, &node)) {
		*st = node;
	} else {
		st->st_mode = 0600;
		st->st_nlink = 0;
	}
	show_as_node(st, device->minor);
}

bool dx_patch_device(struct stat *st)
{
	struct table_device device;

	if (!dx_may_back(st) || !dx_table_device_by_file(dx_session.table, st->st_dev, st->st_ino, &device))
		return false;
	show_device(st, &device);
	return true;
}

bool dx_patch_fstat(int fd, struct stat *st)
{
	char path[PATH_MAX];
	const char *outer;

	if (dx_patch_device(st) || dx_patch_other(st))
		return true;
	if (dx_fd_path(fd, path) < 0 || !(outer = dx_outer(path)))
		outer = "";
	dx_patch_stat(strncmp(outer, "/sys/", 5) == 0 ? DX_TREE : *outer ? DX_NODE : DX_REAL, st);
	return true;
}

int dx_open_device(uint32_t minor, int flags)
{
	const int kept = O_ACCMODE | O_CLOEXEC | O_NONBLOCK | O_APPEND | O_SYNC | O_DSYNC | O_NOATIME | O_ASYNC;
	struct table_device device;
	char path[32];
	int fd;

	if ((flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (flags & O_DIRECTORY)
		return -ENOTDIR;
	if (!dx_table_device(dx_session.table, minor, &device) || !(device.flags & DX_DEVICE_ALIVE))
		return -ENXIO;
	if (unlikely(dx_table_header(dx_session.table)->asks & DX_ASK_OPEN)) {
		int status = dx_ask_to_open(minor);

		if (status < 0)
			return status;
	}
	if ((device.flags & DX_DEVICE_READ_ONLY) && (flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	if (flags & O_DIRECT)
		return -EINVAL;
	fd = dx_backing(&device);
	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = REAL(open)(path, flags & kept);
	if (fd < 0)
		return -errno;
	dx_mark(fd, MARK_DAX | (flags & O_NOFOLLOW ? MARK_NOFOLLOW : 0));
	return fd;
}

int dx_open_node(const char *path, int flags)
{
	static const int rights[] = { R_OK, W_OK, R_OK | W_OK, R_OK | W_OK };
	struct table_other other;
	struct stat st;
	uint32_t minor;

	if (REAL(stat)(path, &st) < 0) /* with a slash behind the name: ENOTDIR */
		return -errno;
	if (flags & O_PATH) {
		int fd = REAL(open)(path, flags);

		if (fd < 0)
			return -errno;
		dx_mark(fd, MARK_DAX);
		return fd;
	}
	if (REAL(faccessat)(AT_FDCWD, path, rights[flags & O_ACCMODE], AT_EACCESS) < 0)
		return -errno;
	if (dx_node_minor(&st, true, &minor))
		return dx_open_device(minor, flags);
	return dx_table_other_by_file(dx_session.table, st.st_dev, st.st_ino, &other) ?
		       dx_open_other(path, &other, flags) :
		       -ENXIO;
}
