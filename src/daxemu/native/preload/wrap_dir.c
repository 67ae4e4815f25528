/* SPDX-License-Identifier: MIT */
/*
 * Directory listings. A merged directory lists the session's entries, then the machine's that they do not hide;
 * directories of sysfs list theirs in the kernel's order, which programs show (daxctl list).
 */
#include "preload.h"

#include <pthread.h>
#include <string.h>

#include "real.h"

struct merged {
	DIR *stream; /* what the program holds: the machine's directory, or the session's if it is not merged */
	struct dirent **ours;
	int count, at;
	char path[256];	       /* of a merged directory; else empty */
	char listed[PATH_MAX]; /* the session's directory */
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

/* kernfs keeps a directory's entries by this (kernfs_name_hash). */
static uint32_t name_hash(const char *name)
{
	uint64_t hash = 0;

	for (; *name; name++)
		hash = (hash + ((uint64_t)(unsigned char)*name << 4) + ((unsigned char)*name >> 4)) * 11;
	hash = (hash * 0x61C8864680B583EBull >> 32) & 0x7fffffff;
	return hash < 2 ? hash + 2 : hash == 0x7fffffff ? hash - 1 : hash;
}

static int in_order_of_sysfs(const struct dirent **one, const struct dirent **other)
{
	bool dots = (*one)->d_name[0] == '.', other_dots = (*other)->d_name[0] == '.';
	uint32_t hash = name_hash((*one)->d_name), other_hash = name_hash((*other)->d_name);

	if (dots || other_dots)
		return dots && other_dots ? strcmp((*one)->d_name, (*other)->d_name) : dots ? -1 : 1;
	return hash == other_hash ? strcmp((*one)->d_name, (*other)->d_name) : hash < other_hash ? -1 : 1;
}

static void forget_entries(struct merged *entry)
{
	while (entry->count)
		free(entry->ours[--entry->count]);
	free(entry->ours);
	entry->ours = NULL;
	entry->at = 0;
}

static void read_entries(struct merged *entry)
{
	bool sysfs = strncmp(entry->path, "/dev", 4) != 0;
	int saved = errno;

	entry->count = REAL(scandir)(entry->listed, &entry->ours, NULL, sysfs ? in_order_of_sysfs : NULL);
	if (entry->count < 0)
		entry->count = 0;
	errno = saved;
}

/* List what is in the session's directory OURS, and STREAM's after it where PATH is that of a merged directory. */
static DIR *list(DIR *stream, const char *path, const char *ours)
{
	struct merged *entry;

	if (!stream || strlen(path) >= sizeof(entry->path))
		return stream;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return stream;
	strcpy(entry->path, path);
	strcpy(entry->listed, ours);
	entry->stream = stream;
	read_entries(entry);
	pthread_mutex_lock(&merged_lock);
	entry->next = merged_list;
	__atomic_store_n(&merged_list, entry, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&merged_lock);
	dx_mark(dirfd(stream), *path ? MARK_MERGED : MARK_TREE);
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
		return list(REAL(opendir)(place.path), "", place.path);
	case DX_MERGED:
		outer = dx_outer(place.path);
		stream = REAL(opendir)(path);
		return lists_more(outer) ? list(stream, outer, place.path) : stream;
	default:
		return REAL(opendir)(path);
	}
}

EXPORT DIR *fdopendir(int fd)
{
	struct dx_place place;
	char path[PATH_MAX];
	const char *outer;

	if (likely(!(dx_marked(fd) & (MARK_MERGED | MARK_TREE))) || dx_fd_path(fd, path) < 0)
		return REAL(fdopendir)(fd);
	if (dx_marked(fd) & MARK_TREE)
		return list(REAL(fdopendir)(fd), "", path);
	if (dx_locate(AT_FDCWD, path, &place) != DX_MERGED)
		return REAL(fdopendir)(fd);
	outer = dx_outer(place.path);
	return lists_more(outer) ? list(REAL(fdopendir)(fd), outer, place.path) : REAL(fdopendir)(fd);
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
	while (entry->at < entry->count) {
		item = entry->ours[entry->at++];
		if (!*entry->path)
			return item;
		if (item->d_name[0] != '.' && dx_hidden(entry->path, item->d_name)) {
			if (strcmp(entry->path, "/dev") == 0)
				item->d_type = item->d_name[0] == 'p' ? DT_BLK : DT_CHR;
			return item;
		}
	}
	if (!*entry->path)
		return NULL;
	return next_of_machine(entry);
}

struct dirent64 *readdir64(DIR *stream) ALIAS(readdir);

EXPORT void rewinddir(DIR *stream)
{
	struct merged *entry = find(stream);

	if (unlikely(entry)) {
		forget_entries(entry);
		read_entries(entry);
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
		if (entry)
			forget_entries(entry);
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
