#ifndef GATEWAY_TABLE_H
#define GATEWAY_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A chained hash table whose links live inside what it holds.  It owns its buckets only.  Hashes
 * come from table_hash, which is keyed with this process's own random key: names come from clients.
 */
struct table_link {
    struct table_link *next;
    uint64_t hash;
};

struct table {
    struct table_link **bucket;
    size_t mask, used;
};

uint64_t table_hash(const void *key, size_t bytes);

void table_init(struct table *table);
void table_fini(struct table *table);
void table_add(struct table *table, struct table_link *link);
void table_remove(struct table *table, struct table_link *link);

/* The first link of a hash, and the next one of the same hash: the caller compares the keys. */
struct table_link *table_first(const struct table *table, uint64_t hash);
struct table_link *table_next(const struct table_link *link);

/* From a link to the struct it lives in. */
#define TABLE_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

#endif
