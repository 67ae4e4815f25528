/* SPDX-License-Identifier: MIT */
/*
 * Where a program has called libpmemobj, libpmemlog or libpmemblk, which do many flushes and fences in one call: whoever reads
 * of one wants to know the line of the program. These wrappers know no arguments, of which some have a variable number, and
 * no returns, which a transaction may jump over: each notes its caller and goes on to the library. Nothing is noted of a
 * library's calls of itself. Other processors than x86-64 have no such wrappers: there a site is one of the library's.
 */
#include "preload.h"

#include "recording.h"

struct dx_code dx_pmdk[DX_PMDK_LIBRARIES];
__thread const void *dx_pmdk_caller __attribute__((tls_model("initial-exec")));

#ifdef __x86_64__
/* clang-format off */
__asm__(
".macro dx_wrap library, at, function\n"
	".pushsection .rodata.str1.1, \"aMS\", @progbits, 1\n"
"dx_name_\\library\\()_\\function:\n"
	".asciz \"\\library\\()_\\function\"\n"
	".popsection\n"
	".local dx_real_\\library\\()_\\function\n"
	".comm dx_real_\\library\\()_\\function, 8, 8\n"
	".globl \\library\\()_\\function\n"
	".type \\library\\()_\\function, @function\n"
	".p2align 4\n"
"\\library\\()_\\function:\n"
	".cfi_startproc\n"
	"endbr64\n"
	"movq (%rsp), %r11\n"
	"subq dx_pmdk+16*\\at(%rip), %r11\n"
	"cmpq dx_pmdk+16*\\at+8(%rip), %r11\n"
	"jb 1f\n"
	"movq (%rsp), %r11\n"
	"movq dx_pmdk_caller@gottpoff(%rip), %r10\n"
	"movq %r11, %fs:(%r10)\n"
"1:\n"
	"movq dx_real_\\library\\()_\\function(%rip), %r11\n"
	"testq %r11, %r11\n"
	"jz 2f\n"
	"jmp *%r11\n"
"2:\n"
	"leaq dx_real_\\library\\()_\\function(%rip), %r10\n"
	"pushq %rdx\n"
	"leaq dx_pmdk+16*\\at(%rip), %rdx\n"
	"leaq dx_name_\\library\\()_\\function(%rip), %r11\n"
	"jmp dx_first_call\n"
	".cfi_endproc\n"
	".size \\library\\()_\\function, . - \\library\\()_\\function\n"
".endm\n"

".text\n"
".type dx_first_call, @function\n"
"dx_first_call:\n" /* with what is to be called afterwards: its arguments are kept */
	"pushq %rdi\n" "pushq %rsi\n" "pushq %rcx\n"
	"pushq %r8\n" "pushq %r9\n" "pushq %rax\n" "pushq %r10\n" "subq $8, %rsp\n"
	"movq %r11, %rdi\n"
	"movq 72(%rsp), %rsi\n"
	"call dx_find_pmdk\n"
	"movq %rax, %r11\n"
	"addq $8, %rsp\n" "popq %r10\n" "popq %rax\n" "popq %r9\n" "popq %r8\n"
	"popq %rcx\n" "popq %rsi\n" "popq %rdi\n" "popq %rdx\n"
	"movq %r11, (%r10)\n"
	"jmp *%r11\n"
	".size dx_first_call, . - dx_first_call\n"

/* All that may write to a pool. */
".irp function, create, open, close, check, root, root_construct, ctl_set, ctl_exec, "
	"alloc, xalloc, zalloc, realloc, zrealloc, strdup, wcsdup, free, defrag, "
	"reserve, xreserve, defer_free, set_value, publish, cancel, "
	"persist, xpersist, flush, xflush, drain, "
	"memcpy, memmove, memset, memcpy_persist, memset_persist, "
	"list_insert, list_insert_new, list_remove, list_move, "
	"mutex_zero, rwlock_zero, cond_zero, "
	"tx_begin, tx_commit, tx_abort, tx_end, tx_process, tx_lock, tx_xlock, "
	"tx_add_range, tx_xadd_range, tx_add_range_direct, tx_xadd_range_direct, "
	"tx_alloc, tx_xalloc, tx_zalloc, tx_realloc, tx_zrealloc, tx_free, tx_xfree, "
	"tx_strdup, tx_xstrdup, tx_wcsdup, tx_xwcsdup, tx_publish, tx_xpublish, "
	"tx_log_append_buffer, tx_xlog_append_buffer, tx_log_auto_alloc\n"
	"dx_wrap pmemobj, 0, \\function\n"
".endr\n"
".irp function, create, open, close, check, ctl_set, ctl_exec, append, appendv, rewind\n"
	"dx_wrap pmemlog, 1, \\function\n"
".endr\n"
".irp function, create, open, close, check, ctl_set, ctl_exec, write, set_zero, set_error\n"
	"dx_wrap pmemblk, 2, \\function\n"
".endr\n");
/* clang-format on */
#endif
