/* SPDX-License-Identifier: MIT */
#include "preload.h"

#include <stdarg.h>
#include <sys/syscall.h>

#include "real.h"
#include "text.h"

static void reserve(struct dx_text *text, size_t more)
{
	size_t room = text->room * 2;
	void *moved;

	if (!text->at || text->room - text->used >= more)
		return;
	while (room - text->used < more)
		room *= 2;
	moved = (void *)syscall(SYS_mremap, text->at, text->room, room, MREMAP_MAYMOVE);
	if (moved == MAP_FAILED) {
		syscall(SYS_munmap, text->at, text->room);
		text->at = NULL;
		return;
	}
	text->at = moved;
	text->room = room;
}

struct dx_text dx_text_new(void)
{
	struct dx_text text = { .room = 64 << 10 };

	text.at = (void *)syscall(SYS_mmap, NULL, text.room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (text.at == MAP_FAILED)
		text.at = NULL;
	return text;
}

void dx_text_drop(struct dx_text *text)
{
	if (text->at)
		syscall(SYS_munmap, text->at, text->room);
	text->at = NULL;
}

void dx_text_append(struct dx_text *text, const char *from, size_t n)
{
	reserve(text, n);
	if (!text->at)
		return;
	memcpy(text->at + text->used, from, n);
	text->used += n;
}

void dx_text_print(struct dx_text *text, const char *format, ...)
{
	char line[160];
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	dx_text_append(text, line, n < (int)sizeof(line) ? n : (int)sizeof(line) - 1);
}

struct dx_text dx_text_read(int fd)
{
	struct dx_text text = dx_text_new();

	for (;;) {
		long n;

		reserve(&text, 4096);
		if (!text.at)
			return text;
		n = syscall(SYS_read, fd, text.at + text.used, text.room - text.used);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return text;
		text.used += n;
	}
}

const char *dx_text_line(const struct dx_text *text, size_t *at, size_t *length)
{
	const char *line = text->at + *at, *end;

	if (*at >= text->used)
		return NULL;
	end = memchr(line, '\n', text->used - *at);
	*length = end ? (size_t)(end - line) + 1 : text->used - *at;
	*at += *length;
	return line;
}
