#ifndef GATEWAY_DIRECTORY_H
#define GATEWAY_DIRECTORY_H

#include "gateway/roster.h"
#include "gateway/table.h"

#include <stdatomic.h>

/*
 * What all workers share: a name → how many are there and which workers hold some of them.  Names
 * are whole keys ("namespace\0room", see rooms.h).  In stripes, each with its lock; a worker that
 * holds a place reads its count and workers without any lock.
 */
#define DIRECTORY_KEY_MAX 1024

struct place {
    struct table_link link;
    _Atomic uint64_t workers; /* a bit for each worker that holds it */
    _Atomic uint32_t count;   /* members on all workers */
    struct roster *roster;    /* their users, under the lock; NULL: none is kept */
    uint16_t length;
    char key[];
};

struct directory;

struct directory *directory_new(void);
void directory_free(struct directory **directory);

/*
 * Hold a place for worker number `worker`, made when it is new: it lives at least until the same
 * worker releases it.  A worker holds a place once, while it has members there, and counts them
 * itself.
 */
struct place *directory_hold(struct directory *directory, const char *key, size_t length,
                             uint64_t hash, unsigned worker);
void directory_release(struct directory *directory, struct place *place, unsigned worker);

/* The count and workers of a place that this worker may not hold; zeros when there is none. */
void directory_look(struct directory *directory, const char *key, size_t length, uint64_t hash,
                    uint32_t *count, uint64_t *workers);

/* A socket of `user` (a JSON string) is in a place that the worker holds, or is no more. */
void directory_list(struct directory *directory, struct place *place, struct span user);
void directory_unlist(struct directory *directory, struct place *place, struct span user);

/*
 * The users of a place as a JSON list, NUL-ended, to be freed with free(); `null` when they are
 * more than `limit` (0: none).
 */
char *directory_members(struct directory *directory, const char *key, size_t length, uint64_t hash,
                        uint64_t limit);

/*
 * One more of something bounded (connections of an address): NULL when `limit` (0: none) are there
 * already. Given back with directory_leave.
 */
struct place *directory_enter(struct directory *directory, const char *key, size_t length,
                              uint64_t limit);
void directory_leave(struct directory *directory, struct place *place);

/*
 * The sockets by their public id.  A link stays in the table from directory_add_socket to
 * directory_remove_socket; `owner` is what directory_find_socket answers, -1 when there is none.
 */
#define SOCKET_ID_BYTES 15

struct socket_entry {
    struct table_link link;
    uint8_t id[SOCKET_ID_BYTES];
    uint8_t worker;
    uint32_t space; /* number of its namespace */
};
void directory_add_socket(struct directory *directory, struct socket_entry *entry);
void directory_remove_socket(struct directory *directory, struct socket_entry *entry);

/*
 * Where is the socket of this id in this namespace?  -1: nowhere.  On worker `mine` *entry is set
 * and stays valid, since only that worker removes it; else it is NULL.
 */
int directory_find_socket(struct directory *directory, const uint8_t id[SOCKET_ID_BYTES],
                          uint32_t space, unsigned mine, struct socket_entry **entry);

#endif
