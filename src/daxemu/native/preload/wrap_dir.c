/* SPDX-License-Identifier: MIT */
/* Directory listings. A merged directory lists the session's entries, then the machine's that they do not hide. */
#include "preload.h"

#include <pthread.h>
#include <string.h>

#include "real.h"

struct merged {
	DIR *stream; /* the machine's directory: what the program holds */
	DIR *ours;
	bool ours_done;
	char path[256];
	struct merged *next;
};

static struct merged *merged_list;
static pthread_mutex_t merged_lock = PTHREAD_MUTEX_INITIALIZER;

void dx_lock_directories(void)
{
	pthread_mutex_lock(&merged_lock);
}

void dx_unlock_directories(void)
{
	pthread_mutex_unlock(&merged_lock);
}

void dx_reset_directories(void)
{
	pthread_mutex_init(&merged_lock, NULL);
}

static struct merged *find(DIR *stream)
{
	struct merged *at;

	if (likely(!__atomic_load_n(&merged_list, __ATOMIC_ACQUIRE)))
		return NULL;
	pthread_mutex_lock(&merged_lock);
	for (at = merged_list; at && at->stream != stream; at = at->next)
		;
	pthread_mutex_unlock(&merged_lock);
	return at;
}

/* Make a listing of PATH, a merged directory, out of the machine's STREAM. */
static DIR *merge(DIR *stream, const char *path, const char *ours)
{
	struct merged *entry;

	if (!stream || strlen(path) >= sizeof(entry->path))
		return stream;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return stream;
	strcpy(entry->path, path);
	entry->stream = stream;
	entry->ours = REAL(opendir)(ours);
	pthread_mutex_lock(&merged_lock);
	entry->next = merged_list;
	__atomic_store_n(&merged_list, entry, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&merged_lock);
	dx_mark(dirfd(stream), MARK_MERGED);
	return stream;
}

/* "/" merges only names that the machine has as well, so its own listing is right already. */
static bool lists_more(const char *outer)
{
	return outer && strcmp(outer, "/") != 0;
}

EXPORT DIR *opendir(const char *path)
{
	struct dx_place place;
	const char *outer;
	DIR *stream;

	if (likely(!dx_active() || !dx_maybe(AT_FDCWD, path)))
		return REAL(opendir)(path);
	switch (dx_locate(AT_FDCWD, path, &place)) {
	case DX_NODE:
	case DX_TREE:
		stream = REAL(opendir)(place.path);
		if (stream)
			dx_mark(dirfd(stream), MARK_TREE);
		return stream;
	case DX_MERGED:
		outer = dx_outer(place.path);
		stream = REAL(opendir)(path);
		return lists_more(outer) ? merge(stream, outer, place.path) : stream;
	default:
		return REAL(opendir)(path);
	}
}

EXPORT DIR *fdopendir(int fd)
{
	struct dx_place place;
	char path[PATH_MAX];
	const char *outer;

	if (likely(!(dx_marked(fd) & MARK_MERGED)) || dx_fd_path(fd, path) < 0 ||
	    dx_locate(AT_FDCWD, path, &place) != DX_MERGED)
		return REAL(fdopendir)(fd);
	outer = dx_outer(place.path);
	return lists_more(outer) ? merge(REAL(fdopendir)(fd), outer, place.path) : REAL(fdopendir)(fd);
}

static struct dirent *next_of_machine(struct merged *entry)
{
	for (;;) {
		struct dirent *item = REAL(readdir)(entry->stream);
		int saved = errno;
		bool hidden = item && dx_hidden(entry->path, item->d_name);

		errno = saved;
		if (!hidden)
			return item;
	}
}

EXPORT struct dirent *readdir(DIR *stream)
{
	struct merged *entry = find(stream);
	struct dirent *item;

	if (likely(!entry))
		return REAL(readdir)(stream);
	while (entry->ours && !entry->ours_done) {
		item = REAL(readdir)(entry->ours);
		if (!item)
			entry->ours_done = true;
		else if (item->d_name[0] != '.' && dx_hidden(entry->path, item->d_name)) {
			if (strcmp(entry->path, "/dev") == 0)
				item->d_type = DT_CHR;
			return item;
		}
	}
	return next_of_machine(entry);
}

struct dirent64 *readdir64(DIR *stream) ALIAS(readdir);

EXPORT void rewinddir(DIR *stream)
{
	struct merged *entry = find(stream);

	if (unlikely(entry) && entry->ours) {
		REAL(rewinddir)(entry->ours);
		entry->ours_done = false;
	}
	REAL(rewinddir)(stream);
}

EXPORT int closedir(DIR *stream)
{
	struct merged **at, *entry;

	if (unlikely(find(stream))) {
		pthread_mutex_lock(&merged_lock);
		for (at = &merged_list; *at && (*at)->stream != stream; at = &(*at)->next)
			;
		entry = *at;
		if (entry)
			*at = entry->next;
		pthread_mutex_unlock(&merged_lock);
		if (entry && entry->ours)
			REAL(closedir)(entry->ours);
		free(entry);
	}
	return REAL(closedir)(stream);
}

EXPORT int scandir(const char *path, struct dirent ***list, int (*filter)(const struct dirent *),
		   int (*compare)(const struct dirent **, const struct dirent **))
{
	DIR *stream = opendir(path);
	struct dirent **items = NULL, *item;
	size_t n = 0;

	if (!stream)
		return -1;
	while ((item = readdir(stream))) {
		struct dirent **more;

		if (filter && !filter(item))
			continue;
		more = realloc(items, (n + 1) * sizeof(*items));
		if (!more)
			goto no_memory;
		items = more;
		items[n] = malloc(item->d_reclen);
		if (!items[n])
			goto no_memory;
		memcpy(items[n++], item, item->d_reclen);
	}
	closedir(stream);
	if (compare && n)
		qsort(items, n, sizeof(*items), (int (*)(const void *, const void *))(void *)compare);
	*list = items;
	return n;
no_memory:
	while (n)
		free(items[--n]);
	free(items);
	closedir(stream);
	errno = ENOMEM;
	return -1;
}

int scandir64(const char *path, struct dirent64 ***list, int (*filter)(const struct dirent64 *),
	      int (*compare)(const struct dirent64 **, const struct dirent64 **)) ALIAS(scandir);

static void *glob_opendir(const char *path)
{
	return opendir(path);
}

static struct dirent *glob_readdir(void *stream)
{
	return readdir(stream);
}

static void glob_closedir(void *stream)
{
	closedir(stream);
}

/* glob calls the C library's own functions unless it is told others. */
EXPORT int glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *result)
{
	if (likely(!dx_active() || !dx_maybe(AT_FDCWD, pattern)) || (flags & GLOB_ALTDIRFUNC))
		return REAL(glob)(pattern, flags, on_error, result);
	result->gl_opendir = glob_opendir;
	result->gl_readdir = glob_readdir;
	result->gl_closedir = glob_closedir;
	result->gl_stat = stat;
	result->gl_lstat = lstat;
	return REAL(glob)(pattern, flags | GLOB_ALTDIRFUNC, on_error, result);
}

int glob64(const char *pattern, int flags, int (*on_error)(const char *, int), glob64_t *result) ALIAS(glob);
