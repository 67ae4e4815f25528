/* SPDX-License-Identifier: MIT */
/*
 * Which pages a process has stored to the kernel knows (Linux 6.7): they are write-protected by userfaultfd, which
 * lifts that at the first store without asking anybody (WP_ASYNC), and PAGEMAP_SCAN tells and protects them anew. What
 * such a page holds is compared line by line. Where the kernel cannot do that, the whole device is compared: slower, but
 * it needs nothing; write protection by mprotect would need the program's SIGSEGV, which is the program's.
 */
#define _GNU_SOURCE
#include "pmem_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xaa, 0)
#endif

enum { PAGE = 4096, MANY = 16 * PAGE, FEW = 2, FOUND = 64, LONGEST_WAIT = 1 << 16 };
enum { AFFORDED = 4 << 20 }; /* bytes to compare at a look, on average, of a device that is compared as a whole */

/* Headers of today's distributions do not declare these yet. */
enum { FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12, FEATURE_WP_UNPOPULATED = 1 << 13, FEATURE_WP_ASYNC = 1 << 15 };
#define NO_SWAP UINT64_MAX
enum { SCAN_WP_MATCHING = 1, SCAN_CHECK_WPASYNC = 2 };
enum { PAGE_IS_WRITTEN = 2, PAGE_IS_PRESENT = 8, PAGE_IS_SWAPPED = 16 };

struct page_region {
	uint64_t start, end, categories;
};

struct scan_argument {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define PAGEMAP_SCAN _IOWR('f', 16, struct scan_argument)

/* -- what lines hold ------------------------------------------------------------------------- */

static bool read_at(int memory, void *to, size_t length, uint64_t offset)
{
	return syscall(SYS_pread64, memory, to, length, offset) == (long)length;
}

static void compare_page(struct dx_pmem_log *log, int memory, uint64_t offset, size_t length, struct dx_pmem_actor actor)
{
	const char *known = log->shadow + offset;
	char page[PAGE];

	if (!read_at(memory, page, length, offset) || memcmp(page, known, length) == 0)
		return;
	for (size_t at = 0; at < length; at += DX_LINE_SIZE)
		if (memcmp(page + at, known + at, DX_LINE_SIZE) != 0)
			dx_pmem_look(log, memory, offset + at, actor);
}

static void compare(struct dx_pmem_log *log, int memory, uint64_t offset, uint64_t end, struct dx_pmem_actor actor)
{
	uint64_t size = log->state->device_size;

	end = end < size ? end : size;
	for (uint64_t at = offset, after; at < end; at = after) {
		after = (at | (PAGE - 1)) + 1;
		after = after < size ? after : size;
		compare_page(log, memory, at, after - at, actor);
	}
}

/* A device has memory where it was used: elsewhere it is zeros as ever, and so it is to remain. How many bytes that were. */
static uint64_t compare_used(struct dx_pmem_log *log, int memory, uint64_t offset, uint64_t end, struct dx_pmem_actor actor)
{
	uint64_t used = 0;

	for (uint64_t at = offset, hole; at < end; at = hole) {
		off_t data = syscall(SYS_lseek, memory, at, SEEK_DATA), behind;

		if (data < 0 || (uint64_t)data >= end)
			break;
		behind = syscall(SYS_lseek, memory, data, SEEK_HOLE);
		hole = behind > data && (uint64_t)behind < end ? (uint64_t)behind : end;
		compare(log, memory, data & ~(PAGE - 1ULL), hole, actor);
		used += hole - data;
	}
	return used;
}

void dx_pmem_compare(struct dx_pmem_log *log, int memory, struct dx_pmem_actor actor)
{
	uint64_t used = compare_used(log, memory, 0, log->state->device_size, actor);

	__atomic_store_n(&log->state->scan_debt, used, __ATOMIC_RELAXED);
}

/* -- which pages to look at ------------------------------------------------------------------ */

static bool is_ours(const struct dx_scan_fd *file)
{
	struct stat st;

	return file->fd > 0 && syscall(SYS_fstat, file->fd, &st) == 0 && st.st_dev == file->dev && st.st_ino == file->ino;
}

/* Descriptors go where programs do not look for theirs. */
static bool keep(struct dx_scan_fd *file, long fd)
{
	struct stat st;
	long high;

	if (fd < 0)
		return false;
	high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 880);
	if (high < 0)
		high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 180);
	if (high >= 0) {
		syscall(SYS_close, fd);
		fd = high;
	}
	if (syscall(SYS_fstat, fd, &st) < 0)
		return false;
	*file = (struct dx_scan_fd){ .fd = fd, .dev = st.st_dev, .ino = st.st_ino };
	return true;
}

