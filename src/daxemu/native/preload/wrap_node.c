/* SPDX-License-Identifier: MIT */
/* Making, removing and changing nodes. */
#include "preload.h"

#include <sys/sysmacros.h>

#include "real.h"

/* The path to act on; *dirfd becomes AT_FDCWD if it is ours. The emulated /sys is not to be changed so. */
static const char *target(int *dirfd, const char *path, struct dx_place *place)
{
	if (likely(!dx_active() || !dx_maybe(*dirfd, path)))
		return path;
	switch (dx_locate(*dirfd, path, place)) {
	case DX_NODE:
		*dirfd = AT_FDCWD;
		return place->path;
	case DX_TREE:
		errno = EPERM;
		return NULL;
	default:
		return path;
	}
}

/* Where the kernel lets nobody make a node, an empty file stands for it, and the engine remembers which. */
static int stand_in(int dirfd, const char *path, mode_t mode, dev_t dev)
{
	int status, sock, fd = REAL(openat)(dirfd, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode & 0777);

	if (fd < 0)
		return -1;
	sock = dx_connect();
	status = sock < 0 ? sock : dx_request(sock, DX_REGISTER_NODE, minor(dev), fd, NULL);
	if (sock >= 0)
		close(sock);
	close(fd);
	if (status < 0) {
		REAL(unlinkat)(dirfd, path, 0);
		errno = -status;
		return -1;
	}
	return 0;
}

EXPORT int mknodat(int dirfd, const char *path, mode_t mode, dev_t dev)
{
	struct dx_place place;
	const char *where = target(&dirfd, path, &place);
	bool ours = dx_active() && S_ISCHR(mode) && major(dev) == dx_table_header(dx_session.table)->major;

	if (!where)
		return -1;
	if (ours && where != path)
		return stand_in(dirfd, where, mode, dev);
	if (REAL(mknodat)(dirfd, where, mode, dev) == 0)
		return 0;
	return ours && errno == EPERM ? stand_in(dirfd, where, mode, dev) : -1;
}

EXPORT int mknod(const char *path, mode_t mode, dev_t dev)
{
	return mknodat(AT_FDCWD, path, mode, dev);
}

EXPORT int __xmknod(int version, const char *path, mode_t mode, dev_t *dev);
EXPORT int __xmknod(int version, const char *path, mode_t mode, dev_t *dev)
{
	(void)version;
	return mknod(path, mode, *dev);
}

EXPORT int __xmknodat(int version, int dirfd, const char *path, mode_t mode, dev_t *dev);
EXPORT int __xmknodat(int version, int dirfd, const char *path, mode_t mode, dev_t *dev)
{
	(void)version;
	return mknodat(dirfd, path, mode, *dev);
}

EXPORT int unlinkat(int dirfd, const char *path, int flags)
{
	struct dx_place place;
	const char *where = target(&dirfd, path, &place);

	return where ? REAL(unlinkat)(dirfd, where, flags) : -1;
}

EXPORT int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

EXPORT int fchmodat(int dirfd, const char *path, mode_t mode, int flags)
{
	struct dx_place place;
	const char *where = target(&dirfd, path, &place);

	return where ? REAL(fchmodat)(dirfd, where, mode, flags) : -1;
}

EXPORT int chmod(const char *path, mode_t mode)
{
	return fchmodat(AT_FDCWD, path, mode, 0);
}

EXPORT int fchownat(int dirfd, const char *path, uid_t owner, gid_t group, int flags)
{
	struct dx_place place;
	const char *where = target(&dirfd, path, &place);

	return where ? REAL(fchownat)(dirfd, where, owner, group, flags) : -1;
}

EXPORT int chown(const char *path, uid_t owner, gid_t group)
{
	return fchownat(AT_FDCWD, path, owner, group, 0);
}

EXPORT int lchown(const char *path, uid_t owner, gid_t group)
{
	return fchownat(AT_FDCWD, path, owner, group, AT_SYMLINK_NOFOLLOW);
}

EXPORT int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)
{
	struct dx_place place;
	const char *where = path ? target(&dirfd, path, &place) : NULL;

	if (path && !where)
		return -1;
	return REAL(utimensat)(dirfd, where, times, flags);
}

/* Through a descriptor of the device they concern its node, never the file behind it. */
static bool node_of(int fd, char path[PATH_MAX])
{
	struct table_device device;

	if (likely(!dx_marked(fd)) || !dx_fd_device(fd, &device))
		return false;
	snprintf(path, PATH_MAX, "%.3900s/dev/dax%d.%d", dx_session.directory, device.region, device.id);
	return true;
}

EXPORT int fchmod(int fd, mode_t mode)
{
	char path[PATH_MAX];

	return node_of(fd, path) ? REAL(chmod)(path, mode) : REAL(fchmod)(fd, mode);
}

EXPORT int fchown(int fd, uid_t owner, gid_t group)
{
	char path[PATH_MAX];

	return node_of(fd, path) ? REAL(chown)(path, owner, group) : REAL(fchown)(fd, owner, group);
}

EXPORT int remove(const char *path)
{
	struct dx_place place;

	if (likely(!dx_active() || !dx_maybe(AT_FDCWD, path)) || dx_locate(AT_FDCWD, path, &place) != DX_NODE)
		return REAL(remove)(path);
	return unlinkat(AT_FDCWD, path, 0);
}

/* Between the session's /dev and the machine's directories the kernel answers EXDEV, or renames a placeholder. */
EXPORT int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	struct dx_place from_place, to_place;
	const char *source = target(&from_dir, from, &from_place), *goal = target(&to_dir, to, &to_place);

	if (!source || !goal)
		return -1;
	if ((source == from) != (goal == to)) {
		errno = EXDEV; /* programs then copy, which a device refuses by its own rules */
		return -1;
	}
	return REAL(renameat)(from_dir, source, to_dir, goal);
}

EXPORT int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

EXPORT int truncate(const char *path, off_t length)
{
	struct dx_place place;
	struct stat st;
	uint32_t minor;
	bool ours;

	if (!dx_active())
		return REAL(truncate)(path, length);
	if (unlikely(dx_maybe(AT_FDCWD, path)) && dx_locate(AT_FDCWD, path, &place) != DX_REAL)
		ours = place.where != DX_MERGED;
	else
		ours = unlikely(dx_table_header(dx_session.table)->nr_aliases) && REAL(stat)(path, &st) == 0 &&
		       dx_node_minor(&st, false, &minor);
	if (!ours)
		return REAL(truncate)(path, length);
	errno = EINVAL;
	return -1;
}

int truncate64(const char *path, off64_t length) ALIAS(truncate);

EXPORT int swapon(const char *path, int flags)
{
	struct dx_place place;

	if (likely(!dx_active() || !dx_maybe(AT_FDCWD, path)) || dx_locate(AT_FDCWD, path, &place) != DX_NODE)
		return REAL(swapon)(path, flags);
	return dx_refuse(dx_is_capable(CAP_SYS_ADMIN) ? EINVAL : EPERM);
}
