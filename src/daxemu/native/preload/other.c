/* SPDX-License-Identifier: MIT */
/* Nodes that are none of a dax device: /dev/ndctl0, which takes commands, nmemN, and pmemN over a raw namespace. */
#include "preload.h"

#include <linux/fs.h>
#include <linux/ndctl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include "real.h"

/* Only the type of a file that stands for such a node, or is opened by it, is not its own. */
bool dx_patch_other(struct stat *st)
{
	struct table_other other;

	if (!S_ISREG(st->st_mode) || !dx_table_other_by_file(dx_session.table, st->st_dev, st->st_ino, &other))
		return false;
	st->st_mode = (st->st_mode & 07777) | (other.flags & DX_OTHER_BLOCK ? S_IFBLK : S_IFCHR);
	st->st_rdev = makedev(other.major, other.minor);
	st->st_dev = dx_session.dev_of_dev;
	st->st_size = 0;
	st->st_blocks = 0;
	st->st_blksize = 4096;
	return true;
}

bool dx_fd_other(int fd, struct table_other *other)
{
	struct stat st;

	return dx_marked(fd) && REAL(fstat)(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       dx_table_other_by_file(dx_session.table, st.st_dev, st.st_ino, other);
}

/*
 * Ask for something about a node: its name and SIZE bytes of DATA, which become the answer's. How
 * many these are, or -errno; *answer_fd is set if the answer brings a descriptor.
 */
static ssize_t ask(uint32_t type, const char *name, uint64_t request, void *data, size_t size, int *answer_fd)
{
	const struct timeval patience = { .tv_sec = 600 };
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	size_t name_size = strlen(name) + (size > 0);
	struct message message = { .magic = DX_MESSAGE_MAGIC, .version = DX_WIRE_VERSION, .type = type, .serial = request,
				   .length = sizeof(message) + name_size + size };
	struct iovec body[] = { { &message, sizeof(message) }, { (void *)name, name_size }, { data, size } };
	struct iovec answer[] = { { &message, sizeof(message) }, { data, size } };
	struct msghdr header = { .msg_iov = body, .msg_iovlen = 3 };
	int sock = dx_connect();
	ssize_t n;

	if (sock < 0)
		return sock == -ENXIO ? -ENODEV : sock;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	n = sendmsg(sock, &header, MSG_NOSIGNAL);
	header = (struct msghdr){ .msg_iov = answer, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof(control) };
	while (n >= 0 && (n = REAL(recvmsg)(sock, &header, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		n = 0;
	close(sock);
	if (n < (ssize_t)sizeof(message) || message.magic != DX_MESSAGE_MAGIC || message.type != type)
		return -ENODEV;
	if (answer_fd) {
		struct cmsghdr *part = CMSG_FIRSTHDR(&header);

		*answer_fd = -1;
		if (part && part->cmsg_type == SCM_RIGHTS)
			memcpy(answer_fd, CMSG_DATA(part), sizeof(int));
	}
	return message.status < 0 ? message.status : n - (ssize_t)sizeof(message);
}

static int open_disk(const char *name, int flags)
{
	char path[32];
	int fd, memory;
	ssize_t status = ask(DX_OPEN_DISK, name, 0, NULL, 0, &memory);

	if (status < 0 || memory < 0)
		return status < 0 ? status : -ENXIO;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	fd = REAL(open)(path, flags & (O_ACCMODE | O_CLOEXEC | O_NONBLOCK | O_SYNC | O_DSYNC));
	fd = fd < 0 ? -errno : fd;
	close(memory);
	return fd;
}

int dx_open_other(const char *path, const struct table_other *other, int flags)
{
	int fd;

	if ((flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (flags & O_DIRECTORY)
		return -ENOTDIR;
	if (other->flags & DX_OTHER_BLOCK) {
		fd = open_disk(strrchr(path, '/') + 1, flags);
	} else { /* nothing is read or written through it */
		fd = REAL(open)(path, O_RDONLY | (flags & (O_CLOEXEC | O_NONBLOCK)));
		fd = fd < 0 ? -errno : fd;
	}
	if (fd >= 0)
		dx_mark(fd, MARK_DAX);
	return fd;
}

static int disk_ioctl(int fd, unsigned long request, void *argument)
{
	struct stat st;

	if (REAL(fstat)(fd, &st) < 0)
		return -errno;
	switch (request) {
	case BLKGETSIZE64:
		*(uint64_t *)argument = st.st_size;
		return 0;
	case BLKGETSIZE:
		*(unsigned long *)argument = st.st_size / 512;
		return 0;
	case BLKSSZGET:
		*(int *)argument = 512;
		return 0;
	case BLKPBSZGET:
		*(unsigned *)argument = 4096;
		return 0;
	case BLKROGET:
		*(int *)argument = 0;
		return 0;
	case BLKFLSBUF:
		return 0;
	default:
		return -ENOTTY;
	}
}

/* Of commands whose arguments vary in size, a field of the argument tells how large this one is. */
static size_t argument_size(unsigned long request, const void *argument)
{
	const struct nd_cmd_ars_status *status = argument;
	const struct nd_cmd_pkg *package = argument;

	if (_IOC_TYPE(request) != ND_IOCTL)
		return 0;
	switch (_IOC_NR(request)) {
	case ND_CMD_CALL:
		return sizeof(*package) + (size_t)package->nd_size_in + package->nd_size_out;
	case ND_CMD_ARS_STATUS:
		return status->out_length;
	default:
		return _IOC_SIZE(request);
	}
}

int dx_ioctl_other(int fd, const struct table_other *other, unsigned long request, void *argument)
{
	char path[PATH_MAX];
	const char *outer;
	size_t size;
	ssize_t n;
	void *copy;

	if (other->flags & DX_OTHER_BLOCK)
		return disk_ioctl(fd, request, argument);
	if (_IOC_TYPE(request) != ND_IOCTL || dx_fd_path(fd, path) < 0 || !(outer = dx_outer(path)))
		return -ENOTTY;
	size = argument ? argument_size(request, argument) : 0;
	if (size == 0 || size > DX_IOCTL_MOST)
		return -EINVAL;
	copy = malloc(size); /* the answer may be refused: the argument stays then as it was */
	if (!copy)
		return -ENOMEM;
	memcpy(copy, argument, size);
	n = ask(DX_IOCTL, strrchr(outer, '/') + 1, request, copy, size, NULL);
	if (n > 0)
		memcpy(argument, copy, n);
	free(copy);
	return n < 0 ? n : 0;
}