static bool have_pagemap(struct dx_pmem_scan *scan)
{
	return is_ours(&scan->pagemap) ||
	       keep(&scan->pagemap, syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
}

static bool have_uffd(struct dx_pmem_scan *scan)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED | FEATURE_WP_HUGETLBFS_SHMEM };
	long fd, device;

	if (is_ours(&scan->uffd))
		return true;
	fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (fd < 0 && (device = syscall(SYS_openat, AT_FDCWD, "/dev/userfaultfd", O_RDWR | O_CLOEXEC)) >= 0) {
		fd = syscall(SYS_ioctl, device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
		syscall(SYS_close, device);
	}
	if (fd >= 0 && syscall(SYS_ioctl, fd, UFFDIO_API, &api) < 0) {
		int why = errno;

		syscall(SYS_close, fd);
		errno = why;
		fd = -1;
	}
	return keep(&scan->uffd, fd);
}

/*
 * Have the kernel tell of stores to these pages from now on. It tells of what a page table maps as one: where that is 2 MiB,
 * each store would be a look at all of them. NULL, or what it cannot do.
 */
static const char *follow(struct dx_pmem_scan *scan, const struct dx_scan_region *region)
{
	struct uffdio_register wanted = { .range = { region->start, region->end - region->start },
					  .mode = UFFDIO_REGISTER_MODE_WP };

	syscall(SYS_madvise, region->start, region->end - region->start, MADV_NOHUGEPAGE);
	if (!have_pagemap(scan))
		return "/proc/self/pagemap";
	if (!have_uffd(scan))
		return "userfaultfd with WP_ASYNC";
	return syscall(SYS_ioctl, scan->uffd.fd, UFFDIO_REGISTER, &wanted) == 0 ? NULL : "userfaultfd of such a file";
}

/*
 * Look at the pages of a region that are not protected. A few are left so for the next time, as a look costs less than the
 * fault by which protection ends, and programs come back to where they were; many are protected. Pages that are not there are left so: to
 * protect them would take page tables for all of the device, and each look would go through them. False: the kernel did
 * not note all of the region's stores, as it is new, or has been moved or revoked meanwhile.
 */
static bool look_at_stored(struct dx_pmem_log *log, struct dx_pmem_scan *scan, const struct dx_scan_region *region, int memory,
			   struct dx_pmem_actor actor)
{
	struct page_region found[FOUND];
	uint64_t flags = scan->protects ? SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC : SCAN_CHECK_WPASYNC;
	struct scan_argument asked = { .size = sizeof(asked), .flags = flags,
				       .vec = (uintptr_t)found, .vec_len = FOUND, .category_mask = PAGE_IS_WRITTEN, .category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
				       .return_mask = PAGE_IS_WRITTEN, .start = region->start, .end = region->end };

	for (; asked.start < asked.end; asked.start = asked.walk_end) {
		long n = syscall(SYS_ioctl, scan->pagemap.fd, PAGEMAP_SCAN, &asked);

		if (n < 0)
			return false;
		for (long i = 0; i < n; i++) {
			uint64_t offset = region->offset + (found[i].start - region->start), length = found[i].end - found[i].start;

			scan->nr_pages += length / PAGE;
			if (length <= MANY)
				compare(log, memory, offset, offset + length, actor);
			else
				compare_used(log, memory, offset, offset + length, actor);
		}
		if (asked.walk_end <= asked.start)
			return false;
	}
	return true;
}

struct listing {
	const struct pmem_state *state;
	struct dx_pmem_scan *scan;
};

static int note(const struct dx_vma *vma, void *context)
{
	const struct listing *listing = context;
	struct dx_pmem_scan *scan = listing->scan;
	struct dx_scan_region *last = scan->nr ? &scan->of[scan->nr - 1] : NULL;

	if (!dx_pmem_is_mapped(listing->state, vma))
		return 0;
	if (last && last->end == vma->start && last->offset + (last->end - last->start) == vma->offset) {
		last->end = vma->end;
		return 0;
	}
	scan->of[scan->nr++] = (struct dx_scan_region){ vma->start, vma->end, vma->offset };
	return scan->nr == DX_SCAN_REGIONS;
}

/* What was stored by a mapping that has gone meanwhile, nobody tells. */
static void list_mappings(const struct pmem_state *state, struct dx_pmem_scan *scan, uint32_t generation)
{
	struct listing listing = { state, scan };
	struct dx_scan_region before[DX_SCAN_REGIONS];
	uint32_t nr = scan->nr;

	memcpy(before, scan->of, sizeof(before));
	scan->nr = 0;
	scan->generation = generation;
	dx_each_vma(-1, note, &listing);
	if (nr != scan->nr || memcmp(before, scan->of, nr * sizeof(*before)) != 0)
		scan->all = true;
}

/* What is swapped out is no longer in this process's page tables, and nobody tells of it. */
static bool has_swapped(struct dx_pmem_scan *scan)
{
	struct sysinfo now;
	uint64_t before = scan->swapped;

	if (before == NO_SWAP || syscall(SYS_sysinfo, &now) < 0)
		return false;
	scan->swapped = now.totalswap ? now.totalswap - now.freeswap : NO_SWAP;
	return scan->swapped != NO_SWAP && scan->swapped != before;
}

