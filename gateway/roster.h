#ifndef GATEWAY_ROSTER_H
#define GATEWAY_ROSTER_H

#include "gateway/scanner.h"

/*
 * The users in a room, of all workers: each once, in the order in which they came, with how many
 * of their sockets are there.  The directory keeps one for every room of a namespace whose rules
 * say `$members`, under the room's lock, so that whoever was told that somebody joined finds them
 * in the list.
 */
struct roster;

struct roster *roster_new(void);
void roster_free(struct roster **roster);

/* A socket more or less of `user`, a JSON string. */
void roster_add(struct roster *roster, struct span user);
void roster_remove(struct roster *roster, struct span user);

size_t roster_users(const struct roster *roster);

/* A JSON list of them, NUL-ended, to be freed with free(). */
char *roster_json(const struct roster *roster);

#endif
