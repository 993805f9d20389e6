#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

/* A folder of the test's own, and what the tests that need one do with files in it. */
#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scratch {
    char folder[64];
};

static inline void scratch_new(struct scratch *scratch)
{
    *scratch = (struct scratch){.folder = "/tmp/sallyport-unit-XXXXXX"};
    if (!mkdtemp(scratch->folder))
        abort();
}

/* folder/name; the text lives for seven calls more. */
static inline const char *scratch_path(const struct scratch *scratch, const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof *paths, "%s/%s", scratch->folder, name);
    return path;
}

static inline int scratch_remove_one(const char *path, const struct stat *status, int type,
                                     struct FTW *place)
{
    (void)status, (void)type, (void)place;
    return remove(path);
}

static inline void scratch_free(struct scratch *scratch)
{
    nftw(scratch->folder, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void scratch_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    if (!file || fputs(text, file) == EOF || fclose(file))
        abort();
}

/* The file's bytes with a NUL after them, to be freed; NULL: there is none. */
static inline char *scratch_read(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "r");
    char *text;
    size_t n;

    if (!file)
        return NULL;
    text = calloc(1, 1 << 20);
    n = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    if (bytes)
        *bytes = n;
    return text;
}

#endif
