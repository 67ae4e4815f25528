/* SPDX-License-Identifier: MIT */
/* The recordings that this process takes part in; recording.h is for those who tell of events. */
#ifndef DX_JOINING_H
#define DX_JOINING_H

#include <sys/types.h>

#include "pmem_scan.h"

enum { DX_JOINED_MOST = 16 };

/* The recording of one device; one that has ended stays, as a thread may be about to write to it. */
struct dx_joined {
	dev_t dev; /* of its state */
	ino_t ino;
	struct dx_pmem_log log;
	struct dx_pmem_scan own_stores;
	char number; /* a digit, by which its files are known */
	uint32_t nr_named; /* threads of this process; at the 1st, 2nd, 4th… it is told where code lies, as at the end */
};
extern struct dx_joined dx_joined[DX_JOINED_MOST];

/* What threads that have a number know this process by; 0 in a forked child: its thread is another one, with another number. */
extern uint32_t *dx_process;

/* Where this program's code lies, for whoever wants to know what its call sites are. */
void dx_tell_modules(const struct dx_joined *recording);
/* What pages this process has stored to is not known any more. */
void dx_forget_stores(void);

#endif
