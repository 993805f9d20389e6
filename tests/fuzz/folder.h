#ifndef TESTS_FUZZ_FOLDER_H
#define TESTS_FUZZ_FOLDER_H

#include "tests/fuzz/target.h"
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <sys/stat.h>

/* The folder of a target that is about files; gone when the process ends in order. */
static struct scratch folder;

static void folder_remove(void)
{
    scratch_free(&folder);
}

static void folder_make(void)
{
    if (folder.folder[0])
        return;
    scratch_new(&folder);
    atexit(folder_remove);
}

static void folder_write(const char *path, const void *data, size_t size, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

#endif
