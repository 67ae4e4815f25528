/* SPDX-License-Identifier: MIT */
/*
 * Broken memory. Mappings of it are moved in their file as if they were revoked, so that every touch
 * is SIGBUS; that it is a machine check the program's handler is told by one that stands before it.
 * Where the program has no handler there is none of ours either: it dies as it would.
 */
#include "preload.h"

#include <signal.h>
#include <sys/syscall.h>

#include "maps.h"
#include "poison.h"
#include "real.h"
#include "vma.h"

/* Is this process to be told of machine checks? From its first mapping with broken memory on. */
static bool armed;

/* The program's handler while ours stands before it; with TAKES_INFO if it was set with SA_SIGINFO. */
static uintptr_t handler;
#define TAKES_INFO ((uintptr_t)1 << 63)

/* SIGBUS at an address whose memory is broken: tell it as the kernel tells a machine check. */
static void explain(siginfo_t *info)
{
	uintptr_t at = (uintptr_t)info->si_addr;
	struct table_device device;
	struct dx_vma vma;
	uint64_t align;

	if (dx_find_vma(at, &vma) != 1 || !vma.shared || (vma.offset & DX_MOVED) != DX_MOVED_POISONED ||
	    !dx_table_device_by_file(dx_session.table, vma.dev, vma.ino, &device))
		return;
	align = device.align ? device.align : 4096;
	info->si_code = BUS_MCEERR_AR;
	info->si_addr = (void *)(at & ~(align - 1));
	info->si_addr_lsb = __builtin_ctzll(align);
}

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	uintptr_t next = __atomic_load_n(&handler, __ATOMIC_ACQUIRE) & ~TAKES_INFO;
	int saved = errno;

	if (info->si_code == BUS_ADRERR)
		explain(info);
	else
		dx_explain_early(info);
	errno = saved;
	((void (*)(int, siginfo_t *, void *))next)(signal, info, context);
}

/* Let ours stand before the handler HELD with these flags, and make the flags ours. */
static void stand_before(uintptr_t held, int *flags)
{
	__atomic_store_n(&handler, held | (*flags & SA_SIGINFO ? TAKES_INFO : 0), __ATOMIC_RELEASE);
	*flags |= SA_SIGINFO;
}

/* What rt_sigaction(2) takes: the agent's thread must not call what a sanitizer may have taken over. */
struct kernel_action {
	uintptr_t handler;
	unsigned long flags;
	uintptr_t restorer;
	uint64_t mask;
};

static bool is_handler(uintptr_t which)
{
	return which != (uintptr_t)SIG_DFL && which != (uintptr_t)SIG_IGN;
}

void dx_arm(void)
{
	struct kernel_action action;
	int flags;

	__atomic_store_n(&armed, true, __ATOMIC_SEQ_CST);
	if (syscall(SYS_rt_sigaction, SIGBUS, NULL, &action, sizeof(action.mask)) < 0 || !is_handler(action.handler) ||
	    action.handler == (uintptr_t)on_sigbus)
		return;
	flags = action.flags;
	stand_before(action.handler, &flags);
	action.handler = (uintptr_t)on_sigbus;
	action.flags |= SA_SIGINFO;
	syscall(SYS_rt_sigaction, SIGBUS, &action, NULL, sizeof(action.mask));
}

/* Give the program's handler its place back, for a call that knows no other. */
static void step_aside(void)
{
	uintptr_t held = __atomic_load_n(&handler, __ATOMIC_ACQUIRE);
	struct kernel_action action;

	if (syscall(SYS_rt_sigaction, SIGBUS, NULL, &action, sizeof(action.mask)) < 0 || action.handler != (uintptr_t)on_sigbus)
		return;
	action.handler = held & ~TAKES_INFO;
	if (!(held & TAKES_INFO))
		action.flags &= ~(unsigned long)SA_SIGINFO;
	syscall(SYS_rt_sigaction, SIGBUS, &action, NULL, sizeof(action.mask));
}

