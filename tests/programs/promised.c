/* SPDX-License-Identifier: MIT */
/* Numbers that are promised by a marker once they are durable, or too early: promised DEVICE [early]. */
#include <libpmem.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int daxemu_marker(const char *text) __attribute__((weak)); /* is there where daxemu runs the program */

static void promise(uint64_t number)
{
	char text[40];

	snprintf(text, sizeof(text), "promised %lu", number);
	if (daxemu_marker && daxemu_marker(text) != 0)
		abort();
}

int main(int argc, char **argv)
{
	uint64_t *number = pmem_map_file(argv[1], 0, 0, 0, NULL, NULL);

	if (!number)
		return 1;
	for (uint64_t i = 1; i <= 3; i++) {
		*number = i;
		if (argc > 2)
			promise(i);
		pmem_persist(number, sizeof(*number));
		if (argc == 2)
			promise(i);
	}
	return 0;
}
