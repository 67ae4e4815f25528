/* SPDX-License-Identifier: MIT */
/* readlink, realpath, the current directory: the session's own path never shows. */
#include "preload.h"

#include <string.h>

#include "real.h"

static ssize_t give(const char *text, char *buffer, size_t size)
{
	size_t n = strlen(text);

	n = n < size ? n : size;
	memcpy(buffer, text, n);
	return n;
}

/* /proc/self/fd/N of a device shows its node; of a file in the session, the path that programs know. */
static ssize_t outer_target(char *target, int fd, char *buffer, size_t size)
{
	const char *outer = dx_outer(target);
	struct table_device device;
	char node[DX_NODE_NAME];
	struct stat st;

	if (outer)
		return give(outer, buffer, size);
	if (dx_view_path(target))
		return give(target, buffer, size);
	if (dx_fd_device(fd, &device)) {
		dx_device_node(&device, node, &st);
		return give(node, buffer, size);
	}
	return -1;
}

/* May it be a link of /proc to a file of any process: a number below fd, or addresses below map_files? */
static bool maybe_magic(const char *path)
{
	if (path[0] == '/')
		return path[1] == 'p' && dx_by_descriptor(path);
	return ((path[0] >= '0' && path[0] <= '9') || (path[0] >= 'a' && path[0] <= 'f')) && !strchr(path, '/');
}

/* The node of the device that such a link leads to; -1 if it leads elsewhere. */
static SLOW ssize_t magic_target(int dirfd, const char *path, char *buffer, size_t size)
{
	struct table_device device;
	char node[DX_NODE_NAME];
	struct stat st;

	if (REAL(fstatat)(dirfd, path, &st, 0) < 0 || !S_ISREG(st.st_mode) ||
	    !dx_table_device_by_file(dx_session.table, st.st_dev, st.st_ino, &device))
		return -1;
	dx_device_node(&device, node, &st);
	return give(node, buffer, size);
}

static int proc_self_fd(const char *path)
{
	char *end;
	long fd;

	if (strncmp(path, "/proc/self/fd/", 14) || path[14] < '0' || path[14] > '9')
		return -1;
	fd = strtol(path + 14, &end, 10);
	return *end || fd > INT_MAX ? -1 : fd;
}

EXPORT ssize_t readlinkat(int dirfd, const char *path, char *buffer, size_t size)
{
	struct dx_place place;
	enum dx_where at;
	ssize_t n, ours;
	int fd;

	if (likely(!dx_active()))
		return REAL(readlinkat)(dirfd, path, buffer, size);
	if (path && path[0] == '/' && path[1] == 'p' && (fd = proc_self_fd(path)) >= 0 && dx_marked(fd)) {
		char target[PATH_MAX];

		if (dx_fd_path(fd, target) >= 0 && (n = outer_target(target, fd, buffer, size)) >= 0)
			return n;
	}
	at = dx_maybe(dirfd, path) ? dx_locate(dirfd, path, &place) : DX_REAL;
	if (at == DX_NODE || at == DX_TREE)
		return REAL(readlink)(place.path, buffer, size);
	n = REAL(readlinkat)(dirfd, path, buffer, size);
	if (n > 0 && unlikely(maybe_magic(path)) && (ours = magic_target(dirfd, path, buffer, size)) >= 0)
		return ours;
	return n;
}

EXPORT ssize_t readlink(const char *path, char *buffer, size_t size)
{
	return readlinkat(AT_FDCWD, path, buffer, size);
}

EXPORT ssize_t __readlink_chk(const char *path, char *buffer, size_t size, size_t room);
EXPORT ssize_t __readlink_chk(const char *path, char *buffer, size_t size, size_t room)
{
	if (size > room)
		abort();
	return readlink(path, buffer, size);
}

EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *buffer, size_t size, size_t room);
EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *buffer, size_t size, size_t room)
{
	if (size > room)
		abort();
	return readlinkat(dirfd, path, buffer, size);
}

EXPORT char *realpath(const char *path, char *resolved)
{
	char whole[PATH_MAX];
	struct dx_place place;
	const char *outer;
	enum dx_where at;

	if (likely(!dx_active()))
		return REAL(realpath)(path, resolved);
	at = dx_maybe(AT_FDCWD, path) ? dx_locate(AT_FDCWD, path, &place) : DX_REAL;
	if (at != DX_NODE && at != DX_TREE) {
		/* A relative path may start inside the session's tree. */
		char *result = REAL(realpath)(path, resolved);

		if (result && (outer = dx_outer(result)))
			memmove(result, outer, strlen(outer) + 1);
		return result;
	}
	if (!REAL(realpath)(place.path, whole))
		return NULL;
	outer = dx_outer(whole) ? dx_outer(whole) : whole;
	return resolved ? strcpy(resolved, outer) : strdup(outer);
}

EXPORT char *__realpath_chk(const char *path, char *resolved, size_t room);
EXPORT char *__realpath_chk(const char *path, char *resolved, size_t room)
{
	if (room < PATH_MAX)
		abort();
	return realpath(path, resolved);
}

EXPORT char *canonicalize_file_name(const char *path)
{
	return realpath(path, NULL);
}

EXPORT int chdir(const char *path)
{
	struct dx_place place;
	enum dx_where at = dx_active() && dx_maybe(AT_FDCWD, path) ? dx_locate(AT_FDCWD, path, &place) : DX_REAL;
	int result = REAL(chdir)(at == DX_NODE || at == DX_TREE ? place.path : path);

	if (result == 0 && dx_active() && dx_owns_memory())
		dx_update_cwd();
	return result;
}

EXPORT int fchdir(int fd)
{
	int result = REAL(fchdir)(fd);

	if (result == 0 && dx_active() && (dx_cwd[0] || dx_marked(fd)) && dx_owns_memory())
		dx_update_cwd();
	return result;
}

EXPORT char *getcwd(char *buffer, size_t size)
{
	char *result = REAL(getcwd)(buffer, size);
	const char *outer = result ? dx_outer(result) : NULL;

	if (outer)
		memmove(result, outer, strlen(outer) + 1);
	return result;
}

EXPORT char *__getcwd_chk(char *buffer, size_t size, size_t room);
EXPORT char *__getcwd_chk(char *buffer, size_t size, size_t room)
{
	if (size > room)
		abort();
	return getcwd(buffer, size);
}
