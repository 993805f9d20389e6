#ifndef BENCH_POST_H
#define BENCH_POST_H

#include <stdint.h>

/*
 * Clients of a login service: each has a connection that stays, posts a form, waits for the answer
 * and posts again.  A refresh token in an answer is what the next form brings.
 */
struct post_job {
    uint16_t port;
    unsigned clients;
    unsigned status;   /* that all answers have to have */
    const char *path;  /* "/login" */
    const char *forms; /* a file, a form a line; clients take them in turn */
};

struct poster;

struct poster *post_open(const struct post_job *job);

/* Post for so long and wait for the last answers: how many there were.  Ends the program at an
 * answer that is not as it should be; one in a hundred may have another status, as a refusal that
 * is only for a time. */
uint64_t post_play(struct poster *poster, double for_s);

#endif
