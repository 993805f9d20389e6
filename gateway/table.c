/* A hash table of links embedded in their owners; it doubles when there are as many links as
 * buckets. */
#include "gateway/table.h"

#include "common/memory.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

static unsigned char hash_key[crypto_shorthash_KEYBYTES];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void make_hash_key(void)
{
    randombytes_buf(hash_key, sizeof hash_key);
}

uint64_t table_hash(const void *key, size_t bytes)
{
    uint64_t hash;

    pthread_once(&hash_key_once, make_hash_key);
    crypto_shorthash((unsigned char *)&hash, key, bytes, hash_key);
    return hash;
}

static void grow(struct table *table)
{
    size_t n = (table->mask + 1) * 2;
    struct table_link **bucket = memory_zeroed(n, sizeof *bucket);

    for (size_t i = 0; i <= table->mask; i++) {
        struct table_link *link = table->bucket[i], *next;

        for (; link; link = next) {
            next = link->next;
            link->next = bucket[link->hash & (n - 1)];
            bucket[link->hash & (n - 1)] = link;
        }
    }
    free(table->bucket);
    table->bucket = bucket;
    table->mask = n - 1;
}

static struct table_link *same_hash(struct table_link *link, uint64_t hash)
{
    while (link && link->hash != hash)
        link = link->next;
    return link;
}

void table_init(struct table *table)
{
    table->mask = 15;
    table->used = 0;
    table->bucket = memory_zeroed(table->mask + 1, sizeof *table->bucket);
}

void table_fini(struct table *table)
{
    free(table->bucket);
    table->bucket = NULL;
}

void table_add(struct table *table, struct table_link *link)
{
    struct table_link **head;

    if (table->used > table->mask)
        grow(table);
    head = &table->bucket[link->hash & table->mask];
    link->next = *head;
    *head = link;
    table->used++;
}

void table_remove(struct table *table, struct table_link *link)
{
    struct table_link **at = &table->bucket[link->hash & table->mask];

    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    table->used--;
}

struct table_link *table_first(const struct table *table, uint64_t hash)
{
    return same_hash(table->bucket[hash & table->mask], hash);
}

struct table_link *table_next(const struct table_link *link)
{
    return same_hash(link->next, link->hash);
}
