/* Two counters in a pool of libpmemobj that always agree: counter DEVICE create|add|forget|verify.
 * forget is wrong: its transaction does not say that it changes the second counter. */
#include <libpmemobj.h>
#include <stdio.h>
#include <string.h>

struct root {
	long first;
	char between[248]; /* in another cache line, and another block of the undo log */
	long second;
};

static int add(PMEMobjpool *pool, struct root *root, int forget)
{
	TX_BEGIN(pool) {
		pmemobj_tx_add_range_direct(&root->first, sizeof(root->first));
		root->first++;
		if (!forget)
			pmemobj_tx_add_range_direct(&root->second, sizeof(root->second));
		root->second++;
	} TX_END
	return 0;
}

int main(int argc, char **argv)
{
	int create = argc == 3 && strcmp(argv[2], "create") == 0, status = 0;
	PMEMobjpool *pool = create ? pmemobj_create(argv[1], "counter", 0, 0600) : pmemobj_open(argv[1], "counter");
	struct root *root;

	if (!pool) {
		fprintf(stderr, "%s\n", pmemobj_errormsg());
		return 3;
	}
	root = pmemobj_direct(pmemobj_root(pool, sizeof(*root)));
	if (strcmp(argv[2], "verify") == 0) {
		status = root->first != root->second;
		if (status)
			fprintf(stderr, "%ld and %ld\n", root->first, root->second);
	} else if (!create) {
		status = add(pool, root, strcmp(argv[2], "forget") == 0);
	}
	pmemobj_close(pool);
	return status;
}
