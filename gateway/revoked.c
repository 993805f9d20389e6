/* The revocations in memory: a table of users and tokens.  When they are read anew is main.c's
 * business. */
#include "gateway/revoked.h"

#include "common/memory.h"
#include "gateway/table.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct table_link link;
    struct entry *next; /* of all */
    int64_t until_s;    /* of a user: tokens with `iat` up to here */
    char key[];         /* 'u' and a `sub`, or 't' and a `jti` */
};

struct revoked {
    _Atomic uint32_t references;
    bool is_stale;
    struct table table;
    struct entry *entries;
};

static uint64_t key_hash(char kind, const char *name)
{
    return table_hash(name, strlen(name)) ^ (uint64_t)(unsigned char)kind;
}

static const struct entry *find(const struct revoked *revoked, char kind, const char *name)
{
    struct table_link *link = table_first(&revoked->table, key_hash(kind, name));

    for (; link; link = table_next(link)) {
        const struct entry *entry = TABLE_ENTRY(link, struct entry, link);

        if (entry->key[0] == kind && strcmp(entry->key + 1, name) == 0)
            return entry;
    }
    return NULL;
}

static void add(struct revoked *revoked, char kind, const char *name, int64_t until_s)
{
    size_t length = strlen(name);
    struct entry *entry = memory_new(sizeof *entry + length + 2);

    entry->link.hash = key_hash(kind, name);
    entry->until_s = until_s;
    entry->key[0] = kind;
    memcpy(entry->key + 1, name, length + 1);
    entry->next = revoked->entries;
    revoked->entries = entry;
    table_add(&revoked->table, &entry->link);
}

static void add_row(enum revocation_kind kind, const char *name, int64_t until_s, void *context)
{
    add(context, kind == REVOCATION_USER ? 'u' : 't', name, until_s);
}

static struct revoked *revoked_new(void)
{
    struct revoked *revoked = memory_zeroed(1, sizeof *revoked);

    atomic_init(&revoked->references, 1);
    table_init(&revoked->table);
    return revoked;
}

struct revoked *revoked_read(struct revocations *revocations, struct error *error)
{
    struct revoked *revoked = revoked_new();

    if (!revocations_list(revocations, add_row, revoked, error))
        revoked_put(&revoked);
    return revoked;
}

struct revoked *revoked_as_stale(const struct revoked *old)
{
    struct revoked *revoked = revoked_new();

    revoked->is_stale = true;
    for (const struct entry *entry = old->entries; entry; entry = entry->next)
        add(revoked, entry->key[0], entry->key + 1, entry->until_s);
    return revoked;
}

struct revoked *revoked_get(struct revoked *revoked)
{
    atomic_fetch_add_explicit(&revoked->references, 1, memory_order_relaxed);
    return revoked;
}

void revoked_put(struct revoked **revoked)
{
    struct revoked *r = *revoked;

    *revoked = NULL;
    if (!r || atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) > 1)
        return;
    while (r->entries) {
        struct entry *next = r->entries->next;

        free(r->entries);
        r->entries = next;
    }
    table_fini(&r->table);
    free(r);
}

bool revoked_is_stale(const struct revoked *revoked)
{
    return revoked->is_stale;
}

bool revoked_covers(const struct revoked *revoked, const char *user, const char *jti,
                    int64_t issued_s)
{
    const struct entry *entry = find(revoked, 'u', user);

    return (entry && issued_s <= entry->until_s) || find(revoked, 't', jti);
}
