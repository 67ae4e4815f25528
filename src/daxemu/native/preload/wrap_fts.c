/* SPDX-License-Identifier: MIT */
/*
 * fts, which calls the C library's own functions: it walks the session's tree, and entries begin where programs
 * believe it is. Of a directory that the session shares with the machine it sees the machine's part.
 */
#include "preload.h"

#include <fts.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "real.h"

struct walk {
	FTS *stream;
	FTSENT *shown; /* the entry whose path is as programs know it */
	struct walk *next;
};

static struct walk *walks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct walk *find(FTS *stream)
{
	struct walk *at;

	if (likely(!__atomic_load_n(&walks, __ATOMIC_ACQUIRE)))
		return NULL;
	pthread_mutex_lock(&lock);
	for (at = walks; at && at->stream != stream; at = at->next)
		;
	pthread_mutex_unlock(&lock);
	return at;
}

static void remember(FTS *stream)
{
	struct walk *walk = calloc(1, sizeof(*walk));

	if (!walk)
		return; /* then its paths show where the session is */
	walk->stream = stream;
	pthread_mutex_lock(&lock);
	walk->next = walks;
	__atomic_store_n(&walks, walk, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
}

static void forget(FTS *stream)
{
	struct walk **at, *walk;

	pthread_mutex_lock(&lock);
	for (at = &walks; *at && (*at)->stream != stream; at = &(*at)->next)
		;
	walk = *at;
	if (walk)
		*at = walk->next;
	pthread_mutex_unlock(&lock);
	free(walk);
}

/* Paths of the session's own files instead of those that lead there; NULL if none does. */
static char **translate(char *const *paths)
{
	struct dx_place place;
	size_t n = 0, ours = 0;
	char **result;

	while (paths[n])
		n++;
	result = calloc(n + 1, sizeof(*result));
	for (size_t i = 0; result && i < n; i++) {
		enum dx_where at = dx_maybe(AT_FDCWD, paths[i]) ? dx_locate(AT_FDCWD, paths[i], &place) : DX_REAL;
		bool inside = at == DX_TREE || at == DX_NODE;

		result[i] = strdup(inside ? place.path : paths[i]);
		ours += inside && result[i];
	}
	if (ours || !result)
		return result;
	for (size_t i = 0; i < n; i++)
		free(result[i]);
	free(result);
	return NULL;
}

EXPORT FTS *fts_open(char *const *paths, int options, int (*compare)(const FTSENT **, const FTSENT **))
{
	char **ours = dx_active() ? translate(paths) : NULL;
	FTS *stream = REAL(fts_open)(ours ? ours : paths, options, compare);

	if (likely(!ours))
		return stream;
	if (stream)
		remember(stream);
	for (size_t i = 0; ours[i]; i++)
		free(ours[i]);
	free(ours);
	return stream;
}

/* The C library goes on from the paths as it made them. */
static void restore(struct walk *walk)
{
	size_t n = dx_session.directory_length;

	if (walk->shown) {
		walk->shown->fts_path -= n;
		walk->shown->fts_pathlen += n;
	}
	walk->shown = NULL;
}

static FTSENT *show(struct walk *walk, FTSENT *entry)
{
	size_t n = dx_session.directory_length;

	if (!entry || !dx_outer(entry->fts_path))
		return entry;
	walk->shown = entry;
	entry->fts_path += n;
	entry->fts_pathlen -= n;
	return entry;
}

EXPORT FTSENT *fts_read(FTS *stream)
{
	struct walk *walk = find(stream);

	if (likely(!walk))
		return REAL(fts_read)(stream);
	restore(walk);
	return show(walk, REAL(fts_read)(stream));
}

EXPORT FTSENT *fts_children(FTS *stream, int options)
{
	struct walk *walk = find(stream);
	FTSENT *entry, *children;

	if (likely(!walk))
		return REAL(fts_children)(stream, options);
	entry = walk->shown;
	restore(walk);
	children = REAL(fts_children)(stream, options);
	show(walk, entry);
	return children;
}

EXPORT int fts_close(FTS *stream)
{
	struct walk *walk = find(stream);

	if (unlikely(walk)) {
		restore(walk);
		forget(stream);
	}
	return REAL(fts_close)(stream);
}

/* With these word sizes the structures are the same. */
#pragma GCC diagnostic ignored "-Wattribute-alias"
FTS64 *fts64_open(char *const *paths, int options, int (*compare)(const FTSENT64 **, const FTSENT64 **)) ALIAS(fts_open);
FTSENT64 *fts64_read(FTS64 *stream) ALIAS(fts_read);
FTSENT64 *fts64_children(FTS64 *stream, int options) ALIAS(fts_children);
int fts64_close(FTS64 *stream) ALIAS(fts_close);
