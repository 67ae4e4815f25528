/* SPDX-License-Identifier: MIT */
/* exec and spawn: a program started with a cleared environment still sees the devices, as it would on hardware. */
#include "preload.h"

#include <stdarg.h>
#include <string.h>

#include "real.h"

extern char **environ;

static char session_variable[PATH_MAX + 32];
static char preload_variable[PATH_MAX + 32];

/* Remember our two variables while the environment is whole. */
__attribute__((constructor)) static void remember(void)
{
	const char *preload = getenv("LD_PRELOAD");

	dx_init();
	if (!dx_active() || !preload)
		return;
	snprintf(session_variable, sizeof(session_variable), "DAXEMU_SESSION=%.4095s", dx_session.directory);
	snprintf(preload_variable, sizeof(preload_variable), "LD_PRELOAD=%.4095s", preload);
}

static size_t count(char *const list[])
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

/* The variable that begins so ("NAME="), or NULL. */
static char *find_variable(char *const environment[], const char *name)
{
	for (; environment && *environment; environment++)
		if (strncmp(*environment, name, strlen(name)) == 0)
			return *environment;
	return NULL;
}

static bool is_foreign(const char *preload)
{
	return preload && !strstr(preload, "libdaxemu-preload.so");
}

/* Room for LD_PRELOAD with somebody else's libraries behind ours. */
static size_t merged_size(char *const environment[])
{
	const char *theirs = find_variable(environment, "LD_PRELOAD=");

	return is_foreign(theirs) ? strlen(theirs) + strlen(preload_variable) + 2 : 1;
}

static char *merge(const char *theirs, char *merged)
{
	strcpy(merged, preload_variable);
	strcat(merged, " ");
	return strcat(merged, strchr(theirs, '=') + 1);
}

/* The environment to hand on: the given one, or a copy in ROOM with what it lacks. */
static char *const *complete(char *const environment[], char **room, char *merged)
{
	const char *session = find_variable(environment, "DAXEMU_SESSION=");
	const char *preload = find_variable(environment, "LD_PRELOAD=");
	size_t n = 0;

	if (!session_variable[0] || (session && preload && !is_foreign(preload)))
		return environment;
	for (; environment && environment[n]; n++)
		room[n] = environment[n] == preload && is_foreign(preload) ? merge(preload, merged) : environment[n];
	if (!session)
		room[n++] = session_variable;
	if (!preload)
		room[n++] = preload_variable;
	room[n] = NULL;
	return room;
}

/* On the stack: after vfork nothing else is safe. */
#define COMPLETE(environment)                                                                                          \
	complete(environment, __builtin_alloca((count(environment) + 3) * sizeof(char *)),                             \
		 __builtin_alloca(merged_size(environment)))

/* Nothing of ours can be executed: the error for what is there, and for what is not; 0 for all else. */
static SLOW int check_ours(const char *path)
{
	struct dx_place place;
	enum dx_where at = dx_locate(AT_FDCWD, path, &place);

	if (at != DX_NODE && at != DX_TREE)
		return 0;
	return REAL(faccessat)(AT_FDCWD, place.path, F_OK, 0) == 0 ? EACCES : errno;
}

EXPORT int execve(const char *path, char *const arguments[], char *const environment[])
{
	int error = unlikely(dx_active() && dx_maybe(AT_FDCWD, path)) ? check_ours(path) : 0;

	if (error)
		return dx_refuse(error);
	return REAL(execve)(path, arguments, COMPLETE(environment));
}

EXPORT int execv(const char *path, char *const arguments[])
{
	return execve(path, arguments, environ);
}

EXPORT int execvpe(const char *file, char *const arguments[], char *const environment[])
{
	return REAL(execvpe)(file, arguments, COMPLETE(environment));
}

EXPORT int execvp(const char *file, char *const arguments[])
{
	return REAL(execvpe)(file, arguments, COMPLETE(environ));
}

EXPORT int fexecve(int fd, char *const arguments[], char *const environment[])
{
	return REAL(fexecve)(fd, arguments, COMPLETE(environment));
}

EXPORT int execveat(int dirfd, const char *path, char *const arguments[], char *const environment[], int flags)
{
	return REAL(execveat)(dirfd, path, arguments, COMPLETE(environment), flags);
}

static size_t count_variadic(va_list arguments)
{
	size_t n = 1;

	while (va_arg(arguments, char *))
		n++;
	return n;
}

#define COLLECT(first, vector, rest)                                                                                   \
	va_list rest;                                                                                                  \
	char **vector;                                                                                                 \
	va_start(rest, first);                                                                                         \
	vector = __builtin_alloca((count_variadic(rest) + 1) * sizeof(char *));                                        \
	va_end(rest);                                                                                                  \
	va_start(rest, first);                                                                                         \
	vector[0] = (char *)first;                                                                                     \
	for (size_t i = 1; vector[i - 1]; i++)                                                                         \
		vector[i] = va_arg(rest, char *);

EXPORT int execl(const char *path, const char *argument, ...)
{
	COLLECT(argument, vector, rest)
	va_end(rest);
	return execv(path, vector);
}

EXPORT int execlp(const char *file, const char *argument, ...)
{
	COLLECT(argument, vector, rest)
	va_end(rest);
	return execvp(file, vector);
}

EXPORT int execle(const char *path, const char *argument, ...)
{
	char *const *environment;

	COLLECT(argument, vector, rest)
	environment = va_arg(rest, char *const *);
	va_end(rest);
	return execve(path, vector, environment);
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[])
{
	return REAL(posix_spawn)(pid, path, actions, attributes, arguments, COMPLETE(environment));
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[])
{
	return REAL(posix_spawnp)(pid, file, actions, attributes, arguments, COMPLETE(environment));
}
