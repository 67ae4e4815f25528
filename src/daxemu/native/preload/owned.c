/* SPDX-License-Identifier: MIT */
/* Directories of which programs see the emulated ones only, and the machine's by no way that leads there. */
#include "preload.h"

#include <linux/magic.h>
#include <string.h>

#include "real.h"

static const char *const always[] = DX_OWNED_PATHS;
static const char *const on_demand[] = DX_SHOWN_ON_DEMAND;

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))

static bool below(const char *path, const char *directory)
{
	size_t n = strlen(directory);

	return strncmp(path, directory, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static bool below_any(const char *path, const char *const *directories, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (below(path, directories[i]))
			return true;
	return false;
}

bool dx_owned(const char *path)
{
	return below_any(path, always, LENGTH(always)) || below_any(path, on_demand, LENGTH(on_demand));
}

static SLOW bool show(uint32_t what)
{
	int saved = errno, sock = dx_connect();
	bool done = sock >= 0 && dx_request(sock, what, 0, -1, NULL) == 0;

	if (sock >= 0)
		close(sock);
	errno = saved;
	return done;
}

void dx_show(const char *path)
{
	static bool shows_machine;

	if (!below(path, "/sys"))
		return;
	if (!__atomic_load_n(&dx_table_header(dx_session.table)->shows_tree, __ATOMIC_ACQUIRE))
		show(DX_SHOW_TREE);
	if (!shows_machine && below_any(path, on_demand, LENGTH(on_demand)))
		shows_machine = show(DX_SHOW_MACHINE);
}

bool dx_is_sysfs(int fd)
{
	struct statfs fs;
	int saved = errno;
	bool is = REAL(fstatfs)(fd, &fs) == 0 && fs.f_type == SYSFS_MAGIC;

	errno = saved;
	return is;
}

bool dx_machine_file(int fd, char path[PATH_MAX])
{
	char real[PATH_MAX];

	if (!dx_is_sysfs(fd) || dx_fd_path(fd, real) < 0)
		return false;
	for (size_t i = 0; i < LENGTH(on_demand); i++) { /* wherever that file system is mounted */
		const char *at = strstr(real, on_demand[i] + strlen("/sys"));

		if (at && strlen(at) + sizeof("/sys") <= PATH_MAX) {
			snprintf(path, PATH_MAX, "/sys%.*s", (int)(PATH_MAX - sizeof("/sys")), at);
			if (below(path, on_demand[i]))
				return true;
		}
	}
	return false;
}
