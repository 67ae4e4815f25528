/* SPDX-License-Identifier: MIT */
/* Extended attributes. A device node can have none of the user's; what else there is, the file that stands for it has. */
#include "preload.h"

#include "real.h"

enum kind { OTHER, NODE, TREE };

static enum kind kind_of_path(const char *path, struct dx_place *place)
{
	if (likely(!dx_active() || !dx_maybe(AT_FDCWD, path)))
		return OTHER;
	switch (dx_locate(AT_FDCWD, path, place)) {
	case DX_NODE:
		return NODE;
	case DX_TREE:
		return TREE;
	default:
		return OTHER;
	}
}

static bool is_users(const char *name)
{
	return strncmp(name, "user.", 5) == 0;
}

/* By path: REFUSAL is for the user's attributes of a node. */
#define BY_PATH(type, name, refusal, users, parameters, ...)                                                           \
	EXPORT type name parameters                                                                                    \
	{                                                                                                              \
		struct dx_place place;                                                                                 \
		enum kind kind = kind_of_path(path, &place);                                                           \
                                                                                                                       \
		if (kind == NODE && users)                                                                             \
			return dx_refuse(refusal);                                                                     \
		return REAL(name)(kind == OTHER ? path : place.path, __VA_ARGS__);                                     \
	}

BY_PATH(ssize_t, getxattr, ENODATA, is_users(name), (const char *path, const char *name, void *to, size_t n), name, to, n)
BY_PATH(ssize_t, lgetxattr, ENODATA, is_users(name), (const char *path, const char *name, void *to, size_t n), name, to, n)
BY_PATH(ssize_t, listxattr, 0, false, (const char *path, char *to, size_t n), to, n)
BY_PATH(ssize_t, llistxattr, 0, false, (const char *path, char *to, size_t n), to, n)
BY_PATH(int, setxattr, EPERM, is_users(name), (const char *path, const char *name, const void *from, size_t n, int flags), name, from, n, flags)
BY_PATH(int, lsetxattr, EPERM, is_users(name), (const char *path, const char *name, const void *from, size_t n, int flags), name, from, n, flags)
BY_PATH(int, removexattr, EPERM, is_users(name), (const char *path, const char *name), name)
BY_PATH(int, lremovexattr, EPERM, is_users(name), (const char *path, const char *name), name)

/* By descriptor of a device. */
#define BY_FD(type, name, refusal, parameters, ...)                                                                    \
	EXPORT type name parameters                                                                                    \
	{                                                                                                              \
		return dx_on_device(fd) && is_users(attribute) ? dx_refuse(refusal) : REAL(name)(fd, __VA_ARGS__);     \
	}

BY_FD(ssize_t, fgetxattr, ENODATA, (int fd, const char *attribute, void *to, size_t n), attribute, to, n)
BY_FD(int, fsetxattr, EPERM, (int fd, const char *attribute, const void *from, size_t n, int flags), attribute, from, n, flags)
BY_FD(int, fremovexattr, EPERM, (int fd, const char *attribute), attribute)
