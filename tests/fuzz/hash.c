/*
 * A password's hash from a file of another program.  What is taken can be verified, by itself and
 * as one of its kind: if not, every login would fail as long as it is in the database.
 */
#include "db/password.h"
#include "tests/fuzz/target.h"

#include <stdio.h>

/* The others of a scheme take the same way, and too long. */
static bool is_quick(const struct kind *kind)
{
    static const char *const quick[] = {
        "$2b$04$", "$5$rounds=1000$", "$6$rounds=1000$",        "$y$j75$",
        "$apr1$",  "{SHA}",           "$argon2id$v=19$m=8,t=1,"};

    for (size_t i = 0; i < sizeof quick / sizeof *quick; i++)
        if (strncmp(kind->text, quick[i], strlen(quick[i])) == 0)
            return true;
    return false;
}

static void demand(const struct kind *kind, const char *hash)
{
    const struct password_setting setting = {8 << 10, 1};
    unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES];
    struct kinds none = {0}, kinds = {.n = 1};

    strcpy(kinds.texts[0], kind->text);
    assert(password_verify(setting, &none, "x", 1, hash, fingerprint) != PASSWORD_FAILED);
    assert(password_verify(setting, &kinds, "x", 1, NULL, fingerprint) == PASSWORD_WRONG);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *hash = strndup((const char *)data, size);
    struct error error = {.text = ""};
    struct kind kind;

    assert(hash);
    if (kind_read(hash, &kind, &error)) {
        assert(kind_scheme_of(kind.text) == kind.scheme);
        assert(kind.digest_at < strlen(hash) && strlen(hash) < PASSWORD_HASH_SIZE);
        if (is_quick(&kind))
            demand(&kind, hash);
    } else {
        assert(error.text[0]);
    }
    free(hash);
    return 0;
}
