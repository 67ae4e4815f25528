/* SPDX-License-Identifier: MIT */
#include "grow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int grow(void **array, size_t nr, size_t *room, size_t size)
{
	size_t wanted = *room ? *room * 2 : 64;
	void *grown;

	if (nr < *room)
		return 0;
	grown = realloc(*array, wanted * size);
	if (!grown)
		return -ENOMEM;
	memset((char *)grown + *room * size, 0, (wanted - *room) * size);
	*array = grown;
	*room = wanted;
	return 0;
}