static bool concerns(int signal)
{
	return unlikely(signal == SIGBUS) && __atomic_load_n(&armed, __ATOMIC_SEQ_CST) && dx_owns_memory();
}

/* What the kernel keeps is the truth, but for the handler's name and whether it takes siginfo. */
EXPORT int sigaction(int signal, const struct sigaction *wanted, struct sigaction *old)
{
	uintptr_t held = __atomic_load_n(&handler, __ATOMIC_ACQUIRE);
	struct sigaction ours;
	int result;

	if (concerns(signal) && wanted && is_handler((uintptr_t)wanted->sa_sigaction)) {
		ours = *wanted;
		stand_before((uintptr_t)wanted->sa_sigaction, &ours.sa_flags);
		ours.sa_sigaction = on_sigbus;
		wanted = &ours;
	}
	result = REAL(sigaction)(signal, wanted, old);
	if (likely(signal != SIGBUS) || result < 0)
		return result;
	if (old && held) {
		bool reset = old->sa_handler == SIG_DFL && (old->sa_flags & SA_RESETHAND);

		if ((reset || old->sa_sigaction == on_sigbus) && !(held & TAKES_INFO))
			old->sa_flags &= ~SA_SIGINFO;
		if (old->sa_sigaction == on_sigbus)
			old->sa_sigaction = (void (*)(int, siginfo_t *, void *))(held & ~TAKES_INFO);
	}
	if (wanted && concerns(signal)) /* perhaps only now */
		dx_arm();
	return result;
}

static sighandler_t around(sighandler_t (*call)(int, sighandler_t), int signal, sighandler_t wanted)
{
	sighandler_t result;

	if (likely(!concerns(signal)))
		return call(signal, wanted);
	step_aside();
	result = call(signal, wanted);
	dx_arm();
	return result;
}

#define AROUND(name)                                                                                                   \
	EXPORT sighandler_t name(int signal, sighandler_t wanted)                                                      \
	{                                                                                                              \
		return around(REAL(name), signal, wanted);                                                             \
	}

AROUND(signal)
AROUND(bsd_signal)
AROUND(ssignal)
AROUND(sysv_signal)
AROUND(__sysv_signal)
AROUND(sigset)

static bool shown; /* has anything ever been? */

static int show(const struct table_device *device, uint64_t first, uint64_t end, uint64_t reason, bool holds, int maps)
{
	const struct dx_part part = { .dev = device->dev, .ino = device->ino, .first = first, .end = end, .to = UINTPTR_MAX };
	int status = first < end ? dx_move_mappings(&part, reason, holds, dx_is_device, maps) : 0;

	return status < 0 ? status : 0;
}

static int show_all(const struct table_device *device, bool scattered, int maps)
{
	const uint64_t reason = scattered ? DX_MOVED_SCATTERED : DX_MOVED_POISONED;
	struct table_poison broken;
	uint64_t mended = 0;
	uint32_t at = 0;
	int status = 0;

	while (dx_table_poison(dx_session.table, device->minor, &at, &broken) && status == 0) {
		if (broken.scattered != scattered)
			continue;
		shown = true;
		if (!scattered)
			dx_arm();
		status = show(device, mended, broken.first, reason, false, maps);
		if (status == 0)
			status = show(device, broken.first, broken.end, reason, true, maps);
		mended = broken.end;
	}
	return status ? status : show(device, mended, UINT64_MAX, reason, false, maps);
}

int dx_sync_poison(const struct table_device *device, int maps)
{
	const struct table_header *header = dx_table_header(dx_session.table);
	uint32_t serial;
	int status;

	if (likely(!__atomic_load_n(&header->nr_poison, __ATOMIC_ACQUIRE) && !__atomic_load_n(&shown, __ATOMIC_RELAXED)))
		return 0;
	do {
		serial = __atomic_load_n(&header->poison_serial, __ATOMIC_ACQUIRE);
		status = show_all(device, false, maps);
		status = status ? status : show_all(device, true, maps);
	} while (serial != __atomic_load_n(&header->poison_serial, __ATOMIC_ACQUIRE));
	return status;
}
