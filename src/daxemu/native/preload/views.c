/* SPDX-License-Identifier: MIT */
/*
 * What /proc tells of devices. The kernel knows the file behind a device, and says so; programs get
 * a copy that says what it would say of the device. Made with system calls only: open(2) may be
 * called in a signal handler.
 */
#include "preload.h"

#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "maps.h"
#include "real.h"
#include "text.h"

enum { LINK = 64 }; /* "/memfd:/proc/4194304/task/4194304/numa_maps (deleted)" */

static const char prefix[] = "/memfd:/proc/", deleted[] = " (deleted)";

/* The mapping whose lines are being written. */
struct shown {
	bool own; /* a mapping of this process */
	bool ours;
	struct dx_vma vma;
	struct table_device device;
	size_t begin; /* of its first line */
};

/* Two parts of one mapping, between which only our reasons for SIGBUS make a difference? */
static bool continues(const struct shown *before, const struct dx_vma *vma)
{
	const struct dx_vma *old = &before->vma;

	return before->ours && old->end == vma->start && old->ino == vma->ino && old->dev == vma->dev && old->prot == vma->prot &&
	       ((old->offset ^ vma->offset) & DX_MOVED) &&
	       (old->offset & ~DX_MOVED) + (old->end - old->start) == (vma->offset & ~DX_MOVED);
}

static void print_mapping(struct dx_text *out, const struct shown *shown)
{
	char name[DX_NODE_NAME], line[128];
	const struct dx_vma *vma = &shown->vma;
	struct stat node = { .st_ino = vma->ino, .st_dev = dx_session.dev_of_dev };
	struct table_node unlinked;
	int n;

	if (!dx_device_node(&shown->device, name, &node) && (shown->device.flags & DX_DEVICE_PRESENT) &&
	    dx_table_node(dx_session.table, shown->device.minor, &unlinked))
		node.st_ino = unlinked.ino;
	n = snprintf(line, sizeof(line), "%08lx-%08lx %c%c%cs %08lx %02x:%02x %lu", (unsigned long)vma->start, (unsigned long)vma->end,
		     vma->prot & PROT_READ ? 'r' : '-', vma->prot & PROT_WRITE ? 'w' : '-', vma->prot & PROT_EXEC ? 'x' : '-',
		     (unsigned long)(vma->offset & ~DX_MOVED), major(node.st_dev), minor(node.st_dev), (unsigned long)node.st_ino);
	dx_text_print(out, "%-72.*s %s\n", n, line, name);
}

/* The line that begins a mapping; false if it is none of a device. */
static bool show_mapping(struct dx_text *out, const char *line, struct shown *shown)
{
	struct shown next = { .own = shown->own, .begin = out->used };

	dx_parse_vma(line, &next.vma);
	next.ours = next.vma.shared && dx_table_device_by_file(dx_session.table, next.vma.dev, next.vma.ino, &next.device);
	if (next.ours && continues(shown, &next.vma)) {
		next.vma.start = shown->vma.start;
		next.vma.offset = (shown->vma.offset & ~DX_MOVED) | (next.vma.offset & DX_MOVED);
		next.begin = out->used = shown->begin;
	}
	*shown = next;
	if (next.ours)
		print_mapping(out, &next);
	return next.ours;
}

/*
 * Flags of a device's mapping: it asks for huge pages, and is never locked. One made by a descriptor for reading
 * is to the kernel neither shared nor to be made writable (see readonly.c; of other processes that is not known).
 */
static void show_flags(struct dx_text *out, const char *line, size_t length, const struct shown *shown)
{
	static const char changed[][3] = { "lo", "nh", "hg", "mg", "sd", "sh", "mw" };
	const struct dx_vma *vma = &shown->vma;
	bool readonly = shown->own && dx_in_ranges(&dx_readonly, (void *)vma->start, vma->end - vma->start);
	size_t n = sizeof(changed) / sizeof(*changed) - (readonly ? 0 : 2);

	dx_text_append(out, "VmFlags:", 8);
	for (const char *at = line + 8; at + 3 <= line + length; at += 3) {
		bool keep = at[1] != '\n';

		for (size_t i = 0; i < n; i++)
			keep = keep && memcmp(at + 1, changed[i], 2);
		if (keep)
			dx_text_append(out, at, 3);
	}
	dx_text_append(out, " sd hg \n", 8);
}

/* A line of smaps below that one. No page of a device is counted anywhere. */
static void show_detail(struct dx_text *out, const char *line, size_t length, const struct shown *shown)
{
	const char *colon = memchr(line, ':', length);
	uint64_t align = shown->device.align ? shown->device.align : 4096, kib = 0;
	int name = colon ? colon + 1 - line : 0;

	if (!name)
		dx_text_append(out, line, length);
	else if (strncmp(line, "VmFlags:", name) == 0)
		show_flags(out, line, length, shown);
	else if (length < 4 || memcmp(line + length - 4, " kB\n", 4))
		dx_text_append(out, line, length);
	else {
		if (strncmp(line, "Size:", name) == 0)
			kib = (shown->vma.end - shown->vma.start) >> 10;
		else if (strncmp(line, "KernelPageSize:", name) == 0 || strncmp(line, "MMUPageSize:", name) == 0)
			kib = align >> 10;
		dx_text_print(out, "%-16.*s%8lu kB\n", name, line, (unsigned long)kib);
	}
}

static bool begins_mapping(const char *line, size_t length)
{
	return length > 2 && ((line[0] >= '0' && line[0] <= '9') || (line[0] >= 'a' && line[0] <= 'f'));
}

static bool is_own(const char *path)
{
	char own[LINK];
	int n = snprintf(own, sizeof(own), "/proc/%d/", getpid());

	return strncmp(path, own, n) == 0;
}

/* maps and smaps; true if there is a device in it. */
static bool show_mappings(const struct dx_text *in, struct dx_text *out, const char *path)
{
	struct shown shown = { .own = is_own(path) };
	const char *line;
	size_t at = 0, length;
	bool any = false;

	while ((line = dx_text_line(in, &at, &length))) {
		if (begins_mapping(line, length) ? show_mapping(out, line, &shown) : shown.ours) {
			any = true;
			if (!begins_mapping(line, length))
				show_detail(out, line, length, &shown);
		} else {
			dx_text_append(out, line, length);
		}
	}
	return any;
}

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

static struct dx_text maps_beside(const char *path)
{
	char other[LINK];
	int n = strrchr(path, '/') - path;
	struct dx_text raw, out = dx_text_new();
	long fd;

	snprintf(other, sizeof(other), "%.*s/maps", n, path);
	fd = syscall(SYS_openat, AT_FDCWD, other, O_RDONLY | O_CLOEXEC);
	raw = dx_text_read(fd);
	syscall(SYS_close, fd);
	if (raw.at && out.at)
		show_mappings(&raw, &out, other);
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
		any = show_mappings(&raw, &out, path);
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
