/* SPDX-License-Identifier: MIT */
/* exec and spawn: a program started with a cleared environment still sees the devices, as it would on hardware. */
#include "preload.h"

#include <stdarg.h>
#include <string.h>

#include "real.h"

extern char **environ;

static const char *own_preload(void)
{
	static char *value;

	if (!value)
		value = getenv("LD_PRELOAD");
	return value;
}

static char session_variable[PATH_MAX + 32];
static char preload_variable[PATH_MAX + 32];

/* Remember our two variables while the environment is whole. */
__attribute__((constructor)) static void remember(void)
{
	dx_init();
	if (!dx_active() || !own_preload())
		return;
	snprintf(session_variable, sizeof(session_variable), "DAXEMU_SESSION=%.4095s", dx_session.directory);
	snprintf(preload_variable, sizeof(preload_variable), "LD_PRELOAD=%.4095s", own_preload());
}

static bool has(char *const environment[], const char *variable)
{
	size_t name = strcspn(variable, "=") + 1;

	for (; environment && *environment; environment++)
		if (strncmp(*environment, variable, name) == 0)
			return true;
	return false;
}

static size_t count(char *const list[])
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

static bool is_variable(const char *text, const char *name)
{
	return strncmp(text, name, strlen(name)) == 0;
}

/* Ours first, then the libraries that somebody else preloads. */
static char *merge_preload(const char *theirs, char *merged)
{
	size_t n = strlen(preload_variable);

	if (strstr(theirs, "libdaxemu-preload.so"))
		return (char *)theirs;
	memcpy(merged, preload_variable, n);
	merged[n] = ' ';
	strcpy(merged + n + 1, strchr(theirs, '=') + 1);
	return merged;
}

/* Room for that, if the environment needs it. */
static size_t merged_size(char *const environment[])
{
	for (; environment && *environment; environment++)
		if (is_variable(*environment, "LD_PRELOAD=") && !strstr(*environment, "libdaxemu-preload.so"))
			return strlen(*environment) + strlen(preload_variable) + 2;
	return 1;
}

/* The environment to hand on: the given one, or a copy in ROOM with what it lacks. */
static char *const *complete(char *const environment[], char **room, char *merged)
{
	size_t n = 0;

	if (!session_variable[0])
		return environment;
	for (; environment && environment[n]; n++)
		room[n] = is_variable(environment[n], "LD_PRELOAD=") ? merge_preload(environment[n], merged) :
								       environment[n];
	if (!has(environment, "DAXEMU_SESSION="))
		room[n++] = session_variable;
	if (!has(environment, "LD_PRELOAD="))
		room[n++] = preload_variable;
	room[n] = NULL;
	return room;
}

/* On the stack: after vfork nothing else is safe. */
#define COMPLETE(environment)                                                                                          \
	complete(environment, __builtin_alloca((count(environment) + 3) * sizeof(char *)),                             \
		 __builtin_alloca(merged_size(environment)))

EXPORT int execve(const char *path, char *const arguments[], char *const environment[])
{
	return REAL(execve)(path, arguments, COMPLETE(environment));
}

EXPORT int execv(const char *path, char *const arguments[])
{
	return REAL(execve)(path, arguments, COMPLETE(environ));
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
