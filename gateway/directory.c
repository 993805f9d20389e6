/*
 * The directory: names and sockets of all workers, in stripes.  What happens on one worker alone is
 * in rooms.c; here is only what they must agree on.
 */
#include "gateway/directory.h"

#include "common/memory.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define STRIPES 64

struct stripe {
    pthread_mutex_t lock;
    struct table places, sockets;
};

struct directory {
    struct stripe stripe[STRIPES];
};

/* The high bits choose the stripe, the low ones the bucket. */
static struct stripe *stripe_of(struct directory *directory, uint64_t hash)
{
    return &directory->stripe[hash >> 58];
}

static struct place *find(struct stripe *stripe, const char *key, size_t length, uint64_t hash)
{
    struct table_link *link = table_first(&stripe->places, hash);

    for (; link; link = table_next(link)) {
        struct place *place = TABLE_ENTRY(link, struct place, link);

        if (place->length == length && memcmp(place->key, key, length) == 0)
            return place;
    }
    return NULL;
}

static struct place *find_or_make(struct stripe *stripe, const char *key, size_t length,
                                  uint64_t hash)
{
    struct place *place = find(stripe, key, length, hash);

    if (place)
        return place;
    assert(length <= DIRECTORY_KEY_MAX);
    place = memory_new(sizeof *place + length);
    place->link.hash = hash;
    atomic_init(&place->workers, 0);
    atomic_init(&place->count, 0);
    place->roster = NULL;
    place->length = (uint16_t)length;
    memcpy(place->key, key, length);
    table_add(&stripe->places, &place->link);
    return place;
}

static void drop_if_unused(struct stripe *stripe, struct place *place)
{
    if (atomic_load(&place->workers) || atomic_load(&place->count))
        return;
    table_remove(&stripe->places, &place->link);
    roster_free(&place->roster);
    free(place);
}

struct directory *directory_new(void)
{
    struct directory *directory = memory_new(sizeof *directory);

    for (int i = 0; i < STRIPES; i++) {
        pthread_mutex_init(&directory->stripe[i].lock, NULL);
        table_init(&directory->stripe[i].places);
        table_init(&directory->stripe[i].sockets);
    }
    return directory;
}

void directory_free(struct directory **directory)
{
    for (int i = 0; i < STRIPES; i++) {
        struct stripe *stripe = &(*directory)->stripe[i];

        assert(stripe->places.used == 0 && stripe->sockets.used == 0);
        table_fini(&stripe->places);
        table_fini(&stripe->sockets);
        pthread_mutex_destroy(&stripe->lock);
    }
    free(*directory);
    *directory = NULL;
}

struct place *directory_hold(struct directory *directory, const char *key, size_t length,
                             uint64_t hash, unsigned worker)
{
    struct stripe *stripe = stripe_of(directory, hash);
    struct place *place;

    pthread_mutex_lock(&stripe->lock);
    place = find_or_make(stripe, key, length, hash);
    atomic_fetch_or(&place->workers, UINT64_C(1) << worker);
    pthread_mutex_unlock(&stripe->lock);
    return place;
}

void directory_release(struct directory *directory, struct place *place, unsigned worker)
{
    struct stripe *stripe = stripe_of(directory, place->link.hash);

    pthread_mutex_lock(&stripe->lock);
    atomic_fetch_and(&place->workers, ~(UINT64_C(1) << worker));
    drop_if_unused(stripe, place);
    pthread_mutex_unlock(&stripe->lock);
}

void directory_look(struct directory *directory, const char *key, size_t length, uint64_t hash,
                    uint32_t *count, uint64_t *workers)
{
    struct stripe *stripe = stripe_of(directory, hash);
    struct place *place;

    pthread_mutex_lock(&stripe->lock);
    place = find(stripe, key, length, hash);
    *count = place ? atomic_load(&place->count) : 0;
    *workers = place ? atomic_load(&place->workers) : 0;
    pthread_mutex_unlock(&stripe->lock);
}

