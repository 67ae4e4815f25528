/* SPDX-License-Identifier: MIT */
/* stat, access, statfs and their relatives. */
#include "preload.h"

#include <string.h>
#include <sys/sysmacros.h>

#include "real.h"

/* Where the call should look; DX_REAL also for what cannot be ours. */
static enum dx_where where(int dirfd, const char *path, struct dx_place *place)
{
	if (likely(!dx_active() || !dx_maybe(dirfd, path)))
		return DX_REAL;
	return dx_locate(dirfd, path, place);
}

static bool has_aliases(void)
{
	return dx_active() && unlikely(dx_table_header(dx_session.table)->nr_aliases);
}

EXPORT int fstat(int fd, struct stat *st)
{
	int result = REAL(fstat)(fd, st);

	if (unlikely(dx_marked(fd)) && result == 0)
		dx_patch_fstat(fd, st);
	return result;
}

/* A file that the kernel did not find: a link to something of ours? */
static SLOW int stat_target(int dirfd, const char *path, struct stat *st)
{
	struct dx_place place;
	enum dx_where at = dx_locate_target(dirfd, path, &place);
	int result;

	if (at != DX_NODE && at != DX_TREE) {
		errno = ENOENT;
		return -1;
	}
	result = REAL(fstatat)(AT_FDCWD, place.path, st, 0);
	if (result == 0)
		dx_patch_stat(at, st);
	return result;
}

static SLOW int stat_at(int dirfd, const char *path, struct stat *st, int flags)
{
	struct dx_place place;
	enum dx_where at = where(dirfd, path, &place);
	bool ours = at == DX_NODE || at == DX_TREE;
	int result;

	if (path && !path[0] && (flags & AT_EMPTY_PATH) && dirfd >= 0)
		return fstat(dirfd, st);
	result = REAL(fstatat)(ours ? AT_FDCWD : dirfd, ours ? place.path : path, st, flags);
	if (result < 0)
		return !ours && errno == ENOENT && path && !(flags & AT_SYMLINK_NOFOLLOW) ?
			       stat_target(dirfd, path, st) :
			       result;
	if (ours || has_aliases())
		dx_patch_stat(at, st);
	else if (dx_by_descriptor(path) && !(flags & AT_SYMLINK_NOFOLLOW))
		dx_patch_device(st);
	return result;
}

/* Nothing of ours, except perhaps behind a link: almost every path. */
static bool is_plain(int dirfd, const char *path)
{
	return path && path[0] && !dx_maybe(dirfd, path) && !has_aliases() &&
	       !(path[0] == '/' && (path[1] == 'p' || path[1] == 'd'));
}

EXPORT int fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
	int result;

	if (unlikely(!dx_active()))
		return REAL(fstatat)(dirfd, path, st, flags);
	if (unlikely(!is_plain(dirfd, path)))
		return stat_at(dirfd, path, st, flags);
	result = REAL(fstatat)(dirfd, path, st, flags);
	if (likely(result == 0 || errno != ENOENT || (flags & AT_SYMLINK_NOFOLLOW)))
		return result;
	return stat_target(dirfd, path, st);
}

EXPORT int stat(const char *path, struct stat *st)
{
	if (likely(!dx_active()))
		return REAL(stat)(path, st);
	return fstatat(AT_FDCWD, path, st, 0);
}

