/* SPDX-License-Identifier: MIT */
/*
 * What /proc tells of devices. The kernel knows the file behind a device, and says so; programs get
 * a copy that says what it would say of the device. Made with system calls only: open(2) may be
 * called in a signal handler.
 */
#include "preload.h"

#include <sys/syscall.h>

#include "real.h"
#include "text.h"
#include "views.h"

static const char prefix[] = "/memfd:/proc/", deleted[] = " (deleted)";

/* The line of a mapping's view that begins at this address; NULL if none does. */
static const char *mapping_at(const struct dx_text *maps, const char *address, size_t digits)
{
	const char *line;
	size_t at = 0, length;

	while ((line = dx_text_line(maps, &at, &length))) {
		if (length > digits && memcmp(line, address, digits) == 0 && line[digits] == '-')
			return line;
	}
	return NULL;
}

/* numa_maps: "address policy file=…". Which of them are devices stands in maps, here in its view. */
static bool show_policies(const struct dx_text *in, struct dx_text *out, const struct dx_text *maps)
{
	const char *line;
	size_t at = 0, length;
	bool any = false;

	while ((line = dx_text_line(in, &at, &length))) {
		const char *file = memmem(line, length, " file=", 6), *space = memchr(line, ' ', length);
		const char *mapping = file && space ? mapping_at(maps, line, space - line) : NULL;
		const char *end = mapping ? strchr(mapping, '\n') : NULL, *name = end ? memmem(mapping, end - mapping, " /dev/dax", 9) : NULL;

		if (name) {
			dx_text_append(out, line, file - line);
			dx_text_print(out, " file=%.*s\n", (int)(strcspn(name + 1, " \n")), name + 1);
			any = true;
		} else if (!file || mapping) { /* else: joined to the one before */
			dx_text_append(out, line, length);
		}
	}
	return any;
}

/* devices: character devices by number, an empty line, block devices. */
static bool show_numbers(const struct dx_text *in, struct dx_text *out)
{
	const unsigned long major = dx_table_header(dx_session.table)->major;
	const char *line;
	size_t at = 0, length;
	bool done = false;

	while ((line = dx_text_line(in, &at, &length))) {
		if (!done && (*line == '\n' || (*line != 'C' && strtoul(line, NULL, 10) > major))) {
			dx_text_print(out, "%3lu dax\n", major);
			done = true;
		}
		dx_text_append(out, line, length);
	}
	return done;
}

int dx_open_beside(const char *path, const char *name)
{
	char other[LINK];

	snprintf(other, sizeof(other), "%.*s/%s", (int)(strrchr(path, '/') - path), path, name);
	return syscall(SYS_openat, AT_FDCWD, other, O_RDONLY | O_CLOEXEC);
}

static struct dx_text maps_beside(const char *path)
{
	struct dx_text raw, out = dx_text_new();
	long fd = dx_open_beside(path, "maps");

	raw = dx_text_read(fd);
	syscall(SYS_close, fd);
	if (raw.at && out.at)
		dx_show_mappings(&raw, &out, path);
	dx_text_drop(&raw);
	dx_text_append(&out, "", 1);
	return out;
}

/* The view of a file of /proc; without memory if there is nothing to change in it. */
static struct dx_text view_of(int fd, const char *path)
{
	struct dx_text raw = dx_text_read(fd), out = dx_text_new(), maps = { 0 };
	const char *name = strrchr(path, '/') + 1;
	bool any = false;

	dx_text_append(&raw, "", 1);
	raw.used--;
	if (!raw.at || !out.at)
		any = false;
	else if (strcmp(name, "devices") == 0)
		any = show_numbers(&raw, &out);
	else if (strcmp(name, "numa_maps") == 0 && (maps = maps_beside(path)).at)
		any = show_policies(&raw, &out, &maps);
	else if (strcmp(name, "maps") == 0 || strcmp(name, "smaps") == 0)
		any = dx_show_mappings(&raw, &out, path);
	dx_text_drop(&maps);
	dx_text_drop(&raw);
	if (!any)
		dx_text_drop(&out);
	return out;
}

