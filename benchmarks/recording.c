/* Two programs on persistent memory, for their time with and without a recording: recording log|tree DEVICE COUNT. */
#include <libpmem.h>
#include <libpmemobj.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* Records of 200 bytes, each durable before the tail that makes it part of the log. */
static void append(char *base, size_t size, long count)
{
	char record[200];
	uint64_t tail = 64;

	for (long i = 0; i < count; i++) {
		memset(record, i, sizeof(record));
		if (tail + sizeof(record) > size)
			tail = 64;
		pmem_memcpy_persist(base + tail, record, sizeof(record));
		tail += sizeof(record);
		*(uint64_t *)base = tail;
		pmem_persist(base, 8);
	}
}

struct node {
	uint64_t key;
	PMEMoid child[2];
};
struct root {
	PMEMoid top;
};

static void insert(PMEMobjpool *pool, PMEMoid *at, uint64_t key)
{
	while (!OID_IS_NULL(*at)) {
		struct node *node = pmemobj_direct(*at);

		at = &node->child[key > node->key];
	}
	TX_BEGIN(pool) {
		PMEMoid new = pmemobj_tx_zalloc(sizeof(struct node), 1);

		((struct node *)pmemobj_direct(new))->key = key;
		pmemobj_tx_add_range_direct(at, sizeof(*at));
		*at = new;
	} TX_END
}

int main(int argc, char **argv)
{
	long count = argc > 3 ? atol(argv[3]) : 0;
	size_t size = 0;
	double start;

	if (!count)
		return 2;
	if (strcmp(argv[1], "log") == 0) {
		char *base = pmem_map_file(argv[2], 0, 0, 0, &size, NULL);

		if (!base)
			return 1;
		append(base, size, 1000);
		start = seconds();
		append(base, size, count);
	} else {
		PMEMobjpool *pool = pmemobj_create(argv[2], "tree", 0, 0);
		struct root *root;

		if (!pool && !(pool = pmemobj_open(argv[2], "tree")))
			return 1;
		root = pmemobj_direct(pmemobj_root(pool, sizeof(*root)));
		root->top = OID_NULL;
		srandom(1);
		start = seconds();
		for (long i = 0; i < count; i++)
			insert(pool, &root->top, random());
	}
	printf("%f\n", seconds() - start);
	return 0;
}
