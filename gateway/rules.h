#ifndef GATEWAY_RULES_H
#define GATEWAY_RULES_H

#include "common/error.h"
#include "gateway/scanner.h"

/*
 * The relay rules: our own small language, read once and compiled to
 * what relay.c runs.  Immutable after reading; counted atomically, one reference a worker.
 */
enum rules_moment {
    MOMENT_CONNECTION,
    MOMENT_AUTHENTICATED, /* a guest, or one who had `later` to come, has shown a token */
    MOMENT_DISCONNECTING,
    MOMENT_DISCONNECT,
    MOMENT_USER_ONLINE, /* of a user, not of a socket */
    MOMENT_USER_OFFLINE,
    MOMENTS
};

enum rules_authenticate {
    AUTHENTICATE_REQUIRED,
    AUTHENTICATE_LATER,
    AUTHENTICATE_OPTIONAL,
    AUTHENTICATE_NONE
};

struct rules;
struct rules_namespace;
struct rule;

/*
 * Read a file of rules.  NULL: error says file:line:column, what is wrong and what would be right.
 * Warnings (a room named only by what a client sends, with no guard) are passed to `warn`, which
 * may be NULL.
 */
struct rules *rules_read(const char *path, void (*warn)(const char *text, void *context),
                         void *context, struct error *error);

/* The same for a text in memory; `name` stands in messages. */
struct rules *rules_parse(const char *text, size_t length, const char *name,
                          void (*warn)(const char *text, void *context), void *context,
                          struct error *error);

struct rules *rules_get(struct rules *rules);
void rules_put(struct rules **rules);

/* Namespaces in file order; by name ("/", "/admin"); NULL: the rules have none of this name. */
size_t rules_namespaces(const struct rules *rules);
const struct rules_namespace *rules_namespace_at(const struct rules *rules, size_t index);
const struct rules_namespace *rules_namespace_find(const struct rules *rules, struct span name);

struct span rules_namespace_name(const struct rules_namespace *space);
enum rules_authenticate rules_namespace_authenticate(const struct rules_namespace *space);
size_t rules_variables(const struct rules_namespace *space);

/* A variable's name by its slot, and its slot by its name; rules_variables(): there is none. */
struct span rules_variable_name(const struct rules_namespace *space, size_t slot);
size_t rules_variable_find(const struct rules_namespace *space, struct span name);
size_t rules_limits(const struct rules_namespace *space);

/* Has it a `when user …`; does it say `$members`?  Only then is anything kept for them. */
bool rules_has_presence(const struct rules_namespace *space);
bool rules_asks_members(const struct rules_namespace *space);

/* Where in an object a value is: the names of members, one inside the other. */
struct rules_path {
    const struct span *path;
    size_t n_path; /* 0: the object itself */
};

/* The claims that the rules name, of all namespaces, and what a namespace names of `$auth`, by
 * their slots. */
#define RULES_CLAIMS 64
#define RULES_AUTHS  64
const struct rules_path *rules_claims(const struct rules *rules, size_t *n);
const struct rules_path *rules_auths(const struct rules_namespace *space, size_t *n);

#endif
