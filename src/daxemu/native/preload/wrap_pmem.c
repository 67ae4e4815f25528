/* SPDX-License-Identifier: MIT */
/*
 * libpmem's flushes and drains, for the recording of a device. libpmemobj, libpmemlog and libpmemblk reach them as any
 * program does. Where nothing is recorded a call goes on to libpmem at once.
 */
#include "preload.h"

#include "recording.h"

#define SITE __builtin_return_address(0)

#define LIBPMEM(name)                                                                                                  \
	({                                                                                                             \
		static __typeof__(name) *real_;                                                                        \
		__typeof__(name) *found_ = __atomic_load_n(&real_, __ATOMIC_RELAXED);                                  \
		if (unlikely(!found_)) {                                                                               \
			found_ = (__typeof__(name) *)dx_find_pmdk(#name, SITE, &dx_libpmem);                            \
			__atomic_store_n(&real_, found_, __ATOMIC_RELAXED);                                            \
		}                                                                                                      \
		found_;                                                                                                \
	})

/* CALL is libpmem's; what it flushes is known before or, where it stores, afterwards. */
#define RECORD(before, call, after)                                                                                    \
	do {                                                                                                           \
		if (likely(!dx_records()) || dx_is_inner(SITE)) {                                                      \
			call;                                                                                          \
			break;                                                                                         \
		}                                                                                                      \
		before;                                                                                                \
		call;                                                                                                  \
		after;                                                                                                 \
		__asm__ volatile(""); /* no call is the last thing, so that it comes from here */                      \
	} while (0)

EXPORT void pmem_flush(const void *at, size_t length)
{
	RECORD(dx_record_flush(at, length, SITE), LIBPMEM(pmem_flush)(at, length), );
}

EXPORT void pmem_deep_flush(const void *at, size_t length)
{
	RECORD(dx_record_flush(at, length, SITE), LIBPMEM(pmem_deep_flush)(at, length), );
}

EXPORT void pmem_drain(void)
{
	RECORD(, LIBPMEM(pmem_drain)(), dx_record_fence(SITE));
}

EXPORT int pmem_deep_drain(const void *at, size_t length)
{
	int result;

	RECORD(, result = LIBPMEM(pmem_deep_drain)(at, length), dx_record_fence(SITE));
	return result;
}

EXPORT void pmem_persist(const void *at, size_t length)
{
	RECORD(dx_record_persist(at, length, SITE), LIBPMEM(pmem_persist)(at, length), );
}

EXPORT int pmem_deep_persist(const void *at, size_t length)
{
	int result;

	RECORD(dx_record_persist(at, length, SITE), result = LIBPMEM(pmem_deep_persist)(at, length), );
	return result;
}

EXPORT int pmem_msync(const void *at, size_t length)
{
	int result;

	RECORD(, result = LIBPMEM(pmem_msync)(at, length), if (result == 0) dx_record_persist(at, length, SITE));
	return result;
}

#define WRAP_COPY(name, source)                                                                                        \
	EXPORT void *name(void *to, source from, size_t length, unsigned flags)                                        \
	{                                                                                                              \
		void *result;                                                                                          \
                                                                                                                       \
		RECORD(, result = LIBPMEM(name)(to, from, length, flags), dx_record_copy(to, length, flags, SITE));            \
		return result;                                                                                         \
	}
#define WRAP_COPY_AS(name, source, flags)                                                                              \
	EXPORT void *name(void *to, source from, size_t length)                                                        \
	{                                                                                                              \
		void *result;                                                                                          \
                                                                                                                       \
		RECORD(, result = LIBPMEM(name)(to, from, length), dx_record_copy(to, length, flags, SITE));                   \
		return result;                                                                                         \
	}

WRAP_COPY(pmem_memcpy, const void *)
WRAP_COPY(pmem_memmove, const void *)
WRAP_COPY(pmem_memset, int)
WRAP_COPY_AS(pmem_memcpy_persist, const void *, 0)
WRAP_COPY_AS(pmem_memmove_persist, const void *, 0)
WRAP_COPY_AS(pmem_memset_persist, int, 0)
WRAP_COPY_AS(pmem_memcpy_nodrain, const void *, DX_MEM_NODRAIN)
WRAP_COPY_AS(pmem_memmove_nodrain, const void *, DX_MEM_NODRAIN)
WRAP_COPY_AS(pmem_memset_nodrain, int, DX_MEM_NODRAIN)
