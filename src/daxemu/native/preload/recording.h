/* SPDX-License-Identifier: MIT */
/* What this program makes durable on devices that are recorded. */
#ifndef DX_RECORDING_H
#define DX_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pmem_log.h"

extern uint32_t dx_nr_recordings;

static inline bool dx_records(void)
{
	return __builtin_expect(__atomic_load_n(&dx_nr_recordings, __ATOMIC_ACQUIRE) != 0, 0);
}

/*
 * Take part in the session's recordings, in those too that have begun since the last time: at the start, before anything
 * is mapped, and when the engine asks.
 */
void dx_record_join(void);
/* In a forked child: its thread is another one. */
void dx_record_forked(void);
/* Pages were dropped from the page tables, not by unmapping them. */
void dx_record_dropped(void);
/* Is any of this on a recorded device? */
bool dx_recorded(const void *at, size_t length);

/* Does a call come from libpmem itself? Then it is a part of one that tells of itself. */
bool dx_is_inner(const void *site);
/* What a library call did is told as done by the caller at SITE; PERSIST is a flush and a fence. */
void dx_record_flush(const void *at, size_t length, const void *site);
void dx_record_fence(const void *site);
void dx_record_persist(const void *at, size_t length, const void *site);
/* A copy has stored; what else it did its flags say, which libpmem and libpmem2 have in common. */
enum { DX_MEM_NODRAIN = 1 << 0, DX_MEM_NOFLUSH = 1 << 5 };
void dx_record_copy(const void *to, size_t length, unsigned flags, const void *site);
/* A note of the program, in every recording. */
void dx_record_marker(const char *text, size_t length, const void *site);

struct dx_code {
	uintptr_t start, length; /* of what is executable in an object; 0: not known yet */
};

/* Our own code; that of libpmem, and that of libpmemobj, libpmemlog and libpmemblk, once they were called. */
enum { DX_PMDK_LIBRARIES = 3 };
extern struct dx_code dx_own_code, dx_libpmem, dx_pmdk[DX_PMDK_LIBRARIES];
/* Where this thread's last call of one of the latter came from. */
extern __thread const void *dx_pmdk_caller __attribute__((tls_model("initial-exec")));

/*
 * A library's function of this name, behind ours; SITE is where it is called from. A library that was loaded out of
 * others' sight is found by whoever needs it.
 */
void *dx_find_behind(const char *name, const void *site);
/* The same, and where the code of its library lies. */
void *dx_find_pmdk(const char *name, const void *site, struct dx_code *library);
/* The code that has this address in it. */
void dx_find_code(const void *at, struct dx_code *code);

#endif