void directory_list(struct directory *directory, struct place *place, struct span user)
{
    struct stripe *stripe = stripe_of(directory, place->link.hash);

    pthread_mutex_lock(&stripe->lock);
    if (!place->roster)
        place->roster = roster_new();
    roster_add(place->roster, user);
    pthread_mutex_unlock(&stripe->lock);
}

void directory_unlist(struct directory *directory, struct place *place, struct span user)
{
    struct stripe *stripe = stripe_of(directory, place->link.hash);

    pthread_mutex_lock(&stripe->lock);
    roster_remove(place->roster, user);
    if (roster_users(place->roster) == 0)
        roster_free(&place->roster);
    pthread_mutex_unlock(&stripe->lock);
}

char *directory_members(struct directory *directory, const char *key, size_t length, uint64_t hash,
                        uint64_t limit)
{
    struct stripe *stripe = stripe_of(directory, hash);
    const struct place *place;
    char *json = NULL;

    pthread_mutex_lock(&stripe->lock);
    place = find(stripe, key, length, hash);
    if (!place || !place->roster)
        json = memory_copy("[]", 2);
    else if (!limit || roster_users(place->roster) <= limit)
        json = roster_json(place->roster);
    pthread_mutex_unlock(&stripe->lock);
    return json ? json : memory_copy("null", 4);
}

struct place *directory_enter(struct directory *directory, const char *key, size_t length,
                              uint64_t limit)
{
    uint64_t hash = table_hash(key, length);
    struct stripe *stripe = stripe_of(directory, hash);
    struct place *place;

    pthread_mutex_lock(&stripe->lock);
    place = find_or_make(stripe, key, length, hash);
    if (limit && atomic_load(&place->count) >= limit)
        place = NULL;
    else
        atomic_fetch_add(&place->count, 1);
    pthread_mutex_unlock(&stripe->lock);
    return place;
}

void directory_leave(struct directory *directory, struct place *place)
{
    struct stripe *stripe = stripe_of(directory, place->link.hash);

    pthread_mutex_lock(&stripe->lock);
    atomic_fetch_sub(&place->count, 1);
    drop_if_unused(stripe, place);
    pthread_mutex_unlock(&stripe->lock);
}

void directory_add_socket(struct directory *directory, struct socket_entry *entry)
{
    struct stripe *stripe;

    entry->link.hash = table_hash(entry->id, sizeof entry->id);
    stripe = stripe_of(directory, entry->link.hash);
    pthread_mutex_lock(&stripe->lock);
    table_add(&stripe->sockets, &entry->link);
    pthread_mutex_unlock(&stripe->lock);
}

void directory_remove_socket(struct directory *directory, struct socket_entry *entry)
{
    struct stripe *stripe = stripe_of(directory, entry->link.hash);

    pthread_mutex_lock(&stripe->lock);
    table_remove(&stripe->sockets, &entry->link);
    pthread_mutex_unlock(&stripe->lock);
}

int directory_find_socket(struct directory *directory, const uint8_t id[SOCKET_ID_BYTES],
                          uint32_t space, unsigned mine, struct socket_entry **entry)
{
    uint64_t hash = table_hash(id, SOCKET_ID_BYTES);
    struct stripe *stripe = stripe_of(directory, hash);
    struct table_link *link;
    int worker = -1;

    *entry = NULL;
    pthread_mutex_lock(&stripe->lock);
    for (link = table_first(&stripe->sockets, hash); link; link = table_next(link)) {
        struct socket_entry *found = TABLE_ENTRY(link, struct socket_entry, link);

        if (memcmp(found->id, id, SOCKET_ID_BYTES) || found->space != space)
            continue;
        worker = found->worker;
        *entry = found->worker == mine ? found : NULL;
    }
    pthread_mutex_unlock(&stripe->lock);
    return worker;
}
