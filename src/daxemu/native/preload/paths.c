/* SPDX-License-Identifier: MIT */
/* Which paths are ours, and where in the session they lead. */
#include "preload.h"

#include <ctype.h>
#include <string.h>

#include "real.h"

char dx_cwd[PATH_MAX];

static bool below(const char *path, const char *directory)
{
	size_t n = strlen(directory);

	return strncmp(path, directory, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* Behind a name, digits that end it or, with `dotted`, a dot and more digits. */
static bool is_numbered(const char *at, bool dotted)
{
	size_t n = strspn(at, "0123456789");

	if (n == 0)
		return false;
	at += n;
	if (dotted && *at == '.')
		return is_numbered(at + 1, false);
	return *at == 0 || *at == '/';
}

/* Names of nodes of dax devices, and of the nvdimm bus. All of them are ours, there or not. */
static bool is_node_name(const char *name)
{
	if (strncmp(name, "dax", 3) == 0)
		return is_numbered(name + 3, true) && strchr(name, '.');
	if (strncmp(name, "pmem", 4) == 0)
		return is_numbered(name + 4, true);
	return (strncmp(name, "nmem", 4) == 0 && is_numbered(name + 4, false)) ||
	       (strncmp(name, "ndctl", 5) == 0 && is_numbered(name + 5, false));
}

/* Path below the session's directory; false if it grows too long. */
static bool inner(const char *path, char out[PATH_MAX])
{
	size_t n = dx_session.directory_length, m = strlen(path);

	if (n + m >= PATH_MAX)
		return false;
	memcpy(out, dx_session.directory, n);
	memcpy(out + n, path, m + 1);
	return true;
}

static bool is_symlink_in_session(const char *path)
{
	char ours[PATH_MAX];
	struct stat st;

	dx_show(path);
	return inner(path, ours) && REAL(lstat)(ours, &st) == 0 && S_ISLNK(st.st_mode);
}

/* Drop "//", "/." and, where no symbolic link is in the way, "x/..": in place. */
static void normalise(char *path)
{
	char *out = path, *in = path;

	while (*in) {
		size_t n;

		while (*in == '/')
			in++;
		n = strcspn(in, "/");
		if (n == 0) {
			break;
		} else if (n == 1 && in[0] == '.') {
			in++;
			continue;
		} else if (n == 2 && in[0] == '.' && in[1] == '.') {
			char end = *out;

			*out = 0;
			if (!is_symlink_in_session(path)) {
				char *slash = strrchr(path, '/');

				out = slash ? slash : path;
				in += 2;
				continue;
			}
			*out = end;
		}
		*out++ = '/';
		memmove(out, in, n);
		out += n;
		in += n;
	}
	if (out == path)
		*out++ = '/';
	*out = 0;
}

static bool cwd_in_session;

/*
 * The absolute path that (dirfd, path) means, as programs know it; false if it cannot be ours.
 * *inside: it begins at a directory of the session, where nothing of the machine's is.
 */
static bool absolute(int dirfd, const char *path, char out[PATH_MAX], bool *inside)
{
	size_t n = 0;

	*inside = false;

	if (path[0] != '/') {
		if (dirfd >= 0) {
			const char *outer;

			if (dx_fd_path(dirfd, out) < 0)
				return false;
			outer = dx_outer(out);
			*inside = outer != NULL;
			n = strlen(outer ? outer : out);
			if (outer)
				memmove(out, outer, n + 1);
		} else {
			*inside = cwd_in_session;
			n = strlen(dx_cwd);
			memcpy(out, dx_cwd, n);
		}
		out[n++] = '/';
	}
	if (n + strlen(path) >= PATH_MAX)
		return false;
	strcpy(out + n, path);
	return true;
}

static enum dx_where locate_sys(const char *path, char ours[PATH_MAX])
{
	struct stat st, real;

	dx_show(path);
	if (dx_owned(path))
		return DX_TREE;
	if (REAL(lstat)(ours, &st) < 0)
		return DX_REAL;
	if (S_ISDIR(st.st_mode) && REAL(lstat)(path, &real) == 0 && S_ISDIR(real.st_mode))
		return DX_MERGED;
	return DX_TREE;
}

enum dx_where dx_locate(int dirfd, const char *path, struct dx_place *place)
{
	char whole[PATH_MAX];
	bool slash, inside;

	place->where = DX_REAL;
	if (!dx_maybe(dirfd, path) || !path[0] || !absolute(dirfd, path, whole, &inside))
		return DX_REAL;
	slash = whole[strlen(whole) - 1] == '/';
	normalise(whole);
	if (strcmp(whole, "/") == 0 || strcmp(whole, "/dev") == 0 || strcmp(whole, "/sys") == 0)
		place->where = DX_MERGED;
	else if (below(whole, "/dev"))
		place->where = is_node_name(whole + 5) ? DX_NODE : DX_REAL;
	else if (below(whole, "/sys") && inner(whole, place->path))
		place->where = locate_sys(whole, place->path);
	if (place->where == DX_REAL && inside && below(whole, "/sys") && strstr(path, "..") == NULL)
		place->where = DX_TREE;
	if (place->where != DX_REAL && !inner(whole, place->path))
		place->where = DX_REAL;
	if (slash && (place->where == DX_NODE || place->where == DX_TREE) && strlen(place->path) + 1 < PATH_MAX)
		strcat(place->path, "/");
	return place->where;
}

/* Is the directory of this path /dev by another name? Then the path becomes the name that all know. */
static bool in_dev(int dirfd, char path[PATH_MAX], const char *slash)
{
	struct stat dev, st;
	char name[64], directory[PATH_MAX];
	size_t n = slash ? (size_t)(slash - path) : 0;

	memcpy(directory, path, n);
	directory[n] = 0;
	if (REAL(stat)("/dev", &dev) < 0 || REAL(fstatat)(dirfd, n ? directory : slash ? "/" : ".", &st, 0) < 0 ||
	    st.st_dev != dev.st_dev || st.st_ino != dev.st_ino)
		return false;
	snprintf(name, sizeof(name), "%s", slash ? slash + 1 : path);
	snprintf(path, PATH_MAX, "/dev/%s", name);
	return true;
}

static SLOW enum dx_where follow(int dirfd, const char *path, struct dx_place *place)
{
	char at[PATH_MAX], target[PATH_MAX];
	enum dx_where where;

	if (strlen(path) >= sizeof(at))
		return DX_REAL;
	strcpy(at, path);
	for (int links = 0; links < 8; links++) {
		char *slash = strrchr(at, '/'), *name = slash ? slash + 1 : at;
		ssize_t n;

		if (is_node_name(name) && in_dev(dirfd, at, slash))
			return dx_locate(AT_FDCWD, at, place);
		n = REAL(readlinkat)(dirfd, at, target, sizeof(target) - 1);
		if (n <= 0)
			return DX_REAL;
		target[n] = 0;
		if (target[0] == '/')
			name = at;
		if ((size_t)(name - at) + n >= sizeof(at))
			return DX_REAL;
		memcpy(name, target, n + 1);
		where = dx_locate(at[0] == '/' ? AT_FDCWD : dirfd, at, place);
		if (where != DX_REAL)
			return where;
	}
	return DX_REAL;
}

enum dx_where dx_locate_target(int dirfd, const char *path, struct dx_place *place)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	char some;

	if (!path || (!is_node_name(slash ? slash + 1 : path) && REAL(readlinkat)(dirfd, path, &some, 1) <= 0))
		return DX_REAL;
	return follow(dirfd, path, place);
}

const char *dx_outer(const char *path)
{
	size_t n = dx_session.directory_length;

	if (!dx_active() || strncmp(path, dx_session.directory, n) || (path[n] && path[n] != '/'))
		return NULL;
	return path[n] ? path + n : "/";
}

bool dx_hidden(const char *directory, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	if (strcmp(directory, "/dev") == 0)
		return is_node_name(name);
	if (strcmp(directory, "/") == 0)
		return false;
	if (snprintf(path, sizeof(path), "%s%s/%s", dx_session.directory, directory, name) >= (int)sizeof(path))
		return false;
	return REAL(lstat)(path, &st) == 0 || dx_owned(path + dx_session.directory_length);
}

void dx_update_cwd(void)
{
	struct dx_place place;
	char path[PATH_MAX];

	dx_cwd[0] = 0;
	cwd_in_session = false;
	if (!REAL(getcwd)(path, sizeof(path)) || path[0] != '/')
		return;
	if (dx_outer(path)) {
		strcpy(dx_cwd, dx_outer(path));
		cwd_in_session = true;
	} else if (dx_locate(AT_FDCWD, path, &place) == DX_MERGED || dx_owned(path))
		strcpy(dx_cwd, path);
}
