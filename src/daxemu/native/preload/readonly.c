/* SPDX-License-Identifier: MIT */
/*
 * Mappings made by a descriptor for reading. To be revoked like any other they are really made by one for reading and
 * writing: only such a mapping can the kernel move in place. So it is here that mprotect learns what must not be written.
 */
#include "preload.h"

enum { ROOM = 64 };

/* Changed with the mappings locked. What a program unmaps behind our back is forgotten when something is mapped there. */
static struct range {
	uintptr_t start, end;
} ranges[ROOM];

bool dx_note_readonly(const void *at, size_t length)
{
	for (int i = 0; i < ROOM; i++) {
		if (ranges[i].end)
			continue;
		ranges[i] = (struct range){ (uintptr_t)at, (uintptr_t)at + length };
		return true;
	}
	return false;
}

bool dx_is_readonly(const void *at, size_t length)
{
	uintptr_t start = (uintptr_t)at, end = start + length;

	for (int i = 0; i < ROOM; i++)
		if (ranges[i].start < end && ranges[i].end > start)
			return true;
	return false;
}

void dx_forget_readonly(const void *at, size_t length)
{
	uintptr_t start = (uintptr_t)at, end = start + ((length + 4095) & ~4095UL);

	for (int i = 0; i < ROOM; i++) {
		struct range was = ranges[i];

		if (was.start >= end || was.end <= start)
			continue;
		ranges[i] = (struct range){ 0, 0 };
		if (was.start < start)
			dx_note_readonly((void *)was.start, start - was.start);
		if (was.end > end && !dx_note_readonly((void *)end, was.end - end))
			ranges[i] = was; /* no room for two pieces: better too much than too little */
	}
}
