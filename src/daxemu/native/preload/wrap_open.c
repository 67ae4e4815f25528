/* SPDX-License-Identifier: MIT */
/* open and its relatives. */
#include "preload.h"

#include <stdarg.h>
#include <string.h>

#include "real.h"

static int open_tree(const char *path, int flags)
{
	struct stat st;
	int fd, mode = flags & O_ACCMODE;

	if ((flags & O_CREAT) && (flags & O_EXCL) && REAL(lstat)(path, &st) == 0)
		return -EEXIST;
	/* Mode bits bind root too. */
	if (!(flags & O_PATH) && REAL(stat)(path, &st) == 0 && S_ISREG(st.st_mode) &&
	    ((mode != O_WRONLY && !(st.st_mode & 0444)) || (mode != O_RDONLY && !(st.st_mode & 0222))))
		return -EACCES;
	if (flags & O_CREAT && REAL(stat)(path, &st) < 0)
		return -EACCES;
	fd = REAL(open)(path, flags & ~(O_CREAT | O_EXCL | O_TRUNC));
	if (fd < 0)
		return -errno;
	dx_mark(fd, MARK_TREE);
	return fd;
}

static bool minor_at(int dirfd, const char *path, int flags, uint32_t *minor)
{
	static const int rights[] = { R_OK, W_OK, R_OK | W_OK, R_OK | W_OK };
	struct stat st;
	int saved = errno;
	bool found = REAL(fstatat)(dirfd, path, &st, 0) == 0 && dx_node_minor(&st, false, minor);

	found = found && REAL(faccessat)(dirfd, path, rights[flags & O_ACCMODE], AT_EACCESS) == 0;
	errno = saved;
	return found;
}

/* The kernel has opened the file behind a device; the device answers by its own rules. */
static int reopened(int fd, int flags)
{
	struct table_device device;
	int again;

	if ((flags & O_PATH) || !dx_fd_device(fd, &device))
		return fd;
	again = dx_open_device(device.minor, flags);
	close(fd);
	return dx_edge(again);
}

/* The kernel could not open it: a link to something of ours, or an alias? */
static SLOW int open_failed(int dirfd, const char *path, int flags)
{
	struct dx_place place;
	uint32_t minor;

	if (errno == ENOENT && !(flags & (O_NOFOLLOW | O_CREAT))) {
		enum dx_where at = dx_locate_target(dirfd, path, &place);

		if (at == DX_NODE || at == DX_TREE)
			return dx_edge(at == DX_NODE ? dx_open_node(place.path, flags) : open_tree(place.path, flags));
		errno = ENOENT;
	}
	/* A node made by a real mknod: no driver, or a mount or a container that allows none. */
	if ((errno == ENXIO || errno == ENODEV || errno == EACCES || errno == EPERM) && path &&
	    minor_at(dirfd, path, flags, &minor))
		return dx_edge(dx_open_device(minor, flags));
	return -1;
}

static SLOW int open_alias(int fd, int flags)
{
	struct stat st;
	uint32_t minor;

	if (REAL(fstat)(fd, &st) < 0 || !S_ISREG(st.st_mode) || !dx_node_minor(&st, false, &minor))
		return fd;
	if (flags & O_PATH) {
		dx_mark(fd, MARK_DAX);
		return fd;
	}
	close(fd);
	return dx_edge(dx_open_device(minor, flags));
}

/* /proc/self/fd, /dev/fd, /dev/stdin: what they lead to may be ours. */
static SLOW int open_by_descriptor(int fd, int flags)
{
	dx_mark_if_ours(fd);
	return dx_marked(fd) ? reopened(fd, flags) : fd;
}

/* The kernel has opened a file that programs must not reach: they get the emulated one, or none. */
static SLOW int open_instead(int fd, int flags)
{
	struct dx_place place;
	char path[PATH_MAX];

	if (!dx_machine_file(fd, path))
		return fd;
	close(fd);
	return dx_edge(dx_locate(AT_FDCWD, path, &place) == DX_TREE ? open_tree(place.path, flags) : -ENOENT);
}

/* An open that the kernel has answered. */
static int settle(int dirfd, const char *path, int flags, int fd)
{
	if (unlikely(fd < 0))
		return errno == ENOENT || errno == ENXIO || errno == ENODEV || errno == EACCES || errno == EPERM ?
			       open_failed(dirfd, path, flags) :
			       fd;
	if (unlikely(dx_by_descriptor(path)))
		return open_by_descriptor(fd, flags);
	dx_mark(fd, 0);
	if (unlikely(flags & O_ACCMODE) && dx_is_sysfs(fd))
		return open_instead(fd, flags);
	if (unlikely(dx_maybe_view(path)) && dx_names_view(path))
		dx_view(fd, flags);
	return unlikely(dx_table_header(dx_session.table)->nr_aliases) ? open_alias(fd, flags) : fd;
}

