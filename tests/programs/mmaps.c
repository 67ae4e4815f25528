/* SPDX-License-Identifier: MIT */
/* What mmap answers: types and flags, protections and access modes, lengths, offsets, addresses. */
#include "observe.h"

#ifndef MAP_SYNC
#define MAP_SYNC 0x80000
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 3
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define MAP_DROPPABLE_ 8
#define RW (PROT_READ | PROT_WRITE)

static int rw, ro, wo;

/* Ask; tell the error, or how the address lies; take what came away again. */
static void ask(const char *what, void *hint, size_t length, int prot, int flags, int fd, off_t offset)
{
	char *at = mmap(hint, length, prot, flags, fd, offset);

	if (at == MAP_FAILED) {
		printf("%s: %s\n", what, strerrorname_np(errno));
		return;
	}
	printf("%s: ok%s%s\n", what, ((unsigned long)at - offset) & (A - 1) ? ", off the alignment" : "",
	       !hint ? "" : at == hint ? ", there" : ", elsewhere");
	munmap(at, length);
}

#define FLAGS(flags) ask(#flags, NULL, A, RW, flags, rw, 0)
#define MODE(prot, fd) ask(#prot " " #fd, NULL, A, prot, MAP_SHARED, fd, 0)
#define LENGTH(length) ask("length " #length, NULL, length, PROT_READ, MAP_SHARED, rw, 0)
#define OFFSET(length, offset) ask("length " #length " offset " #offset, NULL, length, PROT_READ, MAP_SHARED, rw, offset)
#define ADDRESS(at, flags) ask(#at " " #flags, at, A, PROT_READ, MAP_SHARED | (flags), rw, 0)

static void flags(void)
{
	FLAGS(MAP_SHARED);
	FLAGS(MAP_SHARED_VALIDATE);
	FLAGS(MAP_SHARED_VALIDATE | MAP_SYNC);
	FLAGS(MAP_SHARED | MAP_SYNC);
	FLAGS(MAP_SHARED | MAP_POPULATE);
	FLAGS(MAP_SHARED | MAP_LOCKED);
	FLAGS(MAP_SHARED | MAP_NORESERVE);
	FLAGS(MAP_SHARED | MAP_NONBLOCK);
	FLAGS(MAP_SHARED | MAP_DENYWRITE);
	FLAGS(MAP_SHARED | MAP_EXECUTABLE);
	FLAGS(MAP_SHARED | MAP_32BIT);
	FLAGS(MAP_SHARED | MAP_STACK);
	FLAGS(MAP_PRIVATE);
	FLAGS(MAP_PRIVATE | MAP_SYNC);
	FLAGS(MAP_PRIVATE | MAP_NORESERVE);
	FLAGS(MAP_SHARED_VALIDATE | 0x1000000);
	FLAGS(MAP_SHARED_VALIDATE | 0x8000000);
	FLAGS(MAP_SHARED | 0x1000000);
	FLAGS(MAP_SHARED | MAP_HUGETLB);
	FLAGS(MAP_PRIVATE | MAP_HUGETLB);
	FLAGS(MAP_SHARED_VALIDATE | MAP_HUGETLB);
	FLAGS(MAP_SHARED | MAP_GROWSDOWN);
	FLAGS(MAP_PRIVATE | MAP_GROWSDOWN);
	FLAGS(0);
	FLAGS(MAP_DROPPABLE_);
	FLAGS(4);
	FLAGS(MAP_SHARED | MAP_DROPPABLE_);
	ask("MAP_PRIVATE PROT_READ", NULL, A, PROT_READ, MAP_PRIVATE, rw, 0);
	ask("MAP_PRIVATE ro", NULL, A, PROT_READ, MAP_PRIVATE, ro, 0);
	ask("MAP_PRIVATE wo", NULL, A, PROT_READ, MAP_PRIVATE, wo, 0);
	ask("MAP_PRIVATE of a page", NULL, 4096, PROT_READ, MAP_PRIVATE, rw, 0);
}

static void modes(void)
{
	MODE(PROT_NONE, rw);
	MODE(PROT_READ, rw);
	MODE(PROT_WRITE, rw);
	MODE(PROT_EXEC, rw);
	MODE(RW | PROT_EXEC, rw);
	MODE(PROT_NONE, ro);
	MODE(PROT_READ, ro);
	MODE(PROT_WRITE, ro);
	MODE(RW, ro);
	MODE(PROT_READ | PROT_EXEC, ro);
	MODE(PROT_NONE, wo);
	MODE(PROT_READ, wo);
	MODE(PROT_WRITE, wo);
	ask("RW ro of a page", NULL, 4096, RW, MAP_SHARED, ro, 0);
	ask("RW ro of nothing", NULL, 0, RW, MAP_SHARED, ro, 0);
	ask("RW ro at -A", NULL, A, RW, MAP_SHARED, ro, -A);
	ask("RW ro bogus type", NULL, A, RW, 4, ro, 0);
	ask("wo MAP_SHARED_VALIDATE bogus", NULL, A, PROT_READ, MAP_SHARED_VALIDATE | 0x1000000, wo, 0);
}