static void tell_how(struct pmem_state *state, uint32_t how)
{
	if (!(__atomic_load_n(&state->scanned, __ATOMIC_RELAXED) & how))
		__atomic_fetch_or(&state->scanned, how, __ATOMIC_RELAXED);
}

/* Whoever looks protects pages, and is to have logged what they hold before others pass. */
static bool begin(struct dx_pmem_scan *scan, int self)
{
	for (int tries = 0; tries < LONGEST_WAIT; tries++) {
		int nobody = 0;

		if (__atomic_compare_exchange_n(&scan->holder, &nobody, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
		if (nobody == self) /* a signal handler, within such a look */
			return false;
		sched_yield();
	}
	return scan->all = true; /* it was stopped or killed */
}

/*
 * To compare all of a large device at each look would take far longer than what a program does in between. So nobody does
 * until as many looks have come as its size is worth, unless it was said how many; by their number and not by time, so
 * that the same program gives the same recording.
 */
static bool is_too_much(struct pmem_state *state)
{
	uint64_t debt = __atomic_load_n(&state->scan_debt, __ATOMIC_RELAXED);

	if (state->scan_every || debt <= AFFORDED)
		return false;
	__atomic_store_n(&state->scan_debt, debt - AFFORDED, __ATOMIC_RELAXED);
	tell_how(state, DX_SCANNED_SELDOM);
	return true;
}

/* Compare what was stored to, as far as the kernel tells; false if that was not all. BLIND: it does not tell. */
static bool look_at_regions(struct dx_pmem_log *log, struct dx_pmem_scan *scan, int memory, struct dx_pmem_actor actor,
			    bool *blind)
{
	bool all = scan->nr < DX_SCAN_REGIONS;
	uint32_t how = DX_SCANNED_PAGEMAP;

	scan->protects = scan->nr_pages > FEW;
	scan->nr_pages = 0;
	for (uint32_t i = 0; i < scan->nr; i++) {
		if (look_at_stored(log, scan, &scan->of[i], memory, actor))
			continue;
		all = false;
		if (follow(scan, &scan->of[i]))
			how = DX_SCANNED_DIFF;
	}
	if (!all && scan->nr == DX_SCAN_REGIONS)
		how = DX_SCANNED_DIFF;
	tell_how(log->state, how);
	*blind = how == DX_SCANNED_DIFF;
	return all;
}

void dx_pmem_scan(struct dx_pmem_log *log, struct dx_pmem_scan *scan, int memory, uint32_t generation,
		  struct dx_pmem_actor actor)
{
	int self = actor.thread + 1, saved = errno;
	bool all, blind = log->state->scan_diff;

	if (__atomic_load_n(&log->state->stopped, __ATOMIC_RELAXED) || !begin(scan, self))
		return;
	if (scan->generation != generation)
		list_mappings(log->state, scan, generation);
	all = __atomic_exchange_n(&scan->all, false, __ATOMIC_RELAXED);
	all |= has_swapped(scan);
	if (blind)
		tell_how(log->state, DX_SCANNED_DIFF);
	else
		all |= !look_at_regions(log, scan, memory, actor, &blind);
	if (blind ? !is_too_much(log->state) : all)
		dx_pmem_compare(log, memory, actor);
	__atomic_compare_exchange_n(&scan->holder, &self, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	errno = saved;
}

const char *dx_pmem_scan_lacks(int memory)
{
	struct dx_pmem_scan scan = { 0 };
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	struct dx_scan_region region = { (uintptr_t)page, (uintptr_t)page + PAGE, 0 };
	struct scan_argument asked = { .size = sizeof(asked), .flags = SCAN_CHECK_WPASYNC, .start = region.start, .end = region.end,
				       .category_mask = PAGE_IS_WRITTEN, .return_mask = PAGE_IS_WRITTEN };
	const char *lacks;
	int why;

	if (page == MAP_FAILED)
		return "a mapping";
	lacks = follow(&scan, &region);
	if (!lacks && syscall(SYS_ioctl, scan.pagemap.fd, PAGEMAP_SCAN, &asked) < 0)
		lacks = "PAGEMAP_SCAN";
	why = errno;
	dx_pmem_scan_forget(&scan);
	munmap(page, PAGE);
	errno = why;
	return lacks;
}

void dx_pmem_scan_all(struct dx_pmem_scan *scan)
{
	__atomic_store_n(&scan->all, true, __ATOMIC_RELAXED);
}

void dx_pmem_scan_forget(struct dx_pmem_scan *scan)
{
	if (is_ours(&scan->uffd))
		syscall(SYS_close, scan->uffd.fd);
	if (is_ours(&scan->pagemap))
		syscall(SYS_close, scan->pagemap.fd);
	*scan = (struct dx_pmem_scan){ 0 };
}
