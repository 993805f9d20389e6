#ifndef DB_KIND_H
#define DB_KIND_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * The kinds of password hashes: how one was made, without what was random.  Two hashes of a kind
 * take the same work for the same password, whose length matters alike.  The text of a kind is what
 * a hash of it begins with, its salt as dots, so that libcrypt takes it for one: "$2b$12$....".
 */
#define KIND_SIZE 64

enum kind_scheme { KIND_ARGON2ID, KIND_BCRYPT, KIND_SHA_CRYPT, KIND_YESCRYPT, KIND_APR1, KIND_SHA };

struct kind {
    enum kind_scheme scheme;
    char text[KIND_SIZE];
    size_t digest_at; /* where in the hash what came out begins */
};

/*
 * Argon2id in PHC form with p=1; bcrypt ($2a$, $2b$, $2y$) up to cost 14; SHA-crypt ($5$, $6$) up
 * to a million rounds; yescrypt ($y$) up to 64 MiB; htpasswd's $apr1$ and {SHA}.  False: it is none
 * of these, whole and in the form their programs write; why.
 */
bool kind_read(const char *hash, struct kind *kind, struct error *error);

/* The scheme in the text of a kind. */
enum kind_scheme kind_scheme_of(const char *text);

/* The memory in which a hash of the kind with that text is made, within a few KiB. */
size_t kind_memory_bytes(const char *text);

/* Those there are.  Each costs every login one hash of it (password.h), hence few. */
#define KINDS_MAX 16
struct kinds {
    size_t n;
    char texts[KINDS_MAX][KIND_SIZE];
};
bool kinds_have(const struct kinds *kinds, const char *text);

#endif
