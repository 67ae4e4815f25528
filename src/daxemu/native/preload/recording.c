/* SPDX-License-Identifier: MIT */
/* What is told to recordings: which addresses are which device's, which thread this is. Nothing where none is under way. */
#include "preload.h"

#include "maps.h"
#include "real.h"
#include "pmem_turn.h"
#include "joining.h"
#include "recording.h"

struct dx_code dx_libpmem;

enum { MOST_MAPPINGS = 16 };

/* Mappings of devices that are recorded, as far as this thread knows them; looked for again when any has changed. */
struct known {
	uint64_t files; /* of the devices: one may have been taken out and come back */
	uint32_t generation;
	uint32_t devices; /* the recordings whose device is mapped, as bits */
	uint32_t count;
	uintptr_t from, to; /* what ends before or begins behind is not among them: there may be more than there is room for */
	struct {
		uintptr_t start, end;
		uint64_t offset;
		uint32_t of;
	} mapping[MOST_MAPPINGS];
};

struct actor {
	uint32_t process; /* 0: has no number yet */
	uint32_t named; /* the recordings in which it has a number, as bits */
	uint32_t flushed; /* those in which it has flushed something since its last fence */
	uint16_t thread[DX_JOINED_MOST];
	struct known known;
};

static __thread struct actor self __attribute__((tls_model("initial-exec")));

static uint32_t nr_processes;

__attribute__((destructor)) static void leave(void)
{
	for (uint32_t i = 0; i < dx_nr_recordings; i++)
		if (self.known.devices & 1U << i)
			dx_tell_modules(&dx_joined[i]); /* also those that were loaded late */
}

static int note(const struct dx_vma *vma, void *context)
{
	struct known *known = context;

	for (uint32_t i = 0; i < dx_nr_recordings; i++) {
		const struct pmem_state *state = dx_joined[i].log.state;
		uint64_t length = vma->end - vma->start;

		if (__atomic_load_n(&state->stopped, __ATOMIC_RELAXED) || !dx_pmem_is_mapped(state, vma))
			continue;
		if (length > state->device_size - vma->offset)
			length = state->device_size - vma->offset;
		known->devices |= 1U << i;
		if (vma->end <= known->from || known->count == MOST_MAPPINGS)
			return 0;
		known->mapping[known->count].start = vma->start;
		known->mapping[known->count].end = vma->start + length;
		known->mapping[known->count].offset = vma->offset;
		known->mapping[known->count].of = i;
		if (++known->count == MOST_MAPPINGS)
			known->to = vma->end;
		return 0;
	}
	return 0;
}

static void list_from(struct known *known, uintptr_t from)
{
	int saved = errno;

	known->count = known->devices = 0;
	known->from = from;
	known->to = UINTPTR_MAX;
	if (known->generation)
		dx_each_vma(-1, note, known);
	errno = saved;
}

static const struct known *mappings(void)
{
	uint32_t now = __atomic_load_n(&dx_mappings_generation, __ATOMIC_ACQUIRE);
	struct known *known = &self.known;
	uint64_t files = 0;

	for (uint32_t i = 0; i < dx_nr_recordings; i++)
		files += __atomic_load_n(&dx_joined[i].log.state->ino, __ATOMIC_RELAXED) << i;
	if (likely(known->generation == now && known->files == files))
		return known;
	known->generation = now;
	known->files = files;
	list_from(known, 0);
	return known;
}

/* All that show a part of [start, end) are among them. */
static const struct known *mappings_at(uintptr_t start, uintptr_t end)
{
	const struct known *known = mappings();

	if (unlikely(start < known->from || end > known->to))
		list_from(&self.known, start);
	return known;
}

bool dx_recorded(const void *at, size_t length)
{
	uintptr_t start = (uintptr_t)at;
	const struct known *known = mappings_at(start, start + length);

	for (uint32_t i = 0; i < known->count; i++)
		if (start < known->mapping[i].end && start + length > known->mapping[i].start)
			return true;
	return false;
}

static bool is_in(const void *site, const struct dx_code *code)
{
	return (uintptr_t)site - code->start < __atomic_load_n(&code->length, __ATOMIC_ACQUIRE);
}

/* It may have been jumped to at the end of a function that we have called, and so seem to be called by us. */
bool dx_is_inner(const void *site)
{
	return is_in(site, &dx_libpmem) || is_in(site, &dx_own_code);
}

