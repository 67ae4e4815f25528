/* SPDX-License-Identifier: MIT */
/* How much of a log an event takes; pmem/format.py says the same to Python. */
#ifndef DX_PMEM_EVENT_H
#define DX_PMEM_EVENT_H

#include "pmem_format.h"

/* A payload with what is behind it up to the next event. */
static inline uint64_t dx_pmem_padded(uint32_t length)
{
	return (length + DX_LOG_PADDING - 1ULL) & ~(DX_LOG_PADDING - 1ULL);
}

/* An event of this type whose length is that. */
static inline uint64_t dx_pmem_event_size(uint8_t type, uint32_t length)
{
	uint64_t payload = type == DX_EVENT_STORE || type == DX_EVENT_MARKER ? dx_pmem_padded(length) : 0;

	return sizeof(struct pmem_event) + payload;
}

#endif
