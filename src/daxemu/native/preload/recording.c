/* SPDX-License-Identifier: MIT */
/* Part in a recording: which addresses are the device's, which thread this is. Nothing here where none is under way. */
#include "preload.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "maps.h"
#include "real.h"
#include "pmem_scan.h"
#include "pmem_turn.h"
#include "recording.h"

struct dx_pmem_log dx_recording;
static struct dx_pmem_scan own_stores;

enum { MOST_MAPPINGS = 16 };

/* The device's mappings, as far as this thread knows them; looked for again when any has changed. */
struct known {
	uint64_t ino; /* of the device: it may have been taken out and come back */
	uint32_t generation;
	uint32_t count;
	struct {
		uintptr_t start, end;
		uint64_t offset;
	} of[MOST_MAPPINGS];
};

struct actor {
	uint32_t process; /* 0: has no number yet */
	uint16_t thread;
	bool inside;
	struct known known;
};

static __thread struct actor self __attribute__((tls_model("initial-exec")));

/* What threads that have a number know this process by; 0 in a forked child: its thread is another one, with another number. */
static uint32_t fallback, *process = &fallback;
static uint32_t nr_processes;

static int open_of_session(const char *name)
{
	char path[PATH_MAX + 32];

	memcpy(path, dx_session.directory, dx_session.directory_length);
	strcpy(path + dx_session.directory_length, name);
	return dx_real.open(path, O_RDWR | O_CLOEXEC | O_APPEND);
}

/* Where this program's code lies, for whoever wants to know what its call sites are. */
static void tell_modules(void)
{
	int to = open_of_session("/record.modules"), from = dx_real.open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	char buffer[4096];
	ssize_t n;

	while (to >= 0 && from >= 0 && (n = dx_real.read(from, buffer, sizeof(buffer))) > 0)
		if (dx_real.write(to, buffer, n) < 0)
			break;
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
}

