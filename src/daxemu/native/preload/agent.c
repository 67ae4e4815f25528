/* SPDX-License-Identifier: MIT */
/*
 * The agent: a thread that serves the engine's wish to revoke or restore mappings, from the first
 * mapping of a device on. It is made by clone(2), unknown to the C library: no locks, no
 * allocation, a descriptor table of its own (so programs that close everything do not cut it
 * off), thread-local storage of its own (for errno). It ends with the process or at exec.
 */
#include "preload.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "maps.h"
#include "poison.h"
#include "real.h"
#include "recording.h"
#include "vma.h"

enum { STACK = 128 << 10, TLS_BELOW = 48 << 10, TLS_ABOVE = 16 << 10 };

static struct {
	pthread_mutex_t lock;
	pid_t pid; /* of the process that it runs in; another one after fork */
	int sock;
	int ready; /* futex */
	int maps; /* its own descriptor of the list of mappings: a program may leave /proc behind by chroot */
	char *area; /* its stack and thread-local storage */
	size_t size;
} agent = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void close_all_but(int keep)
{
	if (keep > 0)
		syscall(SYS_close_range, 0, keep - 1, 0);
	if (syscall(SYS_close_range, keep + 1, ~0U, 0) == 0)
		return;
	for (int fd = 0; fd < 65536; fd++)
		if (fd != keep)
			syscall(SYS_close, fd);
}

/* False at the end. */
static bool next_request(int sock, struct message *request)
{
	long n;

	do
		n = syscall(SYS_recvfrom, sock, request, sizeof(*request), 0, NULL, NULL);
	while (n == -1 && (errno == EINTR || errno == EAGAIN));
	return n == sizeof(*request) && request->magic == DX_MESSAGE_MAGIC;
}

static int synchronise(const struct table_device *device, int maps)
{
	int status = dx_sync_mappings(device->dev, device->ino, device->flags & DX_DEVICE_ALIVE, dx_is_device, maps);
	int broken = dx_sync_poison(device, maps);

	return status < 0 ? status : broken;
}

static void serve(const struct message *request)
{
	struct table_device device = { 0 };
	struct message answer = *request;

	answer.status = 0;
	dx_lock_mappings();
	if (dx_table_device(dx_session.table, request->minor, &device) && (device.flags & DX_DEVICE_MOVABLE))
		answer.status = synchronise(&device, agent.maps);
	if (!(device.flags & DX_DEVICE_ALIVE)) /* what it has revoked is to be faulted in again */
		dx_settle_refusals(agent.maps);
	dx_heed_check(agent.maps);
	dx_unlock_mappings();
	dx_record_join();
	syscall(SYS_sendto, agent.sock, &answer, sizeof(answer), MSG_NOSIGNAL, NULL, 0);
}

/* The engine is gone. If it closed in order the devices are revoked already; else the machine died under us. */
static void engine_gone(void)
{
	if (dx_table_header(dx_session.table)->magic == DX_TABLE_MAGIC)
		syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

static void agent_main(void)
{
	int sock = agent.sock;

	syscall(SYS_unshare, CLONE_FILES);
	close_all_but(sock);
	agent.maps = syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
	syscall(SYS_prctl, PR_SET_NAME, "daxemu-agent", 0, 0, 0);
	dx_skip_checks();
	__atomic_store_n(&agent.ready, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &agent.ready, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0);
	for (;;) {
		struct message request;

		if (!next_request(sock, &request)) {
			engine_gone();
			return;
		}
		if (request.type == DX_SYNC)
			serve(&request);
	}
}

/* A thread-local storage block that satisfies the few things the C library looks up in it. */
static void *make_tls(char *at)
{
	void **pointer = (void **)at;

#ifdef __x86_64__
	pointer[0] = pointer;
	pointer[2] = pointer;
#endif
	return pointer;
}

/*
 * clone(2) itself: the C library's function of that name is taken over by thread sanitizers. The new
 * thread runs agent_main on the stack below TOP and ends.
 */
static long raw_clone(int flags, char *top, void *tls)
{
	long result;

#if defined(__x86_64__)
	register long r10 __asm__("r10") = 0;
	register void *r8 __asm__("r8") = tls;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "call *%[run]\n\t"
			 "mov %[exit], %%eax\n\t"
			 "xor %%edi, %%edi\n\t"
			 "syscall\n"
			 "1:"
			 : "=a"(result)
			 : "a"(SYS_clone), "D"((long)flags), "S"(top), "d"(0L), "r"(r10), "r"(r8),
			   [run] "r"(agent_main), [exit] "i"(SYS_exit)
			 : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = SYS_clone;
	register long x0 __asm__("x0") = flags;
	register char *x1 __asm__("x1") = top;
	register long x2 __asm__("x2") = 0;
	register void *x3 __asm__("x3") = tls;
	register long x4 __asm__("x4") = 0;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, #0\n\t"
			 "blr %[run]\n\t"
			 "mov x8, %[exit]\n\t"
			 "mov x0, #0\n\t"
			 "svc #0\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), [run] "r"(agent_main), [exit] "i"(SYS_exit)
			 : "memory", "x30");
	result = x0;
#else
#error "the agent's thread needs a few instructions for this machine"
#endif
	return result;
}

