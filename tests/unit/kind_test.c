/*
 * Hashes that came from elsewhere: which are right, which are not taken, and that nobody can be
 * told from anybody by what a refusal costs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "db/password.h"

#define Z50  "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
#define Z200 Z50 Z50 Z50 Z50

static const struct password_setting setting = {(size_t)7 << 20, 5};
static const struct kinds none;
static unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES];

/* Of the SHA-crypt specification, of crypt_blowfish's own test, of libxcrypt, openssl and
 * htpasswd. */
static const struct {
    const char *password, *hash, *kind;
} known[] = {
    {"Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
     "$5$rounds=5000$.........."},
    {"Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
     "$5$rounds=10000$................"},
    {"Hello world!",
     "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOf"
     "aS35inz1",
     "$6$rounds=5000$.........."},
    {"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
     "$2b$05$......................"},
    {"correct horse", "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
     "$2b$04$......................"},
    {"correct horse", "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79",
     "$y$j9T$......................"},
    {"correct horse", "$apr1$rzl4OA7G$xWkTnQS3QtVmYx.u/LONw0", "$apr1$........"},
    {"x", "$apr1$r$4IR/rQ/DrwdQw21nylZWe.", "$apr1$."},
    {Z200, "$apr1$abcdefgh$HVlbjlF0nEhqzTi0RVupq1", "$apr1$........"},
    {"password", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "{SHA}"},
};
#define KNOWN (sizeof known / sizeof *known)

static enum password_result verify(const struct kinds *kinds, const char *password,
                                   const char *hash)
{
    return password_verify(setting, kinds, password, strlen(password), hash, fingerprint);
}

static void the_right_password_is_right_in_every_scheme(void **state)
{
    (void)state;
    for (size_t i = 0; i < KNOWN; i++) {
        char longer[256];

        snprintf(longer, sizeof longer, "%sx", known[i].password);
        assert_int_equal(verify(&none, known[i].password, known[i].hash), PASSWORD_RIGHT);
        assert_int_equal(verify(&none, longer, known[i].hash), PASSWORD_WRONG);
        assert_int_equal(verify(&none, "", known[i].hash), PASSWORD_WRONG);
        assert_int_equal(verify(&none, known[i].kind, known[i].hash), PASSWORD_WRONG);
        assert_false(password_is_ours(setting, known[i].hash));
    }
}

static void a_kind_is_a_hash_without_what_was_random(void **state)
{
    struct error error;
    struct kind kind;

    (void)state;
    for (size_t i = 0; i < KNOWN; i++) {
        assert_true(kind_read(known[i].hash, &kind, &error));
        assert_string_equal(kind.text, known[i].kind);
        assert_int_equal(kind_scheme_of(kind.text), kind.scheme);
    }
}

/* Each beginning of a good hash, each with a byte too many, and each with another byte. */
static void what_is_not_whole_is_not_taken(void **state)
{
    struct error error;
    struct kind kind;
    char text[PASSWORD_HASH_SIZE + 1];

    (void)state;
    for (size_t i = 0; i < KNOWN; i++) {
        size_t length = strlen(known[i].hash);

        for (size_t cut = 0; cut < length; cut++) {
            snprintf(text, sizeof text, "%.*s", (int)cut, known[i].hash);
            assert_false(kind_read(text, &kind, &error));
            snprintf(text, sizeof text, "%s", known[i].hash);
            text[cut] = '!';
            assert_false(kind_read(text, &kind, &error));
        }
        snprintf(text, sizeof text, "%sx", known[i].hash);
        assert_false(kind_read(text, &kind, &error));
    }
}

static void what_would_cost_too_much_or_is_unknown_is_refused_in_words(void **state)
{
    static const struct {
        const char *hash, *word;
    } cases[] = {
        {"$2y$15$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e", "cost 15"},
        {"$2y$03$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e", "bcrypt"},
        {"$2x$05$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e", "none of those"},
        {"$5$rounds=1000001$abc$/cRuvrIiQqQvcPwD.a/LO47x90cA9f8oqYBouKihds1", "1000001 rounds"},
        {"$5$rounds=99999999999999999999$abc$/cRuvrIiQqQvcPwD.a/LO47x90cA9f8oqYBouKihds1",
         "rounds"},
        {"$5$rounds=999$abc$/cRuvrIiQqQvcPwD.a/LO47x90cA9f8oqYBouKihds1", "SHA-crypt"},
        {"$5$rounds=-5000$abc$/cRuvrIiQqQvcPwD.a/LO47x90cA9f8oqYBouKihds1", "SHA-crypt"},
        {"$y$jFT$F5Jx5fExrKuPp53xLKQ..1$zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79", "64 MiB"},
        {"$y$j9T/$F5Jx5fExrKuPp53xLKQ..1$zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79",
         "parameters"},
        {"$y$j9T$F5Jx5fExrKuPp53xLKQ..2$zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79", "yescrypt"},
        {"$y$j9T$F5Jx5fExrKuPp53xLKQ..$zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79", "yescrypt"},
        {"$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "none of those"},
        {"H3YjHJYuClGcI", "none of those"},
        {"secret", "none of those"},
        {"", "none of those"},
    };
    struct error error;
    struct kind kind;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(kind_read(cases[i].hash, &kind, &error));
        assert_non_null(strstr(error.text, cases[i].word));
        assert_null(strstr(error.text, "F5Jx5f"));
    }
}

