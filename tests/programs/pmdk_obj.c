/*
 * libpmemobj on a pool: pmdk_obj POOL STEP…, each step opens the pool anew and says what it finds.
 * create: a pool whose root holds 1; set N: a transaction; abort N: one that is aborted;
 * crash N: one in whose middle the process ends; fill: objects until there is no room.
 */
#include <errno.h>
#include <libpmemobj.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct root {
	long value;
	long double_of_it;
};

static void set(PMEMobjpool *pool, PMEMoid root, long value, const char *end)
{
	struct root *at = pmemobj_direct(root);

	TX_BEGIN(pool) {
		pmemobj_tx_add_range(root, 0, sizeof(*at));
		at->value = value;
		pmemobj_persist(pool, &at->value, sizeof(at->value));
		if (strcmp(end, "crash") == 0)
			_exit(3);
		if (strcmp(end, "abort") == 0)
			pmemobj_tx_abort(ECANCELED);
		at->double_of_it = 2 * value;
	} TX_ONABORT {
		printf("aborted\n");
	} TX_END
}

static void fill(PMEMobjpool *pool)
{
	size_t objects = 0;
	PMEMoid oid;

	while (pmemobj_zalloc(pool, &oid, 1 << 20, 1) == 0)
		objects++;
	printf("%s after %zu MiB\n", strerror(errno), objects);
}

int main(int argc, char **argv)
{
	for (int i = 2; i < argc; i++) {
		int creates = strcmp(argv[i], "create") == 0;
		PMEMobjpool *pool = creates ? pmemobj_create(argv[1], "test", 0, 0666) : pmemobj_open(argv[1], "test");
		PMEMoid oid;
		struct root *root;

		if (!pool) {
			printf("%s: %s\n", argv[i], pmemobj_errormsg());
			return 1;
		}
		oid = pmemobj_root(pool, sizeof(*root));
		root = pmemobj_direct(oid);
		printf("%s: found %ld %ld\n", argv[i], root->value, root->double_of_it);
		fflush(stdout);
		if (creates)
			set(pool, oid, 1, "");
		else if (strcmp(argv[i], "fill") == 0)
			fill(pool);
		else if (strcmp(argv[i], "read") != 0 && i + 1 < argc) {
			set(pool, oid, atol(argv[i + 1]), argv[i]);
			i++;
		}
		pmemobj_close(pool);
	}
	return 0;
}
