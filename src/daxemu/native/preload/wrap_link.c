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
static ssize_t outer_target(const char *target, int fd, char *buffer, size_t size)
{
	const char *outer = dx_outer(target);
	struct table_device device;
	char node[64];

	if (outer)
		return give(outer, buffer, size);
	if (fd >= 0 && dx_fd_device(fd, &device)) {
		snprintf(node, sizeof(node), "/dev/dax%d.%d", device.region, device.id);
		return give(node, buffer, size);
	}
	return -1;
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
	int fd;

	if (likely(!dx_active()))
		return REAL(readlinkat)(dirfd, path, buffer, size);
	if (path && path[0] == '/' && path[1] == 'p' && (fd = proc_self_fd(path)) >= 0 && dx_marked(fd)) {
		char target[PATH_MAX];
		ssize_t n;

		if (dx_fd_path(fd, target) >= 0 && (n = outer_target(target, fd, buffer, size)) >= 0)
			return n;
	}
	at = dx_maybe(dirfd, path) ? dx_locate(dirfd, path, &place) : DX_REAL;
	if (at == DX_NODE || at == DX_TREE)
		return REAL(readlink)(place.path, buffer, size);
	return REAL(readlinkat)(dirfd, path, buffer, size);
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
