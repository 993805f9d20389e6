#ifndef COMMON_SCRATCH_H
#define COMMON_SCRATCH_H

/*
 * What jansson works in.  Its lexer frees copies of what it reads, which may be a secret: nothing
 * of its memory is freed unwiped.  To be installed once, before jansson is used; again does no
 * harm.
 */
void scratch_install(void);

/*
 * From the one to the other this thread's jansson works in one block that is wiped as a whole, and
 * where nothing is freed before: whatever was made of JSON in between must be forgotten by then,
 * and its texts must not be handed to free().  What the block has no room for is malloc's.
 */
void scratch_begin(void);
void scratch_end(void);

#endif
