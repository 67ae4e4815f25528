/* SPDX-License-Identifier: MIT */
/* Writing an attribute: one write is one request to the engine, which answers as the kernel's store would. */
#include "preload.h"

#include <string.h>

#include "real.h"

static FILE *own_stdout; /* while descriptor 1 is an attribute */

/* The path of what the descriptor was opened on; *replaced if that has been changed or removed since. */
static int opened_path(int fd, char path[PATH_MAX], bool *replaced)
{
	static const char suffix[] = " (deleted)";
	int n = dx_fd_path(fd, path);

	*replaced = n > (int)sizeof(suffix) && strcmp(path + n - strlen(suffix), suffix) == 0;
	if (*replaced)
		path[n - strlen(suffix)] = 0;
	return n < 0 ? n : 0;
}

/* The attribute's path as the engine knows it. */
static int attribute_path(int fd, char path[PATH_MAX])
{
	bool replaced;
	int status = opened_path(fd, path, &replaced);
	const char *outer;

	if (status < 0)
		return status;
	outer = dx_outer(path);
	if (!outer || strncmp(outer, "/sys/", 5))
		return -ENOENT;
	memmove(path, outer, strlen(outer) + 1);
	return 0;
}

bool dx_fd_attribute(int fd)
{
	char path[PATH_MAX];
	struct stat st;

	if (!(dx_marked(fd) & MARK_TREE))
		return false;
	if (attribute_path(fd, path) < 0) {
		dx_mark(fd, 0);
		return false;
	}
	return REAL(fstat)(fd, &st) == 0 && S_ISREG(st.st_mode);
}

int dx_refresh(int fd)
{
	char path[PATH_MAX];
	bool replaced;
	int fresh, flags;

	if (opened_path(fd, path, &replaced) < 0)
		return 0;
	if (!dx_outer(path)) { /* the number belongs to something else by now */
		dx_mark(fd, 0);
		return 0;
	}
	if (!replaced || REAL(lseek)(fd, 0, SEEK_CUR) != 0)
		return 0;
	flags = REAL(fcntl)(fd, F_GETFL);
	fresh = REAL(open)(path, (flags & (O_ACCMODE | O_APPEND | O_NONBLOCK)) | O_CLOEXEC);
	if (fresh < 0)
		return -ENODEV;
	flags = REAL(fcntl)(fd, F_GETFD);
	REAL(dup3)(fresh, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	close(fresh);
	return 0;
}

ssize_t dx_store(int fd, const struct iovec *parts, int count)
{
	char data[DX_STORE_MOST], path[PATH_MAX];
	size_t n = 0;
	int sock, status = attribute_path(fd, path);

	if (status < 0)
		return status;
	if ((REAL(fcntl)(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	for (int i = 0; i < count && n < sizeof(data); i++) {
		size_t room = sizeof(data) - n, length = parts[i].iov_len < room ? parts[i].iov_len : room;

		memcpy(data + n, parts[i].iov_base, length);
		n += length;
	}
	if (n == 0)
		return 0;
	sock = dx_connect();
	if (sock < 0)
		return sock == -ENXIO ? -ENODEV : sock;
	status = dx_request_store(sock, path + 1, data, n);
	close(sock);
	return status < 0 ? status : (ssize_t)n;
}

static ssize_t cookie_write(void *cookie, const char *from, size_t n)
{
	struct iovec part = { (void *)from, n };
	long result = dx_store((int)(intptr_t)cookie, &part, 1);

	return result < 0 ? (errno = -result, 0) : result;
}

static FILE *c_stdout; /* while it is replaced */

static int stdout_close(void *cookie)
{
	(void)cookie;
	own_stdout = NULL;
	stdout = c_stdout;
	return close(STDOUT_FILENO);
}

static int cookie_close(void *cookie)
{
	return close((int)(intptr_t)cookie);
}

/* The C library's own streams write behind our back; these do not. Buffered, so that one flush is one write. */
static FILE *stream(int fd, cookie_close_function_t *closes)
{
	cookie_io_functions_t calls = { .write = cookie_write, .close = closes };
	FILE *file = fopencookie((void *)(intptr_t)fd, "w", calls);

	if (file)
		setvbuf(file, NULL, _IOFBF, DX_STORE_MOST);
	return file;
}

FILE *dx_attribute_stream(int fd)
{
	return stream(fd, cookie_close);
}

EXPORT int fileno(FILE *file)
{
	return unlikely(file == own_stdout) && file ? STDOUT_FILENO : REAL(fileno)(file);
}

int fileno_unlocked(FILE *file) ALIAS(fileno);

void dx_follow_stdout(void)
{
	if (!dx_owns_memory() || dx_fd_attribute(STDOUT_FILENO) == (own_stdout != NULL))
		return;
	if (own_stdout) {
		/* Descriptor 1 is somebody else's already: what is in the stream is written, and it is left. */
		fflush(own_stdout);
		own_stdout = NULL;
		stdout = c_stdout;
		return;
	}
	own_stdout = stream(STDOUT_FILENO, stdout_close);
	if (own_stdout) {
		c_stdout = stdout;
		stdout = own_stdout;
	}
}