/* The first 72 bytes decide, as where the hash came from. */
static void bcrypt_takes_what_it_always_took(void **state)
{
    static const char hash[] = "$2b$04$abcdefghijklmnopqrstuu7c/9gwyU5n92/NDnt1NVdILq9XYhttG";
    char password[] = Z50 "zzzzzzzzzzzzzzzzzzzzzz"
                          "tail";

    (void)state;
    assert_int_equal(verify(&none, password, hash), PASSWORD_RIGHT);
    password[72] = 'T';
    assert_int_equal(verify(&none, password, hash), PASSWORD_RIGHT);
    password[71] = 'Z';
    assert_int_equal(verify(&none, password, hash), PASSWORD_WRONG);
}

static void a_password_that_crypt_cannot_take_is_wrong(void **state)
{
    static const char nul[] = "correct horse\0and more", longest[1050] = Z200 Z200 Z200 Z200 Z200;

    (void)state;
    for (size_t i = 0; i < KNOWN; i++) {
        assert_int_equal(
            password_verify(setting, &none, nul, sizeof nul - 1, known[i].hash, fingerprint),
            PASSWORD_WRONG);
        assert_int_equal(password_verify(setting, &none, longest, 600, known[i].hash, fingerprint),
                         PASSWORD_WRONG);
        assert_int_equal(password_verify(setting, &none, longest, 1024, known[i].hash, fingerprint),
                         PASSWORD_WRONG);
        assert_int_equal(password_verify(setting, &none, longest, 1050, known[i].hash, fingerprint),
                         PASSWORD_WRONG);
    }
}

static void wrong_passwords_are_told_apart_whatever_the_scheme(void **state)
{
    unsigned char one[PASSWORD_FINGERPRINT_BYTES], other[PASSWORD_FINGERPRINT_BYTES];

    (void)state;
    password_verify(setting, &none, "wrong", 5, known[0].hash, one);
    password_verify(setting, &none, "wrong", 5, known[0].hash, other);
    assert_memory_equal(one, other, sizeof one);
    password_verify(setting, &none, "wronG", 5, known[0].hash, other);
    assert_memory_not_equal(one, other, sizeof one);
    password_verify(setting, &none, "wrong", 5, known[1].hash, other);
    assert_memory_not_equal(one, other, sizeof one);
}

static double cpu_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The least of several runs: what disturbs a run only makes it longer. */
static double cost_ms(const struct kinds *kinds, const char *hash)
{
    double least = 1e9;

    for (int i = 0; i < 7; i++) {
        double start = cpu_ms(), took;

        verify(kinds, "a wrong one", hash);
        took = cpu_ms() - start;
        if (took < least)
            least = took;
    }
    return least;
}

static void a_refusal_costs_the_same_for_whoever_it_is(void **state)
{
    /* Each costs some times what an Argon2id does. */
    static const struct kinds kinds = {
        3,
        {"$2b$08$......................", "$y$j9T$......................",
         "$argon2id$v=19$m=19456,t=2,p=1"},
    };
    static const char *const hashes[] = {
        "$2y$08$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79",
        "$argon2id$v=19$m=19456,t=2,p=1$UvDCi3AnzAPbT9oO2iyowA$bX3KA3/"
        "4yjf9FDQAXJFg15DPZ+82WnhkrWDAmyhLe/s",
        "$argon2id$v=19$m=7168,t=5,p=1$UvDCi3AnzAPbT9oO2iyowA$bX3KA3/"
        "4yjf9FDQAXJFg15DPZ+82WnhkrWDAmyhLe/s",
        "unreadable",
    };
    double alone = cost_ms(&none, NULL), nobody = cost_ms(&kinds, NULL);

    (void)state;
    assert_true(nobody > 2 * alone);
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        double cost = cost_ms(&kinds, hashes[i]);

        if (cost < 0.8 * nobody || cost > 1.25 * nobody)
            fail_msg("%s costs %.2f ms where nobody costs %.2f", hashes[i], cost, nobody);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_password_is_right_in_every_scheme),
        cmocka_unit_test(a_kind_is_a_hash_without_what_was_random),
        cmocka_unit_test(what_is_not_whole_is_not_taken),
        cmocka_unit_test(what_would_cost_too_much_or_is_unknown_is_refused_in_words),
        cmocka_unit_test(bcrypt_takes_what_it_always_took),
        cmocka_unit_test(a_password_that_crypt_cannot_take_is_wrong),
        cmocka_unit_test(wrong_passwords_are_told_apart_whatever_the_scheme),
        cmocka_unit_test(a_refusal_costs_the_same_for_whoever_it_is),
    };

    return cmocka_run_group_tests_name("kind", tests, NULL, NULL);
}
