/* SPDX-License-Identifier: MIT */
/*
 * What programs may call where daxemu runs them: a program that is to run elsewhere, too, declares it weak, and calls it
 * if it is there.
 */
#include "preload.h"

#include "recording.h"

EXPORT int daxemu_marker(const char *text);

/* Leave a note in what is recorded. 0, or -1 and EMSGSIZE: it has more bytes than a marker takes. */
EXPORT int daxemu_marker(const char *text)
{
	size_t length = strlen(text);

	if (length > DX_MARKER_MOST) {
		errno = EMSGSIZE;
		return -1;
	}
	dx_record_marker(text, length, __builtin_return_address(0));
	return 0;
}