EXPORT int lstat(const char *path, struct stat *st)
{
	if (likely(!dx_active()))
		return REAL(lstat)(path, st);
	return fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

int stat64(const char *path, struct stat64 *st) ALIAS(stat);
int lstat64(const char *path, struct stat64 *st) ALIAS(lstat);
int fstat64(int fd, struct stat64 *st) ALIAS(fstat);
int fstatat64(int dirfd, const char *path, struct stat64 *st, int flags) ALIAS(fstatat);

/* What programs built against a C library older than 2.33 call. */
EXPORT int __xstat(int version, const char *path, struct stat *st);
EXPORT int __xstat(int version, const char *path, struct stat *st)
{
	(void)version;
	return stat(path, st);
}

EXPORT int __lxstat(int version, const char *path, struct stat *st);
EXPORT int __lxstat(int version, const char *path, struct stat *st)
{
	(void)version;
	return lstat(path, st);
}

EXPORT int __fxstat(int version, int fd, struct stat *st);
EXPORT int __fxstat(int version, int fd, struct stat *st)
{
	(void)version;
	return fstat(fd, st);
}

EXPORT int __fxstatat(int version, int dirfd, const char *path, struct stat *st, int flags);
EXPORT int __fxstatat(int version, int dirfd, const char *path, struct stat *st, int flags)
{
	(void)version;
	return fstatat(dirfd, path, st, flags);
}

int __xstat64(int version, const char *path, struct stat *st) ALIAS(__xstat);
int __lxstat64(int version, const char *path, struct stat *st) ALIAS(__lxstat);
int __fxstat64(int version, int fd, struct stat *st) ALIAS(__fxstat);
int __fxstatat64(int version, int dirfd, const char *path, struct stat *st, int flags) ALIAS(__fxstatat);

/* statx differs from stat in its structure only: patch the fields that stat would patch. */
static void patch_statx(struct statx *stx, const struct stat *before, const struct stat *after)
{
	if (memcmp(before, after, sizeof(*before)) == 0)
		return;
	stx->stx_mode = after->st_mode;
	stx->stx_nlink = after->st_nlink;
	stx->stx_uid = after->st_uid;
	stx->stx_gid = after->st_gid;
	stx->stx_ino = after->st_ino;
	stx->stx_size = after->st_size;
	stx->stx_blocks = after->st_blocks;
	stx->stx_blksize = after->st_blksize;
	stx->stx_dev_major = major(after->st_dev);
	stx->stx_dev_minor = minor(after->st_dev);
	if (S_ISCHR(after->st_mode) || S_ISBLK(after->st_mode)) {
		stx->stx_rdev_major = major(after->st_rdev);
		stx->stx_rdev_minor = minor(after->st_rdev);
	}
	if (S_ISCHR(after->st_mode) && stx->stx_rdev_major == dx_table_header(dx_session.table)->major)
		stx->stx_attributes = stx->stx_attributes_mask = STATX_ATTR_DAX;
}

static SLOW int statx_at(int dirfd, const char *path, int flags, unsigned mask, struct statx *stx)
{
	struct dx_place place;
	enum dx_where at = where(dirfd, path, &place);
	bool of_fd = dirfd >= 0 && (!path || !path[0]) && (flags & AT_EMPTY_PATH);
	struct stat before, after;
	int result;

	if (at == DX_NODE || at == DX_TREE)
		result = REAL(statx)(AT_FDCWD, place.path, flags, mask, stx);
	else
		result = REAL(statx)(dirfd, path, flags, mask, stx);
	if (unlikely(result < 0 && errno == ENOENT) && dx_active() && !(flags & AT_SYMLINK_NOFOLLOW)) {
		at = dx_locate_target(dirfd, path, &place);
		if (at == DX_NODE || at == DX_TREE)
			result = REAL(statx)(AT_FDCWD, place.path, flags, mask, stx);
		else
			errno = ENOENT;
	}
	if (result < 0 || !dx_active())
		return result;
	if (of_fd && dx_marked(dirfd)) {
		if (REAL(fstat)(dirfd, &before) < 0)
			return result;
		after = before;
		dx_patch_fstat(dirfd, &after);
		patch_statx(stx, &before, &after);
	} else if (at == DX_NODE || at == DX_TREE || has_aliases()) {
		const char *seen = at == DX_REAL || at == DX_MERGED ? path : place.path;

		if (REAL(fstatat)(at == DX_REAL ? dirfd : AT_FDCWD, seen, &before, flags & AT_SYMLINK_NOFOLLOW) < 0)
			return result;
		after = before;
		dx_patch_stat(at, &after);
		patch_statx(stx, &before, &after);
	} else if (path && dx_by_descriptor(path) && REAL(fstatat)(dirfd, path, &before, flags & AT_SYMLINK_NOFOLLOW) == 0) {
		after = before;
		dx_patch_device(&after);
		patch_statx(stx, &before, &after);
	}
	return result;
}

EXPORT int statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *stx)
{
	int result;

	if (unlikely(!dx_active()))
		return REAL(statx)(dirfd, path, flags, mask, stx);
	if (unlikely(!is_plain(dirfd, path)))
		return statx_at(dirfd, path, flags, mask, stx);
	result = REAL(statx)(dirfd, path, flags, mask, stx);
	return likely(result == 0 || errno != ENOENT || (flags & AT_SYMLINK_NOFOLLOW)) ?
		       result :
		       statx_at(dirfd, path, flags, mask, stx);
}
static SLOW int access_at(int dirfd, const char *path, int mode, int flags)
{
	struct dx_place place;
	enum dx_where at = where(dirfd, path, &place);

	int result;

	if (at == DX_NODE || at == DX_TREE)
		return REAL(faccessat)(AT_FDCWD, place.path, mode, flags);
	result = REAL(faccessat)(dirfd, path, mode, flags);
	if (likely(result == 0 || errno != ENOENT || !dx_active() || (flags & AT_SYMLINK_NOFOLLOW)))
		return result;
	at = dx_locate_target(dirfd, path, &place);
	if (at == DX_NODE || at == DX_TREE)
		return REAL(faccessat)(AT_FDCWD, place.path, mode, flags);
	errno = ENOENT;
	return -1;
}

