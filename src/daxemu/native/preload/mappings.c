/* SPDX-License-Identifier: MIT */
/* The views of maps and smaps: mappings of a device as the kernel would tell of them. */
#include "preload.h"

#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "maps.h"
#include "real.h"
#include "text.h"
#include "views.h"

/* The mapping whose lines are being written. */
struct shown {
	bool ours;
	struct dx_vma vma;
	struct table_device device;
	size_t begin; /* of its first line */
	uint64_t counted; /* bytes that smaps counts */
};

/* Whose mappings they are. */
struct process {
	pid_t pid; /* 0: this process */
	uintptr_t library; /* where another one has this library; 0 if it has not */
	int pagemap;
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

/* What the kernel counts of a mapping: the blocks that are in the page tables, if they are of the one size that it counts. */
static uint64_t count(const struct shown *shown, const struct process *process)
{
	const uint64_t align = shown->device.align;
	uint64_t counted = 0;
	uintptr_t after;

	if (process->pagemap < 0 || align != 2 << 20)
		return 0;
	for (uintptr_t at = shown->vma.start; at < shown->vma.end; at = after) {
		after = (at & ~(align - 1)) + align;
		after = after < shown->vma.end ? after : shown->vma.end;
		if (dx_is_present_in(process->pagemap, at, after))
			counted += after - at;
	}
	return counted;
}

/* The line that begins a mapping; false if it is none of a device. */
static bool show_mapping(struct dx_text *out, const char *line, struct shown *shown, const struct process *process)
{
	struct shown next = { .begin = out->used };

	dx_parse_vma(line, &next.vma);
	next.ours = next.vma.shared && dx_table_device_by_file(dx_session.table, next.vma.dev, next.vma.ino, &next.device);
	next.counted = next.ours ? count(&next, process) : 0;
	if (next.ours && continues(shown, &next.vma)) {
		next.counted += shown->counted;
		next.vma.start = shown->vma.start;
		next.vma.offset = (shown->vma.offset & ~DX_MOVED) | (next.vma.offset & DX_MOVED);
		next.begin = out->used = shown->begin;
	}
	*shown = next;
	if (next.ours)
		print_mapping(out, &next);
	return next.ours;
}

static bool is_remembered(const struct dx_ranges *ranges, const struct shown *shown, const struct process *process)
{
	const void *at = (void *)shown->vma.start;
	size_t length = shown->vma.end - shown->vma.start;

	if (!process->pid)
		return dx_in_ranges(ranges, at, length);
	return process->library && dx_in_ranges_of(process->pid, process->library, ranges, at, length);
}

/*
 * Flags of a device's mapping: it asks for huge pages, is never locked, nor tracked (see pmem_scan.c). One made by a descriptor for reading
 * is to the kernel neither shared nor to be made writable (see ranges.c).
 */
static void show_flags(struct dx_text *out, const char *line, size_t length, const struct shown *shown, const struct process *process)
{
	static const char changed[][3] = { "lo", "nh", "hg", "mg", "sd", "sf", "uw", "sh", "mw" };
	bool synchronous = is_remembered(&dx_synchronous, shown, process);
	size_t n = sizeof(changed) / sizeof(*changed) - (is_remembered(&dx_readonly, shown, process) ? 0 : 2);

	dx_text_append(out, "VmFlags:", 8);
	for (const char *at = line + 8; at + 3 <= line + length; at += 3) {
		bool keep = at[1] != '\n';

		for (size_t i = 0; i < n; i++)
			keep = keep && memcmp(at + 1, changed[i], 2);
		if (synchronous && (at[1] == '\n' || memcmp(at + 1, "dd", 2) == 0)) {
			dx_text_append(out, " sf", 3);
			synchronous = false;
		}
		if (keep)
			dx_text_append(out, at, 3);
	}
	dx_text_append(out, synchronous ? " sf sd hg \n" : " sd hg \n", synchronous ? 11 : 8);
}

/* Lines of smaps that tell of what is counted: all of it is this process's alone, and was used of late. */
static bool tells_count(const char *line, int name, const struct shown *shown)
{
	static const char *const always[] = { "Rss:", "Pss:", "Referenced:" };
	static const char *const dirty[] = { "Pss_Dirty:", "Private_Dirty:" };

	for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++)
		if (strncmp(line, always[i], name) == 0)
			return true;
	/* Which blocks have been stored to is not known: all that could be. */
	if (!(shown->vma.prot & PROT_WRITE))
		return strncmp(line, "Private_Clean:", name) == 0;
	for (size_t i = 0; i < sizeof(dirty) / sizeof(*dirty); i++)
		if (strncmp(line, dirty[i], name) == 0)
			return true;
	return false;
}

/* A line of smaps below that one. */
static void show_detail(struct dx_text *out, const char *line, size_t length, const struct shown *shown, const struct process *process)
{
	const char *colon = memchr(line, ':', length);
	uint64_t align = shown->device.align ? shown->device.align : 4096, kib = 0;
	int name = colon ? colon + 1 - line : 0;

	if (!name)
		dx_text_append(out, line, length);
	else if (strncmp(line, "VmFlags:", name) == 0)
		show_flags(out, line, length, shown, process);
	else if (length < 4 || memcmp(line + length - 4, " kB\n", 4))
		dx_text_append(out, line, length);
	else {
		if (strncmp(line, "Size:", name) == 0)
			kib = (shown->vma.end - shown->vma.start) >> 10;
		else if (strncmp(line, "KernelPageSize:", name) == 0 || strncmp(line, "MMUPageSize:", name) == 0)
			kib = align >> 10;
		else if (tells_count(line, name, shown))
			kib = shown->counted >> 10;
		dx_text_print(out, "%-16.*s%8lu kB\n", name, line, (unsigned long)kib);
	}
}

static bool begins_mapping(const char *line, size_t length)
{
	return length > 2 && ((line[0] >= '0' && line[0] <= '9') || (line[0] >= 'a' && line[0] <= 'f'));
}

/* Where the process whose mappings these are has this library, or 0. */
static uintptr_t find_library(const struct dx_text *maps)
{
	struct dx_vma own, vma;
	const char *line;
	size_t at = 0, length;

	if (dx_find_vma(dx_library(), &own) != 1)
		return 0;
	while ((line = dx_text_line(maps, &at, &length))) {
		if (!begins_mapping(line, length))
			continue;
		dx_parse_vma(line, &vma);
		if (vma.dev == own.dev && vma.ino == own.ino && vma.offset == own.offset)
			return vma.start;
	}
	return 0;
}

bool dx_show_mappings(const struct dx_text *in, struct dx_text *out, const char *path)
{
	bool details = strcmp(strrchr(path, '/'), "/smaps") == 0, any = false;
	struct process process = { .pid = strtoul(path + strlen("/proc/"), NULL, 10), .pagemap = -1 };
	struct shown shown = { 0 };
	const char *line;
	size_t at = 0, length;

	if (process.pid == getpid())
		process.pid = 0;
	else if (details)
		process.library = find_library(in);
	if (details && dx_quirk(DX_QUIRK_COUNTS_TOUCHED_BLOCKS))
		process.pagemap = dx_open_beside(path, "pagemap");
	while ((line = dx_text_line(in, &at, &length))) {
		if (begins_mapping(line, length) ? show_mapping(out, line, &shown, &process) : shown.ours) {
			any = true;
			if (!begins_mapping(line, length))
				show_detail(out, line, length, &shown, &process);
		} else {
			dx_text_append(out, line, length);
		}
	}
	if (process.pagemap >= 0)
		syscall(SYS_close, process.pagemap);
	return any;
}