bool dx_names_view(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	return strcmp(name, "maps") == 0 || strcmp(name, "smaps") == 0 || strcmp(name, "numa_maps") == 0 ||
	       strcmp(name, "devices") == 0;
}

static bool link_of(int fd, char link[LINK])
{
	char path[32];
	long n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = syscall(SYS_readlinkat, AT_FDCWD, path, link, LINK);
	if (n <= 0 || n >= LINK)
		return false;
	link[n] = 0;
	return true;
}

static void write_all(int fd, const struct dx_text *text)
{
	for (size_t at = 0; at < text->used;) {
		long n = syscall(SYS_pwrite64, fd, text->at + at, text->used - at, at);

		if (n <= 0 && errno != EINTR)
			return;
		at += n > 0 ? n : 0;
	}
}

static long open_again(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return syscall(SYS_openat, AT_FDCWD, path, flags);
}

static SLOW void replace(int fd, int flags, const char *path, const struct dx_text *view)
{
	long copy = syscall(SYS_memfd_create, path, 1U /* MFD_CLOEXEC */), reader;

	if (copy < 0)
		return;
	write_all(copy, view);
	syscall(SYS_fchmod, copy, 0644);
	reader = open_again(copy, O_RDONLY | O_CLOEXEC);
	syscall(SYS_close, copy);
	if (reader < 0)
		return;
	syscall(SYS_dup3, reader, fd, flags & O_CLOEXEC);
	syscall(SYS_close, reader);
	dx_mark(fd, MARK_VIEW | MARK_FRESH);
}

SLOW void dx_view(int fd, int flags)
{
	char path[LINK];
	int saved = errno;
	struct dx_text view;

	if ((flags & (O_PATH | O_ACCMODE)) || !link_of(fd, path) || strncmp(path, "/proc/", 6) ||
	    (strcmp(strrchr(path, '/'), "/devices") == 0 && strcmp(path, "/proc/devices")))
		return;
	view = view_of(fd, path);
	if (view.at)
		replace(fd, flags, path, &view);
	if (!(dx_marked(fd) & MARK_VIEW))
		syscall(SYS_lseek, fd, 0, SEEK_SET);
	dx_text_drop(&view);
	errno = saved;
}

bool dx_view_path(char *path)
{
	size_t n = strlen(path), tail = strlen(deleted);

	if (strncmp(path, prefix, strlen(prefix)) || n < tail || strcmp(path + n - tail, deleted))
		return false;
	n -= tail + strlen("/memfd:");
	memmove(path, path + strlen("/memfd:"), n);
	path[n] = 0;
	return true;
}

SLOW void dx_refresh_view(int fd)
{
	char path[LINK];
	long source, writer;
	struct dx_text view;
	int saved = errno;

	if (!link_of(fd, path) || !dx_view_path(path)) { /* the number belongs to something else by now */
		dx_mark(fd, 0);
	} else if (dx_marked(fd) & MARK_FRESH) {
		dx_mark(fd, MARK_VIEW);
	} else if (syscall(SYS_lseek, fd, 0, SEEK_CUR) == 0 && (source = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC)) >= 0) {
		view = view_of(source, path);
		if (!view.at) { /* no device is mapped any longer */
			syscall(SYS_lseek, source, 0, SEEK_SET);
			view = dx_text_read(source);
		}
		writer = open_again(fd, O_RDWR | O_CLOEXEC);
		if (view.at && writer >= 0) {
			write_all(writer, &view);
			syscall(SYS_ftruncate, writer, view.used);
		}
		syscall(SYS_close, writer);
		syscall(SYS_close, source);
		dx_text_drop(&view);
	}
	errno = saved;
}
