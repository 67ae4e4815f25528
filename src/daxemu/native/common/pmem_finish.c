/* SPDX-License-Identifier: MIT */
/* A recording's events, as they came, made into a complete log. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "pmem_log.h"

struct output {
	int fd;
	int error;
	size_t held;
	char buffer[1 << 16];
};

static void drain(struct output *out)
{
	for (size_t done = 0; done < out->held && !out->error;) {
		ssize_t n = write(out->fd, out->buffer + done, out->held - done);

		if (n < 0 && errno != EINTR)
			out->error = errno;
		done += n > 0 ? n : 0;
	}
	out->held = 0;
}

static void append(struct output *out, const void *data, size_t n)
{
	while (n) {
		size_t part = sizeof(out->buffer) - out->held;

		part = part < n ? part : n;
		memcpy(out->buffer + out->held, data, part);
		out->held += part;
		data = (const char *)data + part;
		n -= part;
		if (out->held == sizeof(out->buffer))
			drain(out);
	}
}

static void append_header(struct output *out, uint64_t device_size, uint64_t nr_events)
{
	struct pmem_log_header header = { .magic = DX_LOG_MAGIC, .version = DX_LOG_VERSION, .header_size = sizeof(header),
					  .device_size = device_size, .line_size = DX_LINE_SIZE, .nr_events = nr_events };
	uint64_t words[sizeof(header) / 8];

	memcpy(words, &header, sizeof(header));
	for (size_t i = 0; i < offsetof(struct pmem_log_header, checksum) / 8; i++)
		header.checksum += words[i];
	append(out, &header, sizeof(header));
}

int64_t dx_pmem_finish(const struct dx_pmem_log *log, int fd)
{
	uint64_t end = __atomic_load_n(&log->state->tail, __ATOMIC_RELAXED), nr_events = 0;
	struct output out = { .fd = fd };

	if (end > DX_LOG_MOST)
		end = DX_LOG_MOST;
	append_header(&out, log->state->device_size, 0);
	for (uint64_t at = sizeof(struct pmem_log_header); at + sizeof(struct pmem_event) <= end && !out.error;) {
		struct pmem_event event = *(const struct pmem_event *)(log->events + at);
		uint8_t type = __atomic_load_n((uint8_t *)(log->events + at), __ATOMIC_ACQUIRE);
		uint64_t kind = type & ~DX_EVENT_UNFINISHED;
		uint64_t payload = kind == DX_EVENT_STORE || kind == DX_EVENT_MARKER ? (event.length + 7ULL) & ~7ULL : 0;

		if (!type) { /* taken, and its writer killed before it wrote anything */
			at += 8;
			continue;
		}
		at += sizeof(event);
		if (at + payload > end)
			break;
		if (!(type & DX_EVENT_UNFINISHED)) {
			nr_events++;
			append(&out, &event, sizeof(event));
			append(&out, log->events + at, payload);
		}
		at += payload;
	}
	drain(&out);
	if (!out.error && lseek(fd, 0, SEEK_SET) < 0)
		out.error = errno;
	append_header(&out, log->state->device_size, nr_events);
	drain(&out);
	return out.error ? -out.error : (int64_t)nr_events;
}
