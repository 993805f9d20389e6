/* Password hashes: what is right, what is wrong, and that no answer can be told by its cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/password.h"

static const struct password_setting setting = {(size_t)7 << 20, 5};
static unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES];

static bool make(const char *password, size_t bytes, char hash[PASSWORD_HASH_SIZE])
{
    return password_hash(setting, password, bytes, hash);
}

static enum password_result verify(const char *password, size_t bytes, const char *hash,
                                   unsigned char print[PASSWORD_FINGERPRINT_BYTES])
{
    static const struct kinds none;

    return password_verify(setting, &none, password, bytes, hash, print);
}

/* "tutorial", of a setting nobody uses: 8 KiB, one pass. */
static const char other_setting[] =
    "$argon2id$v=19$m=8,t=1,p=1$UvDCi3AnzAPbT9oO2iyowA$bX3KA3/4yjf9FDQAXJFg15DPZ+82WnhkrWDAmyhLe/s";

static void the_right_password_is_right_and_another_is_not(void **state)
{
    char hash[PASSWORD_HASH_SIZE];

    (void)state;
    assert_true(make("correct horse", 13, hash));
    assert_int_equal(verify("correct horse", 13, hash, fingerprint), PASSWORD_RIGHT);
    assert_int_equal(verify("correct horsf", 13, hash, fingerprint), PASSWORD_WRONG);
    assert_int_equal(verify("correct hors", 12, hash, fingerprint), PASSWORD_WRONG);
    assert_int_equal(verify("correct horse", 14, hash, fingerprint), PASSWORD_WRONG);
    assert_int_equal(verify("", 0, hash, fingerprint), PASSWORD_WRONG);
}

static void a_hash_is_argon2id_of_the_setting_we_say(void **state)
{
    char one[PASSWORD_HASH_SIZE], two[PASSWORD_HASH_SIZE];
    static const char form[] = "$argon2id$v=19$m=7168,t=5,p=1$";

    (void)state;
    assert_true(make("x", 1, one));
    assert_true(make("x", 1, two));
    assert_memory_equal(one, form, strlen(form));
    assert_string_not_equal(one, two);
}

static void bytes_after_a_nul_and_at_the_end_of_the_longest_count(void **state)
{
    char hash[PASSWORD_HASH_SIZE], longest[PASSWORD_MAX_BYTES + 1];

    (void)state;
    assert_true(make("a\0b", 3, hash));
    assert_int_equal(verify("a\0b", 3, hash, fingerprint), PASSWORD_RIGHT);
    assert_int_equal(verify("a\0c", 3, hash, fingerprint), PASSWORD_WRONG);
    assert_int_equal(verify("a", 1, hash, fingerprint), PASSWORD_WRONG);

    memset(longest, 'z', sizeof longest);
    assert_true(make(longest, PASSWORD_MAX_BYTES, hash));
    assert_int_equal(verify(longest, PASSWORD_MAX_BYTES, hash, fingerprint), PASSWORD_RIGHT);
    assert_int_equal(verify(longest, PASSWORD_MAX_BYTES - 1, hash, fingerprint), PASSWORD_WRONG);
    assert_int_equal(verify(longest, PASSWORD_MAX_BYTES + 1, hash, fingerprint), PASSWORD_WRONG);
}

static void a_hash_of_another_setting_still_verifies(void **state)
{
    (void)state;
    assert_int_equal(verify("tutorial", 8, other_setting, fingerprint), PASSWORD_RIGHT);
    assert_int_equal(verify("tutoriam", 8, other_setting, fingerprint), PASSWORD_WRONG);
}

static void an_unknown_user_is_wrong_and_an_unreadable_hash_our_failure(void **state)
{
    static const char *const unreadable[] = {
        "",
        "x",
        "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
        "$argon2id$v=19$m=7168,t=5,p=1$",
        "$argon2id$v=19$m=7168,t=5,p=1$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=0,t=0,p=0$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
    };

    (void)state;
    assert_int_equal(verify("x", 1, NULL, fingerprint), PASSWORD_WRONG);
    assert_int_equal(verify("", 0, NULL, fingerprint), PASSWORD_WRONG);
    for (size_t i = 0; i < sizeof unreadable / sizeof *unreadable; i++)
        assert_int_equal(verify("x", 1, unreadable[i], fingerprint), PASSWORD_FAILED);
}

/* In the place of libsodium's, which it calls: what was hashed how often. */
static int n_hashes, n_of_setting;

int crypto_pwhash(unsigned char *const out, unsigned long long bytes, const char *const password,
                  unsigned long long length, const unsigned char *const salt,
                  unsigned long long passes, size_t memory, int algorithm)
{
    static __typeof__(&crypto_pwhash) real;

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "crypto_pwhash");
    n_hashes++;
    n_of_setting += passes == setting.passes && memory == setting.memory_bytes &&
                    algorithm == crypto_pwhash_ALG_ARGON2ID13;
    return real(out, bytes, password, length, salt, passes, memory, algorithm);
}

