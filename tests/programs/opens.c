/* SPDX-License-Identifier: MIT */
/* What open answers, flag by flag, and what F_GETFL tells of it. Also the calls that take the path. */
#include "observe.h"

#include <sys/statfs.h>
#include <sys/swap.h>
#include <sys/xattr.h>

static void opened(const char *how, int fd)
{
	if (fd < 0) {
		printf("open %s: %s\n", how, strerrorname_np(errno));
		return;
	}
	printf("open %s: flags %#o\n", how, fcntl(fd, F_GETFL));
	close(fd);
}

#define OPEN(flags) opened(#flags, open(node, flags, 0600))

int main(int argc, char **argv)
{
	int fd = begin(argc, argv);
	char path[64], value[8], *none[] = { NULL };
	struct { struct file_handle handle; char room[128]; } handle = { .handle.handle_bytes = 128 };
	struct statx stx;
	struct stat st;
	int mount_id, i;

	OPEN(O_RDONLY);
	OPEN(O_WRONLY);
	OPEN(O_RDWR);
	OPEN(3);
	OPEN(O_RDWR | O_SYNC);
	OPEN(O_RDWR | O_DSYNC);
	OPEN(O_RDWR | O_TRUNC);
	OPEN(O_RDWR | O_APPEND);
	OPEN(O_RDWR | O_CREAT);
	OPEN(O_RDWR | O_CREAT | O_TRUNC);
	OPEN(O_RDWR | O_EXCL);
	OPEN(O_RDWR | O_CREAT | O_EXCL);
	OPEN(O_RDWR | O_NONBLOCK);
	OPEN(O_RDWR | O_NOFOLLOW);
	OPEN(O_RDWR | O_NOATIME);
	OPEN(O_RDWR | O_ASYNC);
	OPEN(O_RDWR | O_NOCTTY);
	OPEN(O_RDWR | O_CLOEXEC);
	OPEN(O_RDWR | O_DIRECT);
	OPEN(O_RDONLY | O_DIRECT);
	OPEN(O_RDWR | O_DIRECT | O_CREAT | O_EXCL);
	OPEN(O_RDONLY | O_DIRECTORY);
	OPEN(O_PATH);
	OPEN(O_PATH | O_RDWR | O_CLOEXEC);
	OPEN(O_PATH | O_DIRECTORY);
	OPEN(O_PATH | O_DIRECT);
	OPEN(O_RDWR | O_TMPFILE);
	opened("creat", creat(node, 0600));
	snprintf(path, sizeof(path), "%s/", node);
	opened("NODE/", open(path, O_RDWR));
	snprintf(path, sizeof(path), "%s/x", node);
	opened("NODE/x", open(path, O_RDWR));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	opened("/proc/self/fd/N O_RDWR", open(path, O_RDWR));
	opened("/proc/self/fd/N O_RDONLY", open(path, O_RDONLY));
	opened("/proc/self/fd/N O_DIRECT", open(path, O_RDONLY | O_DIRECT));
	for (i = 0; i < 500 && open(node, O_RDWR) >= 0; i++)
		;
	printf("500 opens: %d\n", i);
	for (i = 10; i < 600; i++)
		close(i);

	SAY(truncate(node, 0));
	SAY(truncate(node, 4096));
	SAY(truncate(node, -1));
	SAY(execve(node, none, none));
	SAY(access(node, R_OK | W_OK));
	SAY(access(node, X_OK));
	if (geteuid() == 0)
		SAY(swapon(node, 0));
	SAY(getxattr(node, "user.x", value, sizeof(value)));
	SAY(setxattr(node, "user.x", "1", 1, 0));
	SAY(fgetxattr(fd, "user.x", value, sizeof(value)));
	SAY(fsetxattr(fd, "user.x", "1", 1, 0));
	SAY(name_to_handle_at(AT_FDCWD, node, &handle.handle, &mount_id, 0));
	SAY(fchmod(fd, 0600));
	SAY(futimens(fd, NULL));
	SAY(isatty(fd));
	SAY(statx(AT_FDCWD, node, 0, STATX_ALL, &stx));
	printf("statx attributes: %#llx in mask: %d size %llu blocks %llu blksize %u\n",
	       (unsigned long long)stx.stx_attributes & 0x200000, (stx.stx_attributes_mask & 0x200000) != 0,
	       (unsigned long long)stx.stx_size, (unsigned long long)stx.stx_blocks, stx.stx_blksize);
	SAY(statx(fd, "", AT_EMPTY_PATH, STATX_ALL, &stx));
	printf("statx of the descriptor: %#llx in mask: %d size %llu\n", (unsigned long long)stx.stx_attributes & 0x200000,
	       (stx.stx_attributes_mask & 0x200000) != 0, (unsigned long long)stx.stx_size);
	SAY(fstat(fd, &st));
	printf("fstat: mode %o size %ld blocks %ld blksize %ld nlink %ld\n", st.st_mode, (long)st.st_size, (long)st.st_blocks,
	       (long)st.st_blksize, (long)st.st_nlink);
	return 0;
}
