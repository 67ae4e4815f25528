/* SPDX-License-Identifier: MIT */
#include "preload.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "real.h"

uint8_t dx_marks[MARKED_FDS];

/* A mark too many costs an fstat, one too few would be a hole. */
void dx_change_mark(int fd, int mark)
{
	if (dx_owns_memory())
		dx_marks[fd] = mark;
	else
		dx_marks[fd] |= mark;
}

bool dx_is_device(uint64_t dev, uint64_t ino)
{
	struct table_device device;

	return dx_table_device_by_file(dx_session.table, dev, ino, &device);
}

bool dx_fd_device(int fd, struct table_device *device)
{
	struct stat st;

	if (!(dx_marked(fd) & MARK_DAX) || REAL(fstat)(fd, &st) < 0)
		return false;
	return dx_may_back(&st) && dx_table_device_by_file(dx_session.table, st.st_dev, st.st_ino, device);
}

bool dx_may(int fd, int direction)
{
	int flags = REAL(fcntl)(fd, F_GETFL);
	int mode = flags & O_ACCMODE;

	return flags >= 0 && !(flags & O_PATH) && (mode == direction || mode == O_RDWR);
}

bool dx_is_capable(int capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &header, sets) == 0 && (sets[capability / 32].effective >> (capability % 32)) & 1;
}

int dx_fd_path(int fd, char path[PATH_MAX])
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = REAL(readlink)(link, path, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	path[n] = 0;
	return n;
}

void dx_mark_if_ours(int fd)
{
	struct table_device device;
	struct table_node node;
	char path[PATH_MAX];
	struct stat st;
	int mark = 0;

	if (REAL(fstat)(fd, &st) < 0 || !dx_active())
		return;
	if (dx_may_back(&st) && (dx_table_device_by_file(dx_session.table, st.st_dev, st.st_ino, &device) ||
				 dx_table_node_by_file(dx_session.table, st.st_dev, st.st_ino, &node)))
		mark = MARK_DAX;
	else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
		struct dx_place place;

		if (dx_fd_path(fd, path) > 0 && dx_outer(path))
			mark = MARK_TREE;
		else if (S_ISREG(st.st_mode) && dx_fd_path(fd, path) > 0 && dx_view_path(path))
			mark = MARK_VIEW;
		else if (S_ISDIR(st.st_mode) && dx_fd_path(fd, path) > 0 && dx_locate(AT_FDCWD, path, &place) == DX_MERGED)
			mark = MARK_MERGED;
	}
	dx_mark(fd, mark);
}

void dx_mark_inherited(void)
{
	DIR *list = REAL(opendir)("/proc/self/fd");
	struct dirent *entry;
	if (!list)
		return;
	while ((entry = REAL(readdir)(list)))
		if (entry->d_name[0] != '.')
			dx_mark_if_ours(atoi(entry->d_name));
	REAL(closedir)(list);
}