static void lengths(void)
{
	LENGTH(0);
	LENGTH(1);
	LENGTH(4096);
	LENGTH(A - 4096);
	LENGTH(A - 1);
	LENGTH(A + 1);
	LENGTH(A + 4096);
	LENGTH(1L << 46);
	LENGTH((size_t)1 << 58);
	LENGTH((size_t)1 << 63);
	LENGTH((size_t)-1);
	LENGTH((size_t)-4095);
	LENGTH(-A);
	OFFSET(A, 1);
	OFFSET(A, 512);
	OFFSET(A, -1);
	OFFSET(A, -A);
	OFFSET(A, -4096);
	OFFSET(2 * A, -2 * A);
	OFFSET(A, A);
	OFFSET(2 * A, 4096);
	OFFSET(2 * A - 4096, 4096);
	OFFSET(3 * A, A + 4096);
	OFFSET(A, 1L << 40);
	OFFSET(A, 1L << 50);
	OFFSET(A, (1L << 62));
	OFFSET(A, (1UL << 63) - 2 * A);
	OFFSET(A, (1UL << 63) - A);
	OFFSET(2 * A, (1UL << 63) - A);
	OFFSET(4096, -A);
	OFFSET((size_t)-1, 1);
}

static void addresses(void)
{
	char *hole = room(4 * A), *taken;

	ADDRESS(hole, 0);
	ADDRESS(hole + 4096, 0);
	ADDRESS(hole + A - 4096, 0);
	ADDRESS((char *)4096, 0);
	ADDRESS((char *)1, 0);
	ADDRESS((char *)A, 0);
	ADDRESS((char *)(1L << 60), 0);
	taken = mmap(hole, A, PROT_READ, MAP_SHARED | MAP_FIXED, rw, 0);
	if (taken == hole) {
		ADDRESS(hole, MAP_FIXED_NOREPLACE);
		ADDRESS(hole + 4096, MAP_FIXED_NOREPLACE);
		ADDRESS(hole + A, MAP_FIXED_NOREPLACE);
		munmap(hole, A);
	}
	ADDRESS(hole, MAP_FIXED);
	ADDRESS(hole + 4096, MAP_FIXED);
	ADDRESS(hole + 1, MAP_FIXED);
	ADDRESS(hole + 1, MAP_FIXED_NOREPLACE);
	ADDRESS((char *)(1L << 60), MAP_FIXED);
	ADDRESS((char *)-A, MAP_FIXED);
	ask("hint, MAP_HUGETLB", hole, A, PROT_READ, MAP_SHARED | MAP_HUGETLB, rw, 0);
	ask("hint, MAP_32BIT", hole, A, PROT_READ, MAP_SHARED | MAP_32BIT, rw, 0);
	ask("hint, offset 4096", hole, A, PROT_READ, MAP_SHARED, rw, 4096);
	ask("MAP_FIXED, length A + 4096", hole, A + 4096, PROT_READ, MAP_SHARED | MAP_FIXED, rw, 0);
	ask("MAP_FIXED, nothing", hole, 0, PROT_READ, MAP_SHARED | MAP_FIXED, rw, 0);
}

static void past_the_end(void)
{
	char *p = map(A, RW, MAP_SHARED, rw, 1L << 40), *q = map(A, RW, MAP_SHARED | MAP_POPULATE, rw, 1L << 40), *d;
	unsigned char in_core = 9;

	if (!p || !q)
		return;
	SAY_LOAD(p);
	SAY_STORE(q + A - 1, 1);
	SAY(madvise(p, A, 22));
	SAY(mincore(p, 4096, &in_core));
	munmap(p, A);
	munmap(q, A);
	d = map(A, RW, MAP_SHARED | MAP_POPULATE, rw, 0);
	if (!d)
		return;
	SAY_STORE(d, 5);
	munmap(d, A);
	p = mmap(room(A), A, RW, MAP_SHARED | MAP_FIXED, rw, 0);
	SAY_LOAD(p);
	munmap(p, A);
}

int main(int argc, char **argv)
{
	rw = begin(argc, argv);
	ro = open(node, O_RDONLY);
	wo = open(node, O_WRONLY);
	if (ro < 0 || wo < 0)
		return SKIP;
	flags();
	modes();
	lengths();
	addresses();
	past_the_end();
	return 0;
}
