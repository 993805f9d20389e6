/* What is given back to the kernel is less resident, and still there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>

#include "common/memory.h"

static long resident_file_kib(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    long kib = 0;

    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "RssFile: %ld kB", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

static void what_was_only_read_is_not_resident_and_comes_back(void **state)
{
    unsigned char before[32], after[32];
    long kib;

    (void)state;
    assert_true(sodium_init() >= 0);
    crypto_generichash(before, sizeof before, (const unsigned char *)"x", 1, NULL, 0);
    kib = resident_file_kib();
    memory_give_back();
    assert_true(resident_file_kib() < kib);
    crypto_generichash(after, sizeof after, (const unsigned char *)"x", 1, NULL, 0);
    assert_memory_equal(before, after, sizeof after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_only_read_is_not_resident_and_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
