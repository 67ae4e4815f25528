/* SPDX-License-Identifier: MIT */
#include "preload.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "real.h"
#include "recording.h"

struct dx_session dx_session;
struct dx_real dx_real;

static void find_real_functions(void)
{
#define X(name) dx_real.name = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);
	DX_REAL_FUNCTIONS(X)
#undef X
}

static const void *map_table(const char *directory)
{
	char path[PATH_MAX + 8];
	void *table = MAP_FAILED;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/table", directory);
	fd = dx_real.open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (dx_real.fstat(fd, &st) == 0 && st.st_size == DX_TABLE_SIZE)
		table = dx_real.mmap(NULL, DX_TABLE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (table == MAP_FAILED)
		return NULL;
	if (dx_table_check(table) == 0)
		return table;
	munmap(table, DX_TABLE_SIZE);
	return NULL;
}

static void attach(void)
{
	const char *directory = getenv("DAXEMU_SESSION");
	struct stat st;

	if (!directory || strlen(directory) >= sizeof(dx_session.directory) - 64)
		return;
	strcpy(dx_session.directory, directory);
	dx_session.directory_length = strlen(directory);
	if (dx_real.stat("/dev", &st) == 0)
		dx_session.dev_of_dev = st.st_dev;
	if (dx_real.stat("/sys", &st) == 0)
		dx_session.dev_of_sys = st.st_dev;
	dx_session.table = map_table(directory);
}

static pid_t owner;

bool dx_owns_memory(void)
{
	return getpid() == owner;
}

static void own_memory(void)
{
	owner = getpid();
	dx_record_forked();
}

__attribute__((constructor)) void dx_init(void)
{
	static bool attached;
	int saved = errno;

	/* Before main there is one thread. Whoever comes earlier than the constructor is a constructor too. */
	if (!dx_real.open)
		find_real_functions();
	if (!attached && environ) {
		attached = true;
		attach();
		if (dx_active()) {
			own_memory();
			dx_watch_fork(own_memory);
			dx_update_cwd();
			dx_mark_inherited();
			dx_record_join();
			dx_follow_stdout();
		}
	}
	errno = saved;
}

/* Each answer is waited for that long; HURRIED: the connection too, however many wait for theirs. */
static int connect_within(time_t seconds, bool hurried)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = seconds };
	int sock;

	if (dx_session.directory_length + sizeof("/sock") > sizeof(name.sun_path))
		return -ENAMETOOLONG;
	memcpy(name.sun_path, dx_session.directory, dx_session.directory_length);
	strcpy(name.sun_path + dx_session.directory_length, "/sock");
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (hurried)
		setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	while (connect(sock, (struct sockaddr *)&name, sizeof(name)) < 0) {
		int error = errno;

		if (error == EINTR)
			continue;
		close(sock);
		return error == ECONNREFUSED || error == ENOENT ? -ENXIO : -error;
	}
	return sock;
}

int dx_connect(void)
{
	return connect_within(30, false);
}

static void put_fd(struct msghdr *header, char *control, size_t room, int fd)
{
	struct cmsghdr *part;

	header->msg_control = control;
	header->msg_controllen = room;
	part = CMSG_FIRSTHDR(header);
	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(part), &fd, sizeof(int));
}

static int take_fd(struct msghdr *header)
{
	struct cmsghdr *part = CMSG_FIRSTHDR(header);
	int fd;

	if (!part || part->cmsg_type != SCM_RIGHTS || part->cmsg_len < CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(&fd, CMSG_DATA(part), sizeof(int));
	return fd;
}

static int receive(int sock, struct message *message, uint32_t type, int *answer_fd)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec body = { message, sizeof(*message) };
	struct msghdr header = { .msg_iov = &body, .msg_iovlen = 1 };
	ssize_t n;

	for (;;) {
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		n = REAL(recvmsg)(sock, &header, MSG_CMSG_CLOEXEC);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(*message) || type != DX_AGENT || message->type != DX_SYNC)
			break;
		/* It has overtaken the answer. Nothing is mapped yet, or all of it will be looked at anyway. */
		message->status = 0;
		send(sock, message, sizeof(*message), MSG_NOSIGNAL);
	}
	if (n != sizeof(*message) || message->magic != DX_MESSAGE_MAGIC || message->type != type)
		return -ENXIO;
	if (answer_fd)
		*answer_fd = take_fd(&header);
	return message->status;
}

