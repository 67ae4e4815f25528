/* SPDX-License-Identifier: MIT */
/* The events of a log, one after the other; each is checked before anybody believes it. */
#ifndef DX_LOG_WALK_H
#define DX_LOG_WALK_H

#include <stdint.h>

#include "pmem_format.h"

struct log_walk {
	const unsigned char *at, *end; /* the next event; behind the last */
	uint64_t device_size;
	uint64_t seq; /* of this event */
	struct pmem_event event;
	const unsigned char *payload;
	const char *refusal; /* what is wrong with it */
};

/* Go to the next event: 1; 0: there is none; -EINVAL: it is damaged; -ENODATA: it is cut off. */
int log_next(struct log_walk *walk);

#endif
