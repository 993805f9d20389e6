#ifndef TESTS_FUZZ_TARGET_H
#define TESTS_FUZZ_TARGET_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * A fuzz target: what it is given is anybody's; what it demands of the module beyond not crashing
 * are assertions.  libFuzzer calls it with what it makes up (FLAVOUR=fuzz), replay.c with the
 * corpus.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of its own for the sanitizer to guard: nothing can be read beyond it. */
static inline char *target_copy(const void *data, size_t size)
{
    char *copy = malloc(size ? size : 1);

    assert(copy);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

#endif