static void every_answer_costs_one_argon2id(void **state)
{
    static char too_long[PASSWORD_MAX_BYTES + 1];
    char hash[PASSWORD_HASH_SIZE];

    (void)state;
    assert_true(make("correct horse", 13, hash));
    struct {
        const char *password;
        size_t bytes;
        const char *hash;
    } cases[] = {
        {"correct horse", 13, hash},
        {"wrong", 5, hash},
        {"correct horse", 13, NULL},
        {"", 0, hash},
        {"", 0, NULL},
        {too_long, sizeof too_long, hash},
        {too_long, sizeof too_long, NULL},
        {"wrong", 5, "unreadable"},
        {"wrong", 5, "$argon2id$v=19$m=7168,t=5,p=1$"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        n_hashes = n_of_setting = 0;
        verify(cases[i].password, cases[i].bytes, cases[i].hash, fingerprint);
        if (n_hashes != 1 || n_of_setting != 1)
            fail_msg("case %zu makes %d hashes, %d of the setting", i, n_hashes, n_of_setting);
    }
}

/* Less than a hash takes, and enough for all else. */
static void leave_memory(rlim_t bytes)
{
    FILE *file = fopen("/proc/self/statm", "r");
    struct rlimit limit;
    unsigned long pages;

    if (!file || fscanf(file, "%lu", &pages) != 1)
        _exit(2);
    fclose(file);
    limit.rlim_cur = limit.rlim_max = pages * (rlim_t)sysconf(_SC_PAGESIZE) + bytes;
    setrlimit(RLIMIT_AS, &limit);
}

static void without_memory_it_fails_and_calls_no_password_wrong(void **state)
{
    char hash[PASSWORD_HASH_SIZE], other[PASSWORD_HASH_SIZE];
    int status;
    pid_t child;

    (void)state;
    assert_true(make("correct horse", 13, hash));
    child = fork();
    if (child == 0) {
        leave_memory(4 << 20);
        _exit(verify("correct horse", 13, hash, fingerprint) == PASSWORD_FAILED &&
                      verify("wrong", 5, hash, fingerprint) == PASSWORD_FAILED &&
                      verify("wrong", 5, NULL, fingerprint) == PASSWORD_FAILED &&
                      !make("new", 3, other)
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_fingerprint_tells_passwords_and_users_apart(void **state)
{
    unsigned char prints[5][PASSWORD_FINGERPRINT_BYTES];
    char ann[PASSWORD_HASH_SIZE], bob[PASSWORD_HASH_SIZE];

    (void)state;
    assert_true(make("correct horse", 13, ann));
    assert_true(make("correct horse", 13, bob));
    verify("wrong", 5, ann, prints[0]);
    verify("wrong", 5, ann, prints[1]);
    verify("wronG", 5, ann, prints[2]);
    verify("wrong", 5, bob, prints[3]);
    verify("wrong", 5, NULL, prints[4]);
    assert_memory_equal(prints[0], prints[1], sizeof *prints);
    for (int i = 2; i < 5; i++)
        assert_memory_not_equal(prints[0], prints[i], sizeof *prints);
}

/* smaps(5): "hg" among a mapping's flags. */
static bool asks_for_huge_pages(const void *mapping)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    bool is_it = false, asks = false;
    unsigned long from, to;
    char line[512];

    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            is_it = from <= (unsigned long)mapping && (unsigned long)mapping < to;
        asks |= is_it && strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " hg");
    }
    fclose(file);
    return asks;
}

static void libraries_get_huge_pages_for_what_they_hash_in(void **state)
{
    size_t bytes = (size_t)7 << 20;
    void *large = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *small = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_ptr_equal(dlsym(RTLD_DEFAULT, "mmap"), mmap); /* the one that libraries find */
    assert_true(large != MAP_FAILED && small != MAP_FAILED);
    assert_true(asks_for_huge_pages(large));
    assert_false(asks_for_huge_pages(small));
    munmap(large, bytes);
    munmap(small, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fingerprint_tells_passwords_and_users_apart),
        cmocka_unit_test(the_right_password_is_right_and_another_is_not),
        cmocka_unit_test(a_hash_is_argon2id_of_the_setting_we_say),
        cmocka_unit_test(bytes_after_a_nul_and_at_the_end_of_the_longest_count),
        cmocka_unit_test(a_hash_of_another_setting_still_verifies),
        cmocka_unit_test(an_unknown_user_is_wrong_and_an_unreadable_hash_our_failure),
        cmocka_unit_test(every_answer_costs_one_argon2id),
        cmocka_unit_test(libraries_get_huge_pages_for_what_they_hash_in),
        cmocka_unit_test(without_memory_it_fails_and_calls_no_password_wrong),
    };

    return cmocka_run_group_tests_name("password", tests, NULL, NULL);
}
