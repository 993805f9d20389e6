/* The users of a room: a table to find one, and a list in the order of their coming. */
#include "gateway/roster.h"

#include "common/memory.h"
#include "gateway/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define USER_MAX 1024 /* bytes; token.c bounds a subject to less */

struct listed {
    struct table_link link;
    struct listed *next, **place; /* what points to it: the `next` before, or `first` */
    uint32_t sockets;
    uint16_t key_length, json_length;
    char text[]; /* the name decoded, by which it is found, and as JSON */
};

struct roster {
    struct table table;
    struct listed *first, **end; /* of the list; where the next one's pointer goes */
    size_t json_bytes;           /* of all names */
};

static struct listed *find(const struct roster *roster, const char *key, size_t length,
                           uint64_t hash)
{
    struct table_link *link = table_first(&roster->table, hash);

    for (; link; link = table_next(link)) {
        struct listed *listed = TABLE_ENTRY(link, struct listed, link);

        if (listed->key_length == length && memcmp(listed->text, key, length) == 0)
            return listed;
    }
    return NULL;
}

/* Names are compared decoded: two issuers may write one name in two ways. */
static size_t decode(struct span user, char key[USER_MAX])
{
    ptrdiff_t length = scan_decode_string(user, key, USER_MAX);

    assert(length > 0);
    return (size_t)length;
}

struct roster *roster_new(void)
{
    struct roster *roster = memory_zeroed(1, sizeof *roster);

    table_init(&roster->table);
    roster->end = &roster->first;
    return roster;
}

void roster_free(struct roster **roster)
{
    if (!*roster)
        return;
    assert((*roster)->table.used == 0);
    table_fini(&(*roster)->table);
    free(*roster);
    *roster = NULL;
}

void roster_add(struct roster *roster, struct span user)
{
    char key[USER_MAX];
    size_t length = decode(user, key);
    uint64_t hash = table_hash(key, length);
    struct listed *listed = find(roster, key, length, hash);

    if (listed) {
        listed->sockets++;
        return;
    }
    listed = memory_new(sizeof *listed + length + user.length);
    listed->link.hash = hash;
    listed->sockets = 1;
    listed->key_length = (uint16_t)length;
    listed->json_length = (uint16_t)user.length;
    memcpy(listed->text, key, length);
    memcpy(listed->text + length, user.at, user.length);
    table_add(&roster->table, &listed->link);
    listed->next = NULL;
    listed->place = roster->end;
    *roster->end = listed;
    roster->end = &listed->next;
    roster->json_bytes += user.length;
}

void roster_remove(struct roster *roster, struct span user)
{
    char key[USER_MAX];
    size_t length = decode(user, key);
    struct listed *listed = find(roster, key, length, table_hash(key, length));

    assert(listed);
    if (--listed->sockets > 0)
        return;
    table_remove(&roster->table, &listed->link);
    *listed->place = listed->next;
    *(listed->next ? &listed->next->place : &roster->end) = listed->place;
    roster->json_bytes -= listed->json_length;
    free(listed);
}

size_t roster_users(const struct roster *roster)
{
    return roster->table.used;
}

char *roster_json(const struct roster *roster)
{
    char *json = memory_new(roster->json_bytes + roster_users(roster) + sizeof "[]"), *at = json;

    *at++ = '[';
    for (const struct listed *l = roster->first; l; l = l->next) {
        memcpy(at, l->text + l->key_length, l->json_length);
        at += l->json_length;
        if (l->next)
            *at++ = ',';
    }
    memcpy(at, "]", sizeof "]");
    return json;
}
