/* Numbers in a binary search tree of libpmemobj: tree create|insert|hasty|verify DEVICE [NUMBER...].
 * hasty is wrong: its transaction does not say that it changes the pointer to the new node. */
#include <errno.h>
#include <libpmemobj.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct node {
	long number;
	PMEMoid smaller, greater;
};

struct root {
	PMEMoid top;
	char between[112]; /* the count is in another cache line: one of both may be lost */
	long count;
};

static PMEMoid *place_of(struct root *root, long number)
{
	PMEMoid *place = &root->top;

	while (!OID_IS_NULL(*place)) {
		struct node *node = pmemobj_direct(*place);

		place = number < node->number ? &node->smaller : &node->greater;
	}
	return place;
}

static void insert(PMEMobjpool *pool, struct root *root, long number, int hasty)
{
	PMEMoid *place = place_of(root, number);

	TX_BEGIN(pool) {
		PMEMoid made = pmemobj_tx_zalloc(sizeof(struct node), 0);

		((struct node *)pmemobj_direct(made))->number = number;
		if (!hasty)
			pmemobj_tx_add_range_direct(place, sizeof(*place));
		*place = made;
		pmemobj_tx_add_range_direct(&root->count, sizeof(root->count));
		root->count++;
	} TX_ONABORT {
		fprintf(stderr, "%ld: %s\n", number, pmemobj_errormsg());
		exit(3);
	} TX_END
}

/* How many numbers there are between two others; -1: the tree is broken. */
static long count(PMEMoid at, long least, long most)
{
	struct node *node = pmemobj_direct(at);
	long below, above;

	if (!node)
		return 0;
	if (node->number < least || node->number > most)
		return -1;
	below = count(node->smaller, least, node->number - 1);
	above = count(node->greater, node->number, most);
	return below < 0 || above < 0 ? -1 : below + 1 + above;
}

static int verify(const struct root *root)
{
	long found = count(root->top, 1, 1000);

	if (found == root->count)
		return 0;
	printf("%ld numbers were inserted, %ld are there\n", root->count, found);
	return 1;
}

/* libpmemobj locks a pool several times to open it. Whoever lists open files meanwhile, as lsof does, may keep the last
 * lock from being gone when the next is taken. */
static PMEMobjpool *open_pool(const char *device)
{
	PMEMobjpool *pool = pmemobj_open(device, "tree");

	for (int tries = 0; !pool && errno == EAGAIN && tries < 100; tries++) {
		usleep(1000);
		pool = pmemobj_open(device, "tree");
	}
	return pool;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[1] : "", *device = argc > 2 ? argv[2] : "";
	PMEMobjpool *pool = strcmp(verb, "create") ? open_pool(device) : pmemobj_create(device, "tree", 0, 0600);
	struct root *root;
	int status = 0;

	if (!pool) {
		fprintf(stderr, "%s\n", pmemobj_errormsg());
		return 3;
	}
	root = pmemobj_direct(pmemobj_root(pool, sizeof(*root)));
	if (strcmp(verb, "verify") == 0)
		status = verify(root);
	for (int i = 3; i < argc; i++)
		insert(pool, root, atol(argv[i]), strcmp(verb, "hasty") == 0);
	pmemobj_close(pool);
	return status;
}
