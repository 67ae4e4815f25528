/* SPDX-License-Identifier: MIT */
/* Which of the session's recordings this process takes part in. */
#include "preload.h"

#include <sys/syscall.h>

#include "joining.h"
#include "pmem_turn.h"
#include "real.h"
#include "recording.h"

struct dx_joined dx_joined[DX_JOINED_MOST];
uint32_t dx_nr_recordings;
struct dx_code dx_own_code;
static bool joining;

static uint32_t fallback;
uint32_t *dx_process = &fallback;

static int open_of_session(char number, const char *what)
{
	char path[PATH_MAX + 32], *end;

	memcpy(path, dx_session.directory, dx_session.directory_length);
	end = stpcpy(path + dx_session.directory_length, "/record0.");
	end[-2] = number;
	strcpy(end, what);
	return dx_real.open(path, O_RDWR | O_CLOEXEC | O_APPEND);
}

void dx_tell_modules(const struct dx_joined *recording)
{
	int to = open_of_session(recording->number, "modules"), from = dx_real.open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	char buffer[4096];
	ssize_t n;

	while (to >= 0 && from >= 0 && (n = dx_real.read(from, buffer, sizeof(buffer))) > 0)
		if (dx_real.write(to, buffer, n) < 0)
			break;
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
}

/* The kernel makes it 0 in a child, which may have been forked without a word to anybody. */
static bool notice_forks(void)
{
	void *page = (void *)syscall(SYS_mmap, NULL, sizeof(*dx_process), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);

	if (page == MAP_FAILED)
		return false;
	dx_process = page;
	return syscall(SYS_madvise, page, sizeof(*dx_process), MADV_WIPEONFORK) == 0;
}

static bool may_be_alone(void)
{
	static bool known, may;

	if (!known)
		may = notice_forks() && dx_pmem_may_be_alone();
	known = true;
	return may;
}

static bool has_joined(const struct stat *state)
{
	for (uint32_t i = 0; i < dx_nr_recordings; i++)
		if (dx_joined[i].ino == state->st_ino && dx_joined[i].dev == state->st_dev)
			return true;
	return false;
}

static void join(char number, int state, int events)
{
	struct dx_joined *recording = &dx_joined[dx_nr_recordings];
	struct stat st;

	if (dx_real.fstat(state, &st) < 0 || has_joined(&st))
		return;
	if (dx_nr_recordings == DX_JOINED_MOST) {
		dx_pmem_miss(state, EUSERS);
		return;
	}
	recording->dev = st.st_dev;
	recording->ino = st.st_ino;
	recording->number = number;
	if (dx_pmem_attach(&recording->log, state, events) < 0)
		return;
	recording->log.patient = true;
	recording->log.may_be_alone = may_be_alone();
	__atomic_store_n(&dx_nr_recordings, dx_nr_recordings + 1, __ATOMIC_RELEASE);
}

/* By the agent, and by a thread that takes no signals: whoever has begun also ends. */
void dx_record_join(void)
{
	static uint32_t seen;
	uint32_t begun = __atomic_load_n(&dx_table_header(dx_session.table)->recordings, __ATOMIC_ACQUIRE);
	int saved = errno;

	while (__atomic_exchange_n(&joining, true, __ATOMIC_ACQUIRE))
		syscall(SYS_sched_yield);
	if (!dx_own_code.length) /* at the start: an agent could not, as it is unknown to the C library */
		dx_find_code((const void *)dx_record_join, &dx_own_code);
	for (char number = '0'; begun != seen && number < '0' + DX_RECORDINGS_MOST; number++) {
		int state = open_of_session(number, "state"), events = state < 0 ? -1 : open_of_session(number, "events");

		if (events >= 0)
			join(number, state, events);
		if (events >= 0)
			syscall(SYS_close, events);
		if (state >= 0)
			syscall(SYS_close, state);
	}
	seen = begun;
	__atomic_store_n(&joining, false, __ATOMIC_RELEASE);
	errno = saved;
}

void dx_forget_stores(void)
{
	for (uint32_t i = 0; i < dx_nr_recordings; i++)
		dx_pmem_scan_forget(&dx_joined[i].own_stores);
}

void dx_record_forked(void)
{
	__atomic_store_n(dx_process, 0, __ATOMIC_RELAXED);
	joining = false; /* by the parent's agent */
	dx_forget_stores();
}
