/* SPDX-License-Identifier: MIT */
#include "log_walk.h"

#include <errno.h>
#include <string.h>

#include "pmem_event.h"

static const char *refusal_of(const struct pmem_event *event, uint64_t device_size)
{
	switch (event->type) {
	case DX_EVENT_STORE:
		if (event->length != DX_LINE_SIZE || event->offset % DX_LINE_SIZE)
			return "stores something else than one line";
		break;
	case DX_EVENT_FLUSH:
	case DX_EVENT_PERSIST:
		break;
	case DX_EVENT_FENCE:
	case DX_EVENT_MARKER:
		return NULL;
	default:
		return "is of no known kind";
	}
	if (event->offset > device_size || event->length > device_size - event->offset)
		return "is past the end of the device";
	return NULL;
}

int log_next(struct log_walk *walk)
{
	struct pmem_event *event = &walk->event;
	uint64_t left = walk->end - walk->at, size;

	if (!left)
		return 0;
	walk->seq++;
	walk->refusal = "is cut off";
	if (left < sizeof(*event))
		return -ENODATA;
	memcpy(event, walk->at, sizeof(*event));
	size = dx_pmem_event_size(event->type, event->length);
	if (size > left)
		return -ENODATA;
	walk->refusal = refusal_of(event, walk->device_size);
	if (walk->refusal)
		return -EINVAL;
	walk->payload = walk->at + sizeof(*event);
	walk->at += size;
	return 1;
}
