#ifndef GATEWAY_EXPLAIN_H
#define GATEWAY_EXPLAIN_H

#include "gateway/snapshot.h"

#include <stdio.h>

/*
 * What would the rules do?  For one event or moment of a socket that is described here, the rules
 * that are asked, what each guard answers, and every packet that would go out; by the same compiled
 * rules, with no gateway running.
 */
#define EXPLAIN_ROOMS     32
#define EXPLAIN_VARIABLES 32

struct explain {
    const char *user;   /* NULL: a guest, or whoever the token says */
    bool takes_token;   /* from standard input */
    const char *claims; /* a JSON object, or NULL */
    const char *space;  /* the namespace */
    const char *auth;   /* what CONNECT brought, a JSON object, or NULL */
    const char *moment; /* instead of an event: "connection", "user online", … */
    const char *room[EXPLAIN_ROOMS];
    const char *variable[EXPLAIN_VARIABLES]; /* NAME=JSON */
    size_t n_rooms, n_variables;
    char **event; /* its name and arguments: JSON, or else a text */
    int n_event;
};

/* The exit status: 0, or 1 and a message when it cannot be explained. */
int explain_run(struct snapshot *snapshot, const struct explain *explain, FILE *out);

#endif
