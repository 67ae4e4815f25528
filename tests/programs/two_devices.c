/* SPDX-License-Identifier: MIT */
/* A fence is one for all devices: two_devices DEVICE OTHER. */
#include <libpmem.h>
#include <stdio.h>

static char *map(const char *path)
{
	char *base = pmem_map_file(path, 0, 0, 0, NULL, NULL);

	if (!base)
		fprintf(stderr, "%s\n", pmem_errormsg());
	return base;
}

int main(int argc, char **argv)
{
	char *device, *other;

	if (argc != 3 || !(device = map(argv[1])) || !(other = map(argv[2])))
		return 1;
	*device = 'd';
	pmem_flush(device, 1);
	*other = 'o';
	pmem_persist(other, 1); /* the fence in it is the device's, too */
	other[64] = 'n';
	pmem_persist(other + 64, 1);
	return 0;
}
