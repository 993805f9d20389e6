/* Allocation that does not fail: it says so and aborts instead. */
#include "common/memory.h"

#include "common/log.h"

#include <link.h>
#include <malloc.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* What can be written to was, by the linker at least. */
static int give_back_image(struct dl_phdr_info *image, size_t size, void *context)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    (void)size, (void)context;
    for (size_t i = 0; i < image->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &image->dlpi_phdr[i];
        uintptr_t start = image->dlpi_addr + part->p_vaddr, first = start & ~(page - 1);

        if (part->p_type == PT_LOAD && !(part->p_flags & PF_W))
            madvise((void *)first, start + part->p_memsz - first, MADV_DONTNEED);
    }
    return 0;
}

void memory_give_back(void)
{
    malloc_trim(0);
    dl_iterate_phdr(give_back_image, NULL);
}
