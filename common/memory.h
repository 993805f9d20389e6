#ifndef COMMON_MEMORY_H
#define COMMON_MEMORY_H

#include <stddef.h>

/*
 * Memory, or the end of the process: a daemon that runs out of a few bytes cannot serve on with
 * half a state, and its supervisor starts it again.  What a peer can make large is bounded before
 * it is asked for.
 */
void *memory_new(size_t bytes);
void *memory_zeroed(size_t n, size_t bytes);
void *memory_resize(void *old, size_t n, size_t bytes);
void *memory_copy(const void *from, size_t bytes); /* with a NUL after it */

/* free() that leaves nothing readable of what malloc gave; NULL is taken too. */
void memory_free_wiped(void *memory);

/*
 * To the kernel what nobody may need again for long: what is free, and the pages of programs and
 * libraries that were only read.  One that is needed again is looked for in the page cache.
 */
void memory_give_back(void);

#endif
