/* Allocation that does not fail: it says so and aborts instead. */
#include "common/memory.h"

#include "common/log.h"

#include <malloc.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *or_abort(void *memory)
{
    if (!memory) {
        log_error("out of memory");
        abort();
    }
    return memory;
}

void *memory_new(size_t bytes)
{
    return or_abort(malloc(bytes));
}

void *memory_zeroed(size_t n, size_t bytes)
{
    return or_abort(calloc(n, bytes));
}

void *memory_resize(void *old, size_t n, size_t bytes)
{
    return or_abort(reallocarray(old, n, bytes));
}

void *memory_copy(const void *from, size_t bytes)
{
    char *copy = memory_new(bytes + 1);

    if (bytes)
        memcpy(copy, from, bytes);
    copy[bytes] = '\0';
    return copy;
}

void memory_free_wiped(void *memory)
{
    if (memory)
        sodium_memzero(memory, malloc_usable_size(memory));
    free(memory);
}
