#ifndef GATEWAY_MAILBOX_H
#define GATEWAY_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How one worker (or the main thread) tells another something: many may post, one takes.  What one
 * poster posts is taken in the order it was posted.
 */
struct mail {
    struct mail *next;
    void (*deliver)(struct mail *mail, void *receiver); /* does what the mail says and frees it */
};

struct mailbox {
    _Atomic(struct mail *) newest;
    _Atomic uint32_t depth;
    int event_fd; /* readable after mailbox_wake */
};

void mailbox_init(struct mailbox *mailbox);
void mailbox_fini(struct mailbox *mailbox); /* nothing may be in it */

/* True: the box was empty, so its owner may be asleep; call mailbox_wake before long. */
bool mailbox_post(struct mailbox *mailbox, struct mail *mail);
void mailbox_wake(struct mailbox *mailbox);

/* Before taking after the descriptor was readable: make it unreadable again. */
void mailbox_awake(struct mailbox *mailbox);

/* Deliver all there is to `receiver`, oldest first; how many. */
uint32_t mailbox_drain(struct mailbox *mailbox, void *receiver);

static inline bool mailbox_is_empty(struct mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->newest, memory_order_relaxed) == NULL;
}

static inline uint32_t mailbox_depth(struct mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->depth, memory_order_relaxed);
}

#endif
