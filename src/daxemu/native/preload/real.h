/* SPDX-License-Identifier: MIT */
/* The functions that are wrapped, as the C library has them. One table; everything else is made from it. */
#ifndef DX_REAL_H
#define DX_REAL_H

#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/swap.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DX_REAL_FUNCTIONS(X) \
	X(open) X(openat) X(creat) X(fopen) X(freopen) X(fdopen) \
	X(stat) X(lstat) X(fstat) X(fstatat) X(statx) X(access) X(faccessat) X(euidaccess) \
	X(statfs) X(fstatfs) X(getxattr) X(lgetxattr) X(listxattr) X(llistxattr) X(setxattr) X(lsetxattr) X(utimensat) \
	X(removexattr) X(lremovexattr) X(fgetxattr) X(fsetxattr) X(fremovexattr) X(name_to_handle_at) \
	X(readlink) X(readlinkat) X(realpath) X(chdir) X(fchdir) X(getcwd) \
	X(opendir) X(fdopendir) X(readdir) X(rewinddir) X(closedir) X(scandir) X(glob) X(fts_open) X(fts_read) X(fts_children) X(fts_close) \
	X(mknod) X(mknodat) X(unlink) X(unlinkat) X(chmod) X(fchmodat) X(chown) X(lchown) X(fchownat) X(truncate) \
	X(mmap) X(munmap) X(mprotect) X(pkey_mprotect) X(mlock) X(mlock2) X(mlockall) X(munlockall) X(mincore) \
	X(remap_file_pages) X(process_madvise) X(syscall) X(madvise) X(mremap) X(msync) X(read) X(pread) X(readv) X(preadv) X(write) X(pwrite) X(writev) X(pwritev) \
	X(lseek) X(ftruncate) X(fallocate) X(posix_fallocate) X(fsync) X(fdatasync) X(ioctl) \
	X(sendfile) X(splice) X(tee) X(copy_file_range) X(sync_file_range) X(readahead) \
	X(dup) X(dup2) X(dup3) X(fcntl) X(recvmsg) X(fileno) X(_Fork) X(preadv2) X(pwritev2) X(fchmod) X(fchown) X(statvfs) X(remove) X(renameat) X(swapon) \
	X(sigaction) X(signal) X(bsd_signal) X(ssignal) X(sysv_signal) X(__sysv_signal) X(sigset) \
	X(execve) X(execvpe) X(execveat) X(fexecve) X(posix_spawn) X(posix_spawnp)

#include <sched.h>

/* Of the C library's ways to say signal, its headers show the newer ones. */
sighandler_t bsd_signal(int signal, sighandler_t handler);

struct dx_real {
#define X(name) __typeof__(name) *name;
	DX_REAL_FUNCTIONS(X)
#undef X
};
extern struct dx_real dx_real;

/* Call the C library's function; finds it first if a wrapper runs before this library's constructor. */
#define REAL(name) (likely(dx_real.name != NULL) ? dx_real.name : (dx_init(), dx_real.name))

#endif