/* The kernel makes it 0 in a child, which may have been forked without a word to anybody. */
static bool notice_forks(void)
{
	void *page = mmap(NULL, sizeof(*process), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return false;
	process = page;
	return madvise(page, sizeof(*process), MADV_WIPEONFORK) == 0;
}

void dx_record_attach(void)
{
	int saved = errno, state = open_of_session("/record.state"), events;

	if (state < 0) {
		errno = saved;
		return;
	}
	events = open_of_session("/record.events");
	if (events >= 0) {
		dx_pmem_attach(&dx_recording, state, events);
		dx_recording.patient = true;
		dx_recording.may_be_alone = notice_forks() && dx_pmem_may_be_alone();
		close(events);
	}
	close(state);
	errno = saved;
}

__attribute__((destructor)) static void leave(void)
{
	if (dx_records() && self.known.count)
		tell_modules(); /* also those that were loaded late */
}

void dx_record_forked(void)
{
	__atomic_store_n(process, 0, __ATOMIC_RELAXED);
	dx_pmem_scan_forget(&own_stores);
}

static int note(const struct dx_vma *vma, void *context)
{
	const struct pmem_state *state = dx_recording.state;
	struct known *known = context;
	uint64_t length = vma->end - vma->start;

	if (!dx_pmem_is_mapped(state, vma))
		return 0;
	if (length > state->device_size - vma->offset)
		length = state->device_size - vma->offset;
	known->of[known->count].start = vma->start;
	known->of[known->count].end = vma->start + length;
	known->of[known->count].offset = vma->offset;
	return ++known->count == MOST_MAPPINGS;
}

static const struct known *mappings(void)
{
	uint32_t now = __atomic_load_n(&dx_mappings_generation, __ATOMIC_ACQUIRE);
	uint64_t ino = __atomic_load_n(&dx_recording.state->ino, __ATOMIC_RELAXED);
	struct known *known = &self.known;

	if (likely(known->generation == now && known->ino == ino))
		return known;
	known->count = 0;
	if (now) {
		int saved = errno;

		dx_each_vma(-1, note, known);
		errno = saved;
	}
	known->generation = now;
	known->ino = ino;
	return known;
}

bool dx_recorded(const void *at, size_t length)
{
	uintptr_t start = (uintptr_t)at;
	const struct known *known = mappings();

	for (uint32_t i = 0; i < known->count; i++)
		if (start < known->of[i].end && start + length > known->of[i].start)
			return true;
	return false;
}

bool dx_record_begin(void)
{
	if (self.inside)
		return false;
	return self.inside = true;
}

void dx_record_end(void)
{
	self.inside = false;
}

/* By the first thread that does anything; in a forked child what its parent's stores are known by is of no use. */
static uint32_t name_process(void)
{
	uint32_t name = 0, next = __atomic_add_fetch(&nr_processes, 1, __ATOMIC_RELAXED);

	if (!__atomic_compare_exchange_n(process, &name, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return name;
	if (next > 1)
		dx_pmem_scan_forget(&own_stores);
	return next;
}

/* Where the program called libpmemobj, if that is who called us. */
static uintptr_t site_in_program(const void *site)
{
	bool inside = (uintptr_t)site - dx_pmemobj.start < dx_pmemobj.length;

	return (uintptr_t)(inside && dx_pmemobj_caller ? dx_pmemobj_caller : site);
}

static bool identify(struct dx_pmem_actor *actor, const void *site)
{
	uint32_t name = __atomic_load_n(process, __ATOMIC_RELAXED);

	if (unlikely(!name || self.process != name)) {
		int saved = errno;

		if (!dx_pmem_new_thread(&dx_recording, &self.thread))
			return false;
		self.process = name ? name : name_process();
		tell_modules();
		errno = saved;
	}
	*actor = (struct dx_pmem_actor){ self.thread, site_in_program(site) };
	return true;
}

void dx_record_dropped(void)
{
	dx_pmem_scan_all(&own_stores);
}

/*
 * An event of this type is next, which flushes LENGTH bytes at AT: find what was stored elsewhere and not flushed, if that
 * is wanted.
 */
static void look_around(uint8_t type, const void *at, uint64_t offset, size_t length, struct dx_pmem_actor actor)
{
	const struct pmem_state *state = dx_recording.state;
	struct table_device device;
	int memory, saved;

	if (!dx_pmem_scan_due(&dx_recording, type))
		return;
	saved = errno;
	if (length)
		dx_pmem_observe(&dx_recording, at, offset, length, actor);
	if (dx_table_device_by_file(dx_session.table, state->dev, state->ino, &device) && (device.flags & DX_DEVICE_ALIVE) &&
	    (memory = dx_backing(&device)) >= 0)
		dx_pmem_scan(&dx_recording, &own_stores, memory,
			     __atomic_load_n(&dx_mappings_generation, __ATOMIC_ACQUIRE), actor);
	errno = saved;
}

void dx_record_flush(const void *at, size_t length, const void *site)
{
	uintptr_t start = (uintptr_t)at, end = start + length;
	const struct known *known = mappings();
	struct dx_pmem_actor actor;

	for (uint32_t i = 0; i < known->count; i++) {
		uintptr_t from = start > known->of[i].start ? start : known->of[i].start;
		uintptr_t to = end < known->of[i].end ? end : known->of[i].end;

		uint64_t offset = known->of[i].offset + (from - known->of[i].start);

		if (from >= to || !identify(&actor, site))
			continue;
		look_around(DX_EVENT_FLUSH, (const char *)from, offset, to - from, actor);
		dx_pmem_flush(&dx_recording, (const char *)from, offset, to - from, actor);
	}
}

void dx_record_fence(const void *site)
{
	struct dx_pmem_actor actor;

	if (!mappings()->count || !identify(&actor, site))
		return;
	look_around(DX_EVENT_FENCE, NULL, 0, 0, actor);
	dx_pmem_fence(&dx_recording, actor);
}

void dx_record_persist(const void *at, size_t length, const void *site)
{
	uintptr_t start = (uintptr_t)at, end = start + length;
	const struct known *known = mappings();
	struct dx_pmem_actor actor;

	for (uint32_t i = 0; i < known->count; i++) {
		uint64_t offset = known->of[i].offset + (start - known->of[i].start);

		if (start < known->of[i].start || end > known->of[i].end)
			continue;
		if (identify(&actor, site)) {
			look_around(DX_EVENT_PERSIST, at, offset, length, actor);
			dx_pmem_persist(&dx_recording, at, offset, length, actor);
		}
		return;
	}
	dx_record_flush(at, length, site);
	dx_record_fence(site);
}

/* The function of that name in an object that is loaded, or in what it needs; but not ours. */
static void *find_in(const char *path, const char *name)
{
	void *object = dlopen(path, RTLD_LAZY | RTLD_NOLOAD), *function = object ? dlsym(object, name) : NULL;
	Dl_info theirs, ours;

	if (!function || !dladdr(function, &theirs) || !dladdr(&dx_recording, &ours) || theirs.dli_fbase == ours.dli_fbase)
		return NULL;
	return function;
}

SLOW void *dx_find_behind(const char *name, const void *site)
{
	static const char *const libraries[] = { "libpmem.so.1", "libpmem2.so.1", "libpmemobj.so.1" };
	void *function = dlsym(RTLD_NEXT, name);
	Dl_info caller;

	for (size_t i = 0; !function && i < sizeof(libraries) / sizeof(*libraries); i++)
		function = find_in(libraries[i], name);
	if (!function && dladdr(site, &caller))
		function = find_in(caller.dli_fname, name);
	if (!function)
		abort(); /* whoever calls it has it */
	return function;
}
