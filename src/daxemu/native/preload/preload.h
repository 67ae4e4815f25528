/* SPDX-License-Identifier: MIT */
/* What the files of the preload library share. Inside, functions return -errno; errno is set at the edge. */
#ifndef DX_PRELOAD_H
#define DX_PRELOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "table.h"

#define EXPORT __attribute__((visibility("default")))
#define ALIAS(name) EXPORT __attribute__((alias(#name)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
/* What needs paths on the stack stays out of the frames of what almost every call takes: stacks may be small. */
#define SLOW __attribute__((noinline, cold))

/* -errno to errno and -1. */
static inline long dx_edge(long result)
{
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

/* The same for an error that is known. */
static inline int dx_refuse(int error)
{
	errno = error;
	return -1;
}

/* -- session.c ------------------------------------------------------------------------------- */

/* The session: set once, before main. `table` is NULL where there is none; then every wrapper passes through. */
struct dx_session {
	const void *table;
	char directory[PATH_MAX];
	size_t directory_length;
	dev_t dev_of_dev, dev_of_sys; /* what stat shows as st_dev below /dev and /sys */
};
extern struct dx_session dx_session;

static inline bool dx_active(void)
{
	return dx_session.table != NULL;
}

/* Does the emulated kernel have this quirk, a DX_QUIRK_…? */
static inline bool dx_quirk(uint64_t quirk)
{
	return dx_table_header(dx_session.table)->quirks & quirk;
}

/*
 * Find the real functions and the session; at the first call of a wrapper, and before main. A call
 * may come before the C library knows the environment (sanitizers make such), so the session may
 * be found only later.
 */
void dx_init(void);

/*
 * Is what this library remembers this process's own? Between vfork and exec a child has
 * descriptors and a directory of its own, and its parent's memory.
 */
bool dx_owns_memory(void);

/* A connection to the engine, or -errno. */
int dx_connect(void);
/* Send a request, with a descriptor if fd >= 0; the answer's status, *answer_fd set if it brought a descriptor. */
int dx_request(int sock, uint32_t type, uint32_t minor, int fd, int *answer_fd);
/* Have the kernel's log tell why a mapping was refused, if the engine listens; waits for it a second at most. */
void dx_log_refusal(uint32_t minor, const struct refusal *why);
/* Have other processes told that a part of a device is to be taken for broken; waits for it a few seconds at most. */
void dx_tell_broken(uint32_t minor, uint64_t first, uint64_t end);
/* May the device be opened now? The engine decides, and may take its time; 0 or -errno. */
int dx_ask_to_open(uint32_t minor);
/* A descriptor of the device's backing file, kept for the life of the process; or -errno. */
int dx_backing(const struct table_device *device);
/* The same if there is one already, else -1. */
/* Close one of these, because a descriptor is needed; false if there is none. */
bool dx_give_up_kept(void);

/* The same for a write of an attribute. */
int dx_request_store(int sock, const char *path, const void *data, size_t n);

/* -- agent.c --------------------------------------------------------------------------------- */

/* Have the library hear of forks; 0 or an error number. */
int dx_watch_fork(void (*in_child)(void));
/* Make sure that the engine can revoke this process's mappings. 0 or -errno. */
int dx_agent_ensure(void);

/* -- fds.c ----------------------------------------------------------------------------------- */

/* Which descriptors may be ours: a filter only; fstat decides. */
enum { MARK_DAX = 1, MARK_TREE = 2, MARK_MERGED = 4, MARK_VIEW = 8, MARK_FRESH = 16 };
enum { MARK_NOFOLLOW = 32 /* with MARK_DAX: opened with that flag */, MARKED_FDS = 65536 };
extern uint8_t dx_marks[MARKED_FDS];

static inline int dx_marked(int fd)
{
	return (unsigned)fd < MARKED_FDS ? dx_marks[fd] : 0;
}

void dx_change_mark(int fd, int mark);
static inline void dx_mark(int fd, int mark)
{
	if ((unsigned)fd < MARKED_FDS && unlikely(dx_marks[fd] != mark))
		dx_change_mark(fd, mark);
}

/* Mark descriptors that this process was born with or received. */
void dx_mark_inherited(void);
void dx_mark_if_ours(int fd);
/* A device's memory is a file, or a device-DAX that the machine itself has. */
static inline bool dx_may_back(const struct stat *st)
{
	return S_ISREG(st->st_mode) || S_ISCHR(st->st_mode);
}

/* Is it the file behind a device, present or gone? */
bool dx_is_device(uint64_t dev, uint64_t ino);
/* Is it open on a device? */
bool dx_fd_device(int fd, struct table_device *device);
static inline bool dx_on_device(int fd)
{
	struct table_device device;

	return unlikely(dx_marked(fd)) && dx_fd_device(fd, &device);
}
/* Is it open for this, O_RDONLY or O_WRONLY? */
bool dx_may(int fd, int direction);
/* Has this process the capability? */
bool dx_is_capable(int capability);
/* The path that /proc/self/fd shows; length or -errno. */
int dx_fd_path(int fd, char path[PATH_MAX]);

/* -- attributes.c ---------------------------------------------------------------------------- */

struct iovec;
/* Is it open on an attribute's file? */
bool dx_fd_attribute(int fd);
static inline bool dx_on_attribute(int fd)
{
	return unlikely(dx_marked(fd) & MARK_TREE) && dx_fd_attribute(fd);
}
/* At the begin of an attribute a read shows what it is now; 0, or -ENODEV if it is gone. */
int dx_refresh(int fd);
/* Write an attribute; how many bytes were taken, or -errno. */
ssize_t dx_store(int fd, const struct iovec *parts, int count);
/* A stream whose flushes are writes of the attribute that fd is open on. */
struct _IO_FILE *dx_attribute_stream(int fd);
/* Descriptor 1 has changed: have stdout write to attributes by the rules, and to all else as ever. */
void dx_follow_stdout(void);

/* -- views.c --------------------------------------------------------------------------------- */

/*
 * Files of /proc that tell of devices: maps, smaps and numa_maps of a process, and devices. What a
 * program reads is a copy in which the file behind a device is its node; a snapshot, taken anew
 * when it is read from the begin. MARK_VIEW marks descriptors of such copies, MARK_FRESH those that
 * have not been read yet.
 */

/* False for almost every path: then it is none of these. A few instructions, no call. */
static inline bool dx_maybe_view(const char *path)
{
	if (path[0] == '/')
		return path[1] == 'p' && path[2] == 'r' && path[3] == 'o' && path[4] == 'c' && path[5] == '/';
	return (path[0] == 'm' && path[1] == 'a' && path[2] == 'p') || (path[0] == 's' && path[1] == 'm' && path[2] == 'a') ||
	       (path[0] == 'n' && path[1] == 'u' && path[2] == 'm') || (path[0] == 'd' && path[1] == 'e' && path[2] == 'v');
}

/* Does the path end in the name of one? */
bool dx_names_view(const char *path);
/* FD is open on what may be one: if there is something to change in it, FD is from now on open on a changed copy. */
void dx_view(int fd, int flags);
/* Before a read: take the copy anew if it is about to be read from the begin again. */
void dx_refresh_view(int fd);
/* Is this, as /proc/self/fd shows it, such a copy? Then the path becomes that of the original. */
bool dx_view_path(char *path);

/* -- wrap_dir.c ------------------------------------------------------------------------------ */

/* Around a fork. */
void dx_lock_directories(void);
void dx_unlock_directories(void);
void dx_reset_directories(void);

/* -- owned.c --------------------------------------------------------------------------------- */

/* Is it in a directory of which the machine's own is never seen? */
bool dx_owned(const char *path);
/* Have the engine show what it shows only when a program first looks, if this path is such. */
void dx_show(const char *path);
/* Is it open on something in a sysfs of the machine's? One call, no paths on the stack. */
bool dx_is_sysfs(int fd);
/*
 * Is it open on a file of the machine's that such a directory hides, reached by a link of the
 * machine's or from a directory that was open before? *path: where programs are to find it.
 */
bool dx_machine_file(int fd, char path[PATH_MAX]);

/* -- paths.c --------------------------------------------------------------------------------- */

enum dx_where {
	DX_REAL, /* not ours: make the call as it was asked */
	DX_NODE, /* a device node: `path` is the file that stands for it */
	DX_TREE, /* in the emulated /sys: `path` is the file in the session */
	DX_MERGED /* a directory of which the machine has one part and the session another: `path` is ours */
};

struct dx_place {
	enum dx_where where;
	char path[PATH_MAX];
};

/* False for almost every path: then it cannot be ours. A few instructions, no call. */
extern char dx_cwd[PATH_MAX]; /* the current directory while it is a merged one or in the session, else "" */
static inline bool dx_maybe(int dirfd, const char *path)
{
	if (!path)
		return false;
	if (path[0] == '/') {
		if (path[1] == 'd' && path[2] == 'e' && path[3] == 'v')
			return path[4] != '/' || path[5] == 'd' || path[5] == '/' || path[5] == '.' || path[5] == 0 ||
			       (path[6] == 'm' && (path[5] == 'p' || path[5] == 'n')) || (path[5] == 'n' && path[6] == 'd');
		if (path[1] == 's' && path[2] == 'y')
			return path[3] == 's';
		return path[1] == '/' || path[1] == '.' || path[1] == 0;
	}
	return unlikely(dirfd >= 0 ? dx_marked(dirfd) & (MARK_MERGED | MARK_TREE) : dx_cwd[0]);
}

/* /proc/self/fd/N, /dev/fd/N, /dev/stdin: paths that lead to whatever a descriptor is open on, or a mapping is of. */
static inline bool dx_by_descriptor(const char *path)
{
	if (path[0] != '/' || (path[1] != 'p' && path[1] != 'd'))
		return false;
	return (strncmp(path, "/proc/", 6) == 0 && (strstr(path, "/fd/") || strstr(path, "/map_files/"))) || strncmp(path, "/dev/fd/", 8) == 0 || strncmp(path, "/dev/std", 8) == 0;
}

enum dx_where dx_locate(int dirfd, const char *path, struct dx_place *place);
/* The same for the target of a symbolic link that the kernel, which does not know ours, finds dangling. */
enum dx_where dx_locate_target(int dirfd, const char *path, struct dx_place *place);
/* The path as programs know it, for one inside the session's tree; NULL if it is none. */
const char *dx_outer(const char *path);
/* Does the program's /dev or /sys hide this entry of the machine's own directory? */
bool dx_hidden(const char *directory, const char *name);
void dx_update_cwd(void);

/* -- ranges.c -------------------------------------------------------------------------------- */

/*
 * Ranges of addresses with something to remember of the mappings of devices there; changed with the mappings locked.
 * What a program unmaps behind our back is forgotten when something is mapped there.
 */
enum { DX_RANGES = 64 };
struct dx_range {
	uintptr_t start, end;
};
struct dx_ranges {
	bool used; /* ever */
	struct dx_range of[DX_RANGES];
};

/*
 * Made by a descriptor for reading: to be revoked like any other they are really made by one for reading and writing,
 * since only such a mapping can the kernel move in place; so it is here that mprotect learns what must not be written.
 */
extern struct dx_ranges dx_readonly;
extern struct dx_ranges dx_no_huge; /* told to do without huge pages */
extern struct dx_ranges dx_sealed; /* by mseal */
extern struct dx_ranges dx_synchronous; /* made with MAP_SYNC */

/* False if there is no room. */
bool dx_add_range(struct dx_ranges *ranges, const void *at, size_t length);
/* Does any of it lie in one? */
bool dx_in_ranges(const struct dx_ranges *ranges, const void *at, size_t length);
void dx_remove_range(struct dx_ranges *ranges, const void *at, size_t length);
/* Of every kind: the mapping is gone, or has been moved. */
void dx_forget_ranges(const void *at, size_t length);
void dx_move_ranges(const void *old, size_t old_length, const void *new, size_t length, bool keeps_old);
/* Of another process that has this library at a place, of which RANGES is this one's; false too if it cannot be asked. */
bool dx_in_ranges_of(pid_t pid, uintptr_t library, const struct dx_ranges *ranges, const void *at, size_t length);
/* Where this process has this library. */
uintptr_t dx_library(void);

/* -- refusals.c ------------------------------------------------------------------------------ */

/* Is any page of this range in the page tables? */
bool dx_is_present(uintptr_t start, uintptr_t end);
/* The same of the process whose pagemap this is a descriptor of. */
bool dx_is_present_in(int pagemap, uintptr_t start, uintptr_t end);
/* From now on there are mappings with an end off the alignment. */
void dx_note_unaligned(void);
/*
 * The driver refuses faults where it is to do without huge pages, and in mappings off the alignment; what is in the page
 * tables already needs no fault. Call with the mappings locked, after whatever changes mappings or takes pages away. MAPS
 * as for dx_each_vma.
 */
void dx_settle_refusals(int maps);

/* -- wrap_vma.c ------------------------------------------------------------------------------ */

/*
 * While somebody acts on what the kernel's list of mappings says, nobody may put another mapping
 * where a device's is. Bounded: the holder may be stopped.
 */
void dx_lock_mappings(void);
void dx_unlock_mappings(void);
void dx_reset_mappings(void); /* in a child: the holder has stayed with the parent */
/* May this range hold a mapping of a device? */
bool dx_may_be_mapped(const void *at, size_t length);
/* Another number whenever mappings may have changed, 0 as long as no device was mapped. */
extern uint32_t dx_mappings_generation;
/* A device is mapped here from now on. */
void dx_note_mapping(const void *at, size_t length);
/* What a range of addresses means for the devices mapped there. */
struct dx_survey {
	uintptr_t start, end;
	bool any; /* a device is mapped somewhere in it */
	bool split; /* an end lies within a mapping, off its alignment */
	bool hole; /* something in it is not mapped */
	uint64_t align;
	uint32_t minor;
	uintptr_t lowest, highest; /* ends of the devices' mappings that it touches */
	uintptr_t seen; /* up to where */
};
struct dx_survey dx_survey(const void *at, size_t length);
/* Would taking this range away split the mapping of a device off its alignment? */
bool dx_would_split(const void *at, size_t length);

/* -- wrap_lock.c ----------------------------------------------------------------------------- */

/* Has the program asked for all that it maps from now on to be locked? */
extern bool dx_locks_future;

/* -- wrap_aio.c ------------------------------------------------------------------------------ */

struct iocb;
/* io_submit(2); how many were taken, or -errno. */
long dx_submit(unsigned long queue, long n, struct iocb **requests);

/* -- nodes.c --------------------------------------------------------------------------------- */

/*
 * Which device number a file stands for, if it is a node's: an alias, a real one made by mknod, or,
 * where the path says that it is in /dev, a placeholder there. (One that was unlinked leaves its
 * inode number to files that are none of ours.)
 */
bool dx_node_minor(const struct stat *st, bool in_dev, uint32_t *minor);
/*
 * The node in /dev that leads to a device: its path as the kernel shows it, and what stat says of
 * it; false, and nothing in *st, if it has been unlinked.
 */
enum { DX_NODE_NAME = 48 };
bool dx_device_node(const struct table_device *device, char name[DX_NODE_NAME], struct stat *st);
/* Make what the kernel told of a file in the session into what programs expect. */
void dx_patch_stat(enum dx_where where, struct stat *st);
bool dx_patch_fstat(int fd, struct stat *st);
/* The same for a file that may be the one behind a device; false if it is not. */
bool dx_patch_device(struct stat *st);
/* A node of the nvdimm bus: what stat shows; false if it is none. */
bool dx_patch_other(struct stat *st);
/* Open one: PATH is the file that stands for it. A descriptor or -errno. */
int dx_open_other(const char *path, const struct table_other *other, int flags);
/* Is it open on one? */
bool dx_fd_other(int fd, struct table_other *other);
/* ioctl on one; its result or -errno. */
int dx_ioctl_other(int fd, const struct table_other *other, unsigned long request, void *argument);
/* Open a device node. A descriptor or -errno. */
int dx_open_node(const char *path, int flags);
int dx_open_device(uint32_t minor, int flags);

#endif
