/* SPDX-License-Identifier: MIT */
/*
 * huge_tmpfs: a tmpfs with huge pages that is mounted nowhere. Whoever holds its descriptor can make
 * files in it; it is gone with the last of them. Who may not mount makes it in a user namespace.
 */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SET_STRING = 1, CREATE = 6, CLOEXEC = 1, NOATIME = 0x10 };

static int mount_detached(void)
{
	int context = syscall(SYS_fsopen, "tmpfs", CLOEXEC), mount = -1;

	if (context < 0)
		return -errno;
	/* No limit of its own: how much memory there is, is found elsewhere. */
	if (syscall(SYS_fsconfig, context, SET_STRING, "huge", "within_size", 0) == 0 &&
	    syscall(SYS_fsconfig, context, SET_STRING, "size", "0", 0) == 0 &&
	    syscall(SYS_fsconfig, context, CREATE, NULL, NULL, 0) == 0)
		mount = syscall(SYS_fsmount, context, CLOEXEC, NOATIME);
	if (mount < 0)
		mount = -errno;
	close(context);
	return mount;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), status;

	if (fd < 0)
		return -errno;
	status = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return status;
}

static int enter_user_namespace(const char *uid_map, const char *gid_map)
{
	int status;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -errno;
	status = write_file("/proc/self/uid_map", uid_map);
	if (status == 0)
		status = write_file("/proc/self/setgroups", "deny");
	return status ? status : write_file("/proc/self/gid_map", gid_map);
}

/* The child's answer: a status, and the mount's descriptor with it. */
static void answer(int sock, int result)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec body = { &result, sizeof(result) };
	struct msghdr message = { .msg_iov = &body, .msg_iovlen = 1 };

	if (result >= 0) {
		struct cmsghdr *part;

		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		part = CMSG_FIRSTHDR(&message);
		part->cmsg_level = SOL_SOCKET;
		part->cmsg_type = SCM_RIGHTS;
		part->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(part), &result, sizeof(int));
	}
	sendmsg(sock, &message, MSG_NOSIGNAL);
}

static int receive(int sock)
{
	char control[CMSG_SPACE(sizeof(int))];
	int result = -EIO, fd;
	struct iovec body = { &result, sizeof(result) };
	struct msghdr message = { .msg_iov = &body, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *part;

	if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC) != sizeof(result))
		return -EIO;
	part = CMSG_FIRSTHDR(&message);
	if (result < 0 || !part)
		return result < 0 ? result : -EIO;
	memcpy(&fd, CMSG_DATA(part), sizeof(int));
	return fd;
}

static int mount_in_user_namespace(void)
{
	char uid_map[64], gid_map[64];
	int pair[2], result;
	pid_t child;

	snprintf(uid_map, sizeof(uid_map), "0 %u 1", geteuid());
	snprintf(gid_map, sizeof(gid_map), "0 %u 1", getegid());
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	/* The child of a process with threads makes system calls only. */
	child = fork();
	if (child == 0) {
		int status = enter_user_namespace(uid_map, gid_map);

		answer(pair[1], status ? status : mount_detached());
		_exit(0);
	}
	result = child < 0 ? -errno : 0;
	close(pair[1]);
	if (result == 0) {
		result = receive(pair[0]);
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(pair[0]);
	return result;
}

PyObject *dx_huge_tmpfs(PyObject *self, PyObject *args)
{
	int mount;

	(void)self;
	(void)args;
	Py_BEGIN_ALLOW_THREADS
	mount = mount_detached();
	if (mount == -EPERM)
		mount = mount_in_user_namespace();
	Py_END_ALLOW_THREADS
	if (mount < 0)
		return dx_oserror(-mount, "mount", "a tmpfs with huge=within_size");
	return PyLong_FromLong(mount);
}
