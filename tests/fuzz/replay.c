/* In libFuzzer's stead: gives a target the files that are named, or that lie in folders named. */
#include "tests/fuzz/target.h"

#include <err.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_BYTES (1 << 20)

static void replay(const char *path)
{
    static uint8_t data[MAX_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd < 0 ? -1 : read(fd, data, sizeof data);
    char *copy;

    if (bytes < 0)
        err(1, "%s", path);
    close(fd);
    copy = target_copy(data, (size_t)bytes);
    LLVMFuzzerTestOneInput((uint8_t *)copy, (size_t)bytes);
    free(copy);
}

int main(int argc, char **argv)
{
    FTS *files = argc > 1 ? fts_open(argv + 1, FTS_LOGICAL | FTS_NOCHDIR, NULL) : NULL;
    unsigned n = 0;
    FTSENT *file;

    if (!files)
        errx(2, "usage: %s FILE|FOLDER ...", argv[0]);
    while ((file = fts_read(files)) != NULL) {
        if (file->fts_info == FTS_NS || file->fts_info == FTS_DNR || file->fts_info == FTS_ERR)
            errx(1, "%s: %s", file->fts_path, strerror(file->fts_errno));
        if (file->fts_info != FTS_F)
            continue;
        fprintf(stderr, "%s\n", file->fts_path);
        replay(file->fts_path);
        n++;
    }
    fts_close(files);
    printf("%u replayed\n", n);
    return n ? 0 : 1;
}
