/* SPDX-License-Identifier: MIT */
#ifndef DX_GROW_H
#define DX_GROW_H

#include <stddef.h>

/*
 * Make room for one more behind NR elements of an array, *ARRAY, that has *ROOM of this SIZE; what is new is zero. 0, or
 * -ENOMEM: then it is as it was.
 */
int grow(void **array, size_t nr, size_t *room, size_t size);

#endif