/* By the first thread that does anything; in a forked child what its parent's stores are known by is of no use. */
static uint32_t name_process(void)
{
	uint32_t name = 0, next = __atomic_add_fetch(&nr_processes, 1, __ATOMIC_RELAXED);

	if (!__atomic_compare_exchange_n(dx_process, &name, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return name;
	if (next > 1) {
		dx_forget_stores();
		for (uint32_t i = 0; i < dx_nr_recordings; i++)
			__atomic_store_n(&dx_joined[i].nr_named, 0, __ATOMIC_RELAXED);
	}
	return next;
}

/* Where the program called a library of PMDK, if that is who called us. */
static uintptr_t site_in_program(const void *site)
{
	for (int i = 0; i < DX_PMDK_LIBRARIES; i++)
		if (unlikely(is_in(site, &dx_pmdk[i])) && dx_pmdk_caller)
			return (uintptr_t)dx_pmdk_caller;
	return (uintptr_t)site;
}

static bool identify(struct dx_pmem_actor *actor, uint32_t of, const void *site)
{
	uint32_t name = __atomic_load_n(dx_process, __ATOMIC_RELAXED), nr;

	if (unlikely(!name || self.process != name || !(self.named & 1U << of))) {
		int saved = errno;

		if (!name || self.process != name) {
			self.process = name ? name : name_process();
			self.named = 0;
		}
		if (!dx_pmem_new_thread(&dx_joined[of].log, &self.thread[of]))
			return false;
		self.named |= 1U << of;
		nr = __atomic_add_fetch(&dx_joined[of].nr_named, 1, __ATOMIC_RELAXED);
		if (!(nr & (nr - 1)))
			dx_tell_modules(&dx_joined[of]);
		errno = saved;
	}
	*actor = (struct dx_pmem_actor){ self.thread[of], site_in_program(site) };
	return true;
}

void dx_record_dropped(void)
{
	for (uint32_t i = 0; i < dx_nr_recordings; i++)
		dx_pmem_scan_all(&dx_joined[i].own_stores);
}

/*
 * An event of this type is next, which flushes LENGTH bytes at AT: find what was stored elsewhere and not flushed, if that
 * is wanted.
 */
static void look_around(struct dx_joined *recording, uint8_t type, const void *at, uint64_t offset, size_t length,
			struct dx_pmem_actor actor)
{
	const struct pmem_state *state = recording->log.state;
	struct table_device device;
	int memory, saved;

	if (!dx_pmem_scan_due(&recording->log, type))
		return;
	saved = errno;
	if (length)
		dx_pmem_observe(&recording->log, at, offset, length, actor);
	if (dx_table_device_by_file(dx_session.table, state->dev, state->ino, &device) && (device.flags & DX_DEVICE_ALIVE) &&
	    (memory = dx_backing(&device)) >= 0)
		dx_pmem_scan(&recording->log, &recording->own_stores, memory,
			     __atomic_load_n(&dx_mappings_generation, __ATOMIC_ACQUIRE), actor);
	errno = saved;
}

void dx_record_flush(const void *at, size_t length, const void *site)
{
	uintptr_t start = (uintptr_t)at, end = start + length;
	const struct known *known = mappings_at(start, end);
	struct dx_pmem_actor actor;

	for (uint32_t i = 0; i < known->count; i++) {
		uintptr_t from = start > known->mapping[i].start ? start : known->mapping[i].start;
		uintptr_t to = end < known->mapping[i].end ? end : known->mapping[i].end;
		uint64_t offset = known->mapping[i].offset + (from - known->mapping[i].start);
		struct dx_joined *recording = &dx_joined[known->mapping[i].of];

		if (from >= to || !identify(&actor, known->mapping[i].of, site))
			continue;
		look_around(recording, DX_EVENT_FLUSH, (const char *)from, offset, to - from, actor);
		dx_pmem_flush(&recording->log, (const char *)from, offset, to - from, actor);
		self.flushed |= 1U << known->mapping[i].of;
	}
}

/* What this thread has flushed is durable on each of these devices. */
static void fence(uint32_t devices, const void *site)
{
	struct dx_pmem_actor actor;

	self.flushed &= ~devices;
	for (uint32_t i = 0; devices; i++, devices >>= 1) {
		if (!(devices & 1) || !identify(&actor, i, site))
			continue;
		look_around(&dx_joined[i], DX_EVENT_FENCE, NULL, 0, 0, actor);
		dx_pmem_fence(&dx_joined[i].log, actor);
	}
}

void dx_record_fence(const void *site)
{
	fence(mappings()->devices | self.flushed, site); /* what was flushed may be unmapped since */
}

void dx_record_persist(const void *at, size_t length, const void *site)
{
	uintptr_t start = (uintptr_t)at, end = start + length;
	const struct known *known = mappings_at(start, end);
	struct dx_pmem_actor actor;

	for (uint32_t i = 0; i < known->count; i++) {
		uint64_t offset = known->mapping[i].offset + (start - known->mapping[i].start);
		uint32_t of = known->mapping[i].of;

		if (start < known->mapping[i].start || end > known->mapping[i].end)
			continue;
		if (identify(&actor, of, site)) {
			look_around(&dx_joined[of], DX_EVENT_PERSIST, at, offset, length, actor);
			dx_pmem_persist(&dx_joined[of].log, at, offset, length, actor);
		}
		self.flushed &= ~(1U << of);
		fence(self.flushed, site);
		return;
	}
	dx_record_flush(at, length, site);
	dx_record_fence(site);
}

void dx_record_copy(const void *to, size_t length, unsigned flags, const void *site)
{
	if (flags & DX_MEM_NOFLUSH)
		return;
	if (flags & DX_MEM_NODRAIN)
		dx_record_flush(to, length, site);
	else
		dx_record_persist(to, length, site);
}

void dx_record_marker(const char *text, size_t length, const void *site)
{
	struct dx_pmem_actor actor;

	for (uint32_t i = 0; i < dx_nr_recordings; i++) {
		if (!identify(&actor, i, site))
			continue;
		look_around(&dx_joined[i], DX_EVENT_MARKER, NULL, 0, 0, actor);
		dx_pmem_marker(&dx_joined[i].log, text, length, actor);
	}
}
