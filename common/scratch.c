/* A block that is given away from its begin to its end, and taken back in one piece. */
#include "common/scratch.h"

#include "common/memory.h"

#include <jansson.h>
#include <sodium.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define BLOCK_BYTES 16384 /* a token of the usual length needs 5,000 */

static _Thread_local struct {
    bool is_open;
    size_t used;
    alignas(max_align_t) char block[BLOCK_BYTES];
} scratch;

static void *take(size_t bytes)
{
    size_t rounded = (bytes + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    char *at = scratch.block + scratch.used;

    if (!scratch.is_open || rounded < bytes || rounded > sizeof scratch.block - scratch.used)
        return malloc(bytes);
    scratch.used += rounded;
    return at;
}

static void give(void *memory)
{
    if ((uintptr_t)memory - (uintptr_t)scratch.block >= sizeof scratch.block)
        memory_free_wiped(memory);
}

void scratch_install(void)
{
    json_set_alloc_funcs(take, give);
}

void scratch_begin(void)
{
    scratch.is_open = true;
}

void scratch_end(void)
{
    sodium_memzero(scratch.block, scratch.used);
    scratch.used = 0;
    scratch.is_open = false;
}