static SLOW int open_ours(int dirfd, const char *path, int flags, mode_t mode)
{
	struct dx_place place;
	int fd;

	switch (dx_locate(dirfd, path, &place)) {
	case DX_NODE:
		return dx_edge(dx_open_node(place.path, flags));
	case DX_TREE:
		return dx_edge(open_tree(place.path, flags));
	case DX_MERGED:
		fd = REAL(openat)(dirfd, path, flags, mode);
		if (fd >= 0)
			dx_mark(fd, MARK_MERGED);
		return fd;
	default:
		fd = settle(dirfd, path, flags, REAL(openat)(dirfd, path, flags, mode));
		return fd >= 0 ? open_instead(fd, flags) : fd;
	}
}

static int open_common(int dirfd, const char *path, int flags, mode_t mode)
{
	if (!dx_active())
		return REAL(openat)(dirfd, path, flags, mode);
	if (likely(!dx_maybe(dirfd, path)))
		return settle(dirfd, path, flags, REAL(openat)(dirfd, path, flags, mode));
	return open_ours(dirfd, path, flags, mode);
}

static mode_t mode_of(int flags, va_list arguments)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

EXPORT int open(const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = mode_of(flags, arguments);
	va_end(arguments);
	return open_common(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int dirfd, const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = mode_of(flags, arguments);
	va_end(arguments);
	return open_common(dirfd, path, flags, mode);
}

EXPORT int creat(const char *path, mode_t mode)
{
	return open_common(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int open64(const char *path, int flags, ...) ALIAS(open);
int openat64(int dirfd, const char *path, int flags, ...) ALIAS(openat);
int creat64(const char *path, mode_t mode) ALIAS(creat);

EXPORT int __open_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags)
{
	return open_common(AT_FDCWD, path, flags, 0);
}

EXPORT int __openat_2(int dirfd, const char *path, int flags);
EXPORT int __openat_2(int dirfd, const char *path, int flags)
{
	return open_common(dirfd, path, flags, 0);
}

int __open64_2(const char *path, int flags) ALIAS(__open_2);
int __openat64_2(int dirfd, const char *path, int flags) ALIAS(__openat_2);

static int flags_of(const char *mode)
{
	int flags = strchr(mode, '+') ? O_RDWR : mode[0] == 'r' ? O_RDONLY : O_WRONLY;

	if (strchr(mode, 'e'))
		flags |= O_CLOEXEC;
	if (strchr(mode, 'x'))
		flags |= O_EXCL;
	return flags | (mode[0] == 'a' ? O_APPEND | O_CREAT : mode[0] == 'w' ? O_CREAT | O_TRUNC : 0);
}

/* Is there more to do than the C library's own streams would do? */
static bool opens_ours(const char *path)
{
	struct dx_place place;

	if (likely(!dx_active()))
		return false;
	if (likely(!dx_maybe(AT_FDCWD, path)))
		return path && unlikely(dx_maybe_view(path)) && dx_names_view(path);
	return dx_locate(AT_FDCWD, path, &place) != DX_REAL;
}

/* The same for what the C library has opened for writing. */
static FILE *settle_stream(FILE *file, const char *mode)
{
	char path[PATH_MAX];

	if (likely(!file || !dx_active() || (mode[0] == 'r' && !strchr(mode, '+')) || !dx_is_sysfs(fileno(file)) ||
		   !dx_machine_file(fileno(file), path)))
		return file;
	fclose(file);
	return fopen(path, mode);
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
	FILE *file;
	int fd;

	if (likely(!opens_ours(path)))
		return settle_stream(REAL(fopen)(path, mode), mode);
	fd = open_common(AT_FDCWD, path, flags_of(mode), 0666);
	if (fd < 0)
		return NULL;
	file = fdopen(fd, mode);
	if (!file)
		close(fd);
	return file;
}

EXPORT FILE *fdopen(int fd, const char *mode)
{
	if (unlikely(dx_marked(fd)) && mode[0] != 'r' && dx_fd_attribute(fd))
		return dx_attribute_stream(fd);
	return REAL(fdopen)(fd, mode);
}

EXPORT FILE *freopen(const char *path, const char *mode, FILE *stream)
{
	char link[32];
	FILE *file;
	int fd;

	if (likely(!opens_ours(path)))
		return settle_stream(REAL(freopen)(path, mode, stream), mode);
	fd = open_common(AT_FDCWD, path, flags_of(mode), 0666);
	if (fd < 0) {
		fclose(stream);
		return NULL;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	file = REAL(freopen)(link, mode, stream);
	if (file)
		dx_mark_if_ours(fileno(file));
	close(fd);
	return file;
}

FILE *fopen64(const char *path, const char *mode) ALIAS(fopen);
FILE *freopen64(const char *path, const char *mode, FILE *stream) ALIAS(freopen);