EXPORT int faccessat(int dirfd, const char *path, int mode, int flags)
{
	int result;

	if (unlikely(!dx_active()))
		return REAL(faccessat)(dirfd, path, mode, flags);
	if (unlikely(!is_plain(dirfd, path)))
		return access_at(dirfd, path, mode, flags);
	result = REAL(faccessat)(dirfd, path, mode, flags);
	return likely(result == 0 || errno != ENOENT || (flags & AT_SYMLINK_NOFOLLOW)) ?
		       result :
		       access_at(dirfd, path, mode, flags);
}
EXPORT int access(const char *path, int mode)
{
	return faccessat(AT_FDCWD, path, mode, 0);
}

EXPORT int euidaccess(const char *path, int mode)
{
	struct dx_place place;
	enum dx_where at = where(AT_FDCWD, path, &place);

	return REAL(euidaccess)(at == DX_NODE || at == DX_TREE ? place.path : path, mode);
}

int eaccess(const char *path, int mode) ALIAS(euidaccess);

EXPORT int name_to_handle_at(int dirfd, const char *path, struct file_handle *handle, int *mount_id, int flags)
{
	struct dx_place place;
	enum dx_where at = where(dirfd, path, &place);

	if (at == DX_NODE || at == DX_TREE)
		return REAL(name_to_handle_at)(AT_FDCWD, place.path, handle, mount_id, flags);
	return REAL(name_to_handle_at)(dirfd, path, handle, mount_id, flags);
}

EXPORT int statfs(const char *path, struct statfs *fs)
{
	struct dx_place place;
	enum dx_where at = where(AT_FDCWD, path, &place);

	if (at == DX_TREE)
		return REAL(access)(place.path, F_OK) < 0 ? -1 : REAL(statfs)("/sys", fs);
	if (at == DX_NODE)
		return REAL(access)(place.path, F_OK) < 0 ? -1 : REAL(statfs)("/dev", fs);
	return REAL(statfs)(path, fs);
}

EXPORT int fstatfs(int fd, struct statfs *fs)
{
	struct table_device device;
	char path[PATH_MAX];
	const char *outer;

	if (likely(!dx_marked(fd)))
		return REAL(fstatfs)(fd, fs);
	if (dx_fd_device(fd, &device))
		return REAL(statfs)("/dev", fs);
	if (dx_fd_path(fd, path) >= 0 && (outer = dx_outer(path)))
		return REAL(statfs)(strncmp(outer, "/sys", 4) == 0 ? "/sys" : "/dev", fs);
	return REAL(fstatfs)(fd, fs);
}

EXPORT int statvfs(const char *path, struct statvfs *fs)
{
	struct dx_place place;
	enum dx_where at = where(AT_FDCWD, path, &place);

	if ((at == DX_TREE || at == DX_NODE) && REAL(access)(place.path, F_OK) < 0)
		return -1;
	return REAL(statvfs)(at == DX_TREE ? "/sys" : at == DX_NODE ? "/dev" : path, fs);
}

int statvfs64(const char *path, struct statvfs64 *fs) ALIAS(statvfs);
int statfs64(const char *path, struct statfs64 *fs) ALIAS(statfs);
int fstatfs64(int fd, struct statfs64 *fs) ALIAS(fstatfs);
