/* SPDX-License-Identifier: MIT */
/* Text that grows, made with system calls only: no lock is taken, a signal handler may do it. */
#ifndef DX_TEXT_H
#define DX_TEXT_H

#include <stddef.h>

/* `at` is NULL once memory has run out, and nothing is added any more. */
struct dx_text {
	char *at;
	size_t used, room;
};

struct dx_text dx_text_new(void);
void dx_text_drop(struct dx_text *text);
void dx_text_append(struct dx_text *text, const char *from, size_t n);
/* At most one line. */
void dx_text_print(struct dx_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All that a file holds from where it is on. */
struct dx_text dx_text_read(int fd);
/* One after the other, the lines, with their ends; NULL after the last. */
const char *dx_text_line(const struct dx_text *text, size_t *at, size_t *length);

#endif