static void wait_long(int sock)
{
	struct timeval patience = { .tv_sec = 600 }; /* the engine may wait for other requests, and for clients */

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

int dx_request_store(int sock, const char *path, const void *data, size_t n)
{
	size_t path_size = strlen(path) + 1;
	struct message message = { .magic = DX_MESSAGE_MAGIC, .version = DX_WIRE_VERSION, .type = DX_STORE,
				   .length = sizeof(message) + path_size + n };
	struct iovec body[] = { { &message, sizeof(message) }, { (void *)path, path_size }, { (void *)data, n } };
	struct msghdr header = { .msg_iov = body, .msg_iovlen = 3 };

	wait_long(sock);
	if (sendmsg(sock, &header, MSG_NOSIGNAL) < 0)
		return -ENODEV;
	return receive(sock, &message, DX_STORE, NULL);
}

void dx_log_refusal(uint32_t minor, const struct refusal *why)
{
	struct message message = { .magic = DX_MESSAGE_MAGIC, .version = DX_WIRE_VERSION, .type = DX_LOG, .minor = minor };
	char comm[16] = "";
	struct iovec body[] = { { &message, sizeof(message) }, { (void *)why, sizeof(*why) }, { comm, 0 } };
	struct msghdr header = { .msg_iov = body, .msg_iovlen = 3 };
	int sock = connect_within(1, true);

	if (sock < 0)
		return;
	prctl(PR_GET_NAME, comm);
	body[2].iov_len = strnlen(comm, sizeof(comm));
	message.length = sizeof(message) + sizeof(*why) + body[2].iov_len;
	if (sendmsg(sock, &header, MSG_NOSIGNAL) > 0)
		receive(sock, &message, DX_LOG, NULL);
	close(sock);
}

void dx_tell_broken(uint32_t minor, uint64_t first, uint64_t end)
{
	struct table_check check = { .minor = minor, .first = first, .end = end };
	struct message message = { .magic = DX_MESSAGE_MAGIC, .version = DX_WIRE_VERSION, .type = DX_HWPOISON,
				   .length = sizeof(message) + sizeof(check), .minor = minor };
	struct iovec body[] = { { &message, sizeof(message) }, { &check, sizeof(check) } };
	struct msghdr header = { .msg_iov = body, .msg_iovlen = 2 };
	int sock = connect_within(6, true);

	if (sock < 0)
		return;
	if (sendmsg(sock, &header, MSG_NOSIGNAL) > 0)
		receive(sock, &message, DX_HWPOISON, NULL);
	close(sock);
}

int dx_request(int sock, uint32_t type, uint32_t minor, int fd, int *answer_fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct message message = { .magic = DX_MESSAGE_MAGIC, .version = DX_WIRE_VERSION, .type = type,
				   .length = sizeof(message), .minor = minor };
	struct iovec body = { &message, sizeof(message) };
	struct msghdr header = { .msg_iov = &body, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0)
		put_fd(&header, control, sizeof(control), fd);
	do
		n = sendmsg(sock, &header, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -ENXIO : receive(sock, &message, type, answer_fd);
}

int dx_ask_to_open(uint32_t minor)
{
	int sock = dx_connect(), status;

	if (sock < 0)
		return sock;
	wait_long(sock);
	status = dx_request(sock, DX_ASK_TO_OPEN, minor, -1, NULL);
	close(sock);
	return status;
}

/* Kept descriptors go where programs do not look for theirs. */
static int keep_high(int fd)
{
	static const int floors[] = { 900, 400, 200, 100 };

	for (size_t i = 0; i < sizeof(floors) / sizeof(*floors); i++) {
		int high = dx_real.fcntl(fd, F_DUPFD_CLOEXEC, floors[i]);

		if (high < 0)
			continue;
		close(fd);
		return high;
	}
	return fd;
}

static bool is_backing(int fd, const struct table_device *device)
{
	struct stat st;

	return dx_real.fstat(fd, &st) == 0 && st.st_ino == device->ino && st.st_dev == device->dev;
}

static int kept[DX_NR_DEVICES]; /* descriptor + 1; programs may close it, so it is checked */

bool dx_give_up_kept(void)
{
	for (uint32_t i = 0; i < DX_NR_DEVICES; i++) {
		int fd = __atomic_exchange_n(&kept[i], 0, __ATOMIC_RELAXED) - 1;
		struct table_device device;

		if (fd >= 0 && dx_table_device(dx_session.table, i, &device) && is_backing(fd, &device))
			return close(fd) == 0;
	}
	return false;
}

static int kept_fd(const struct table_device *device)
{
	int fd = __atomic_load_n(&kept[device->minor], __ATOMIC_RELAXED) - 1;

	return fd >= 0 && is_backing(fd, device) ? fd : -1;
}

int dx_backing(const struct table_device *device)
{
	int fd = kept_fd(device);
	int sock, status;

	if (fd >= 0)
		return fd;
	sock = dx_connect();
	if (sock < 0)
		return sock;
	fd = -1;
	status = dx_request(sock, DX_OPEN, device->minor, -1, &fd);
	close(sock);
	if (status < 0 || fd < 0)
		return status < 0 ? status : -ENXIO;
	if (!is_backing(fd, device)) { /* the device has changed hands meanwhile */
		close(fd);
		return -ENXIO;
	}
	fd = keep_high(fd);
	dx_mark(fd, MARK_DAX);
	__atomic_store_n(&kept[device->minor], fd + 1, __ATOMIC_RELAXED);
	return fd;
}
