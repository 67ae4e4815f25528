/* SPDX-License-Identifier: MIT */
/*
 * Programs that have asked by PR_MCE_KILL_EARLY to be told of broken memory before they touch it: SIGBUS with
 * BUS_MCEERR_AO. The machine's own kernel keeps what each thread has asked, over fork and exec, and shows it in /proc. A
 * signal with that code only the kernel can send to another thread; so it is sent with a code of ours, which the handler
 * that stands before the program's makes into the kernel's. Runs in the agent: no function that knows threads or locales.
 */
#include "preload.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include "maps.h"
#include "poison.h"
#include "real.h"

enum { CODE_EARLY = -0x4d43 };
enum { ASKED = 0x80, EARLY = 0x08000000 }; /* of a thread's flags: has it asked for anything, and to be told early? */

/* What getdents64(2) gives. */
struct entry {
	uint64_t ino, next;
	uint16_t length;
	uint8_t type;
	char name[];
};

static uint32_t heard; /* serial of the last one */

static unsigned long number(const char *digits)
{
	unsigned long value = 0;

	for (; *digits >= '0' && *digits <= '9'; digits++)
		value = value * 10 + (*digits - '0');
	return value;
}

/* The ninth word of stat, the seventh after a name that may contain anything. */
static bool wants_to_know(int tasks, const char *thread)
{
	static const char stat[] = "/stat";
	char path[32], text[512];
	size_t length = strlen(thread);
	const char *at = NULL;
	long fd, n = 0;

	if (length + sizeof(stat) > sizeof(path))
		return false;
	memcpy(path, thread, length);
	memcpy(path + length, stat, sizeof(stat));
	fd = syscall(SYS_openat, tasks, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = syscall(SYS_read, fd, text, sizeof(text) - 1);
		syscall(SYS_close, fd);
	}
	text[n > 0 ? n : 0] = 0;
	at = strrchr(text, ')');
	for (int word = 0; at && word < 7; word++)
		at = strchr(at + 1, ' ');
	return at && (number(at + 1) & (ASKED | EARLY)) == (ASKED | EARLY);
}

/* The first thread of the program that is to be told; 0 if there is none. */
static int find_thread(void)
{
	_Alignas(struct entry) char entries[1024];
	const struct entry *entry;
	int self = syscall(SYS_gettid), found = 0;
	long tasks = syscall(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n;

	while (tasks >= 0 && !found && (n = syscall(SYS_getdents64, tasks, entries, sizeof(entries))) > 0)
		for (long at = 0; at < n && !found; at += entry->length) {
			int thread;

			entry = (const void *)(entries + at);
			thread = number(entry->name);
			if (thread && thread != self && wants_to_know(tasks, entry->name))
				found = thread;
		}
	if (tasks >= 0)
		syscall(SYS_close, tasks);
	return found;
}

struct telling {
	struct table_check check;
	struct table_device device;
	int thread;
};

/* Of each mapping, the first block that is broken. */
static int tell(const struct dx_vma *vma, void *context)
{
	const struct telling *telling = context;
	const struct table_check *check = &telling->check;
	uint64_t align = telling->device.align ? telling->device.align : 4096, offset = vma->offset & ~DX_MOVED;
	uint64_t first = check->first & ~(align - 1), from = first > offset ? first : offset;
	siginfo_t info = { .si_signo = SIGBUS, .si_code = CODE_EARLY };

	if (!vma->shared || vma->ino != telling->device.ino || vma->dev != telling->device.dev || from >= check->end ||
	    from >= offset + (vma->end - vma->start))
		return 0;
	info.si_pid = syscall(SYS_getpid);
	info.si_value.sival_ptr = (void *)(((vma->start + (from - offset)) & ~(align - 1)) | __builtin_ctzll(align));
	syscall(SYS_rt_tgsigqueueinfo, info.si_pid, telling->thread, SIGBUS, &info);
	return 0;
}

void dx_skip_checks(void)
{
	heard = dx_table_broken(dx_session.table).serial;
}

void dx_heed_check(int maps)
{
	struct telling telling = { .check = dx_table_broken(dx_session.table) };

	if (likely(telling.check.serial == heard))
		return;
	heard = telling.check.serial;
	if (telling.check.by == syscall(SYS_getpid) || !dx_table_device(dx_session.table, telling.check.minor, &telling.device) ||
	    !(telling.thread = find_thread()))
		return;
	dx_arm();
	dx_each_vma(maps, tell, &telling);
}

void dx_explain_early(siginfo_t *info)
{
	uintptr_t told = (uintptr_t)info->si_value.sival_ptr;

	if (info->si_code != CODE_EARLY || info->si_pid != getpid())
		return;
	info->si_code = BUS_MCEERR_AO;
	info->si_addr = (void *)(told & ~4095UL);
	info->si_addr_lsb = told & 4095;
}
