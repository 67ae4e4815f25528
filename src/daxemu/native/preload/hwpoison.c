/* SPDX-License-Identifier: MIT */
/*
 * madvise(MADV_HWPOISON): a program pretends that memory is broken. The kernel tells who asked of a
 * machine check, and goes on using the memory of a dax device. It is no request to the machine's own
 * kernel, which would take its own memory for broken.
 */
#include "preload.h"

#include <signal.h>
#include <sys/syscall.h>

#include "maps.h"
#include "poison.h"
#include "real.h"

/* May the kernel read there for this process? Where it cannot be asked, yes. */
static bool is_readable(uintptr_t at)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { (void *)at, 1 };
	long n = syscall(SYS_process_vm_readv, getpid(), &here, 1, &there, 1, 0);

	return n == 1 || errno == EPERM || errno == ENOSYS;
}

/* A machine check cannot be blocked or ignored: who tries dies of it. */
static void insist(void)
{
	const uint64_t bus = 1ULL << (SIGBUS - 1);
	uintptr_t action[4] = { 0 }; /* as rt_sigaction(2) takes it: the handler first */
	uint64_t blocked = 0;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, sizeof(blocked));
	syscall(SYS_rt_sigaction, SIGBUS, NULL, action, sizeof(blocked));
	if (!(blocked & bus) && action[0] != (uintptr_t)SIG_IGN)
		return;
	memset(action, 0, sizeof(action));
	syscall(SYS_rt_sigaction, SIGBUS, action, NULL, sizeof(blocked));
	syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &bus, NULL, sizeof(bus));
}

static void check_machine(uintptr_t block, uint64_t align)
{
	siginfo_t info = { .si_signo = SIGBUS, .si_code = BUS_MCEERR_AR };

	info.si_addr = (void *)block;
	info.si_addr_lsb = __builtin_ctzll(align);
	insist();
	syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGBUS, &info);
}

/* The device mapped at this address, or -errno: EFAULT for what cannot be read, EPERM for the machine's own. */
static int find_device(uintptr_t at, struct dx_vma *vma, struct table_device *device)
{
	if (dx_find_vma(at, vma) != 1)
		return -EFAULT;
	if (!vma->shared || !dx_table_device_by_file(dx_session.table, vma->dev, vma->ino, device))
		return -EPERM;
	device->align = device->align ? device->align : 4096;
	return is_readable(at) ? 0 : -EFAULT;
}

static void tell_others(uintptr_t start, uintptr_t end, const struct dx_vma *vma, const struct table_device *device)
{
	uint64_t first = (vma->offset & ~DX_MOVED) + (start - vma->start);

	dx_tell_broken(device->minor, first, first + ((end < vma->end ? end : vma->end) - start));
}

int dx_hwpoison(uintptr_t start, uintptr_t end)
{
	uintptr_t first = 0;
	uint64_t first_align = 0;
	struct dx_vma vma = { 0 };
	struct table_device device;
	int status = dx_is_capable(CAP_SYS_ADMIN) ? 0 : -EPERM;

	for (uintptr_t at = start, told = 0; status == 0 && at < end; at = (at & ~(device.align - 1)) + device.align) {
		status = find_device(at, &vma, &device);
		if (status == 0 && !first_align) { /* of more than one, the first is told */
			first = at & ~(device.align - 1);
			first_align = device.align;
		}
		if (status == 0 && at >= told) {
			tell_others(at, end, &vma, &device);
			told = vma.end;
		}
	}
	if (first_align)
		check_machine(first, first_align);
	return status;
}