/* Bytes of thread-local storage below the thread pointer: as far as errno is, which lies deep in a program with much of it. */
static size_t tls_below(void)
{
	long depth = (char *)__builtin_thread_pointer() - (char *)&errno;

	return depth + 256 > TLS_BELOW ? (depth + 256 + 4095) & ~4095L : TLS_BELOW;
}

/* AddressSanitizer remembers the frames that a parent's agent was in when its stack was at this address. */
extern void __asan_unpoison_memory_region(const volatile void *, size_t) __attribute__((weak));

static int start(int sock)
{
	/* Descriptors are shared at first and then no more: tools that watch threads know no other kind. */
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
			  CLONE_SETTLS;
	size_t below = tls_below(), size = STACK + below + TLS_ABOVE;
	char *area = dx_real.mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long tid;

	if (area == MAP_FAILED)
		return -errno;
	if (__asan_unpoison_memory_region)
		__asan_unpoison_memory_region(area, size);
	agent.sock = sock;
	agent.ready = 0;
	tid = raw_clone(flags, area + STACK, make_tls(area + STACK + below));
	if (tid < 0) {
		dx_real.munmap(area, size);
		return tid;
	}
	agent.area = area;
	agent.size = size;
	while (!__atomic_load_n(&agent.ready, __ATOMIC_ACQUIRE))
		syscall(SYS_futex, &agent.ready, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0);
	return 0;
}

static void (*forked)(void);

struct next {
	uint32_t from; /* minor */
	bool found;
	struct table_device device;
};

static int find_next(const struct dx_vma *vma, void *context)
{
	struct next *next = context;
	struct table_device device;

	if (!vma->shared || !dx_may_be_mapped((void *)vma->start, vma->end - vma->start) ||
	    !dx_table_device_by_file(dx_session.table, vma->dev, vma->ino, &device) ||
	    !(device.flags & DX_DEVICE_MOVABLE) || device.minor < next->from)
		return 0;
	if (!next->found || device.minor < next->device.minor)
		next->device = device;
	next->found = true;
	return 0;
}

/* All devices that are mapped. The others may be thousands. */
static void synchronise_mapped(void)
{
	struct next next = { .found = true };

	while (next.found) {
		next.found = false;
		dx_each_vma(-1, find_next, &next);
		if (next.found)
			synchronise(&next.device, -1);
		next.from = next.device.minor + 1;
	}
}

/* After fork the child has the mappings and no agent. */
static void after_fork_in_child(void)
{
	pid_t parent = agent.pid;
	int saved = errno, status;

	if (forked)
		forked();
	pthread_mutex_init(&agent.lock, NULL);
	dx_reset_directories();
	dx_reset_mappings();
	if (!parent)
		return;
	agent.pid = 0;
	dx_real.munmap(agent.area, agent.size);
	do
		status = dx_agent_ensure();
	while (status == -EMFILE && dx_give_up_kept());
	if (status == -ENXIO)
		engine_gone();
	synchronise_mapped();
	dx_settle_refusals(-1); /* its page tables are empty */
	errno = saved;
}

static void lock_before_fork(void)
{
	pthread_mutex_lock(&agent.lock);
	dx_lock_directories();
}

static void unlock_after_fork(void)
{
	dx_unlock_directories();
	pthread_mutex_unlock(&agent.lock);
}

/* A fork that calls no handlers; but the child is to be revoked like any other. */
EXPORT pid_t _Fork(void)
{
	pid_t pid = REAL(_Fork)();

	if (pid == 0 && dx_active())
		after_fork_in_child();
	return pid;
}

/* glibc has pthread_atfork only as a piece to link in; musl, for whose programs this library serves too, as a function. */
extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *) __attribute__((weak));

int dx_watch_fork(void (*in_child)(void))
{
	int (*atfork)(void (*)(void), void (*)(void), void (*)(void));

	forked = in_child;
	if (__register_atfork)
		return __register_atfork(lock_before_fork, unlock_after_fork, after_fork_in_child, NULL);
	atfork = (__typeof__(atfork))dlsym(RTLD_DEFAULT, "pthread_atfork");
	return atfork ? atfork(lock_before_fork, unlock_after_fork, after_fork_in_child) : ENOSYS;
}

static int ensure_locked(void)
{
	int sock, status;

	if (agent.pid == getpid())
		return 0;
	sock = dx_connect();
	if (sock < 0)
		return sock;
	status = dx_request(sock, DX_AGENT, 0, -1, NULL);
	if (status == 0)
		status = start(sock);
	if (status == 0) {
		agent.pid = getpid();
		dx_record_join(); /* in what has begun since this program was started */
	}
	close(sock);
	return status;
}

int dx_agent_ensure(void)
{
	sigset_t all, old;
	int status;

	if (likely(__atomic_load_n(&agent.pid, __ATOMIC_ACQUIRE) != 0))
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&agent.lock);
	status = ensure_locked();
	pthread_mutex_unlock(&agent.lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return status;
}
