/* A mailbox: a stack that posters push with one compare-and-swap, turned over by the one who takes
 * it. */
#include "gateway/mailbox.h"

#include "common/log.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void mailbox_init(struct mailbox *mailbox)
{
    atomic_init(&mailbox->newest, NULL);
    atomic_init(&mailbox->depth, 0);
    mailbox->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (mailbox->event_fd < 0) {
        log_error("cannot make an event descriptor: %s", strerror(errno));
        abort();
    }
}

void mailbox_fini(struct mailbox *mailbox)
{
    assert(mailbox_is_empty(mailbox));
    close(mailbox->event_fd);
}

bool mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    struct mail *newest = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);

    atomic_fetch_add_explicit(&mailbox->depth, 1, memory_order_relaxed);
    do
        mail->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &newest, mail,
                                                  memory_order_release, memory_order_relaxed));
    return newest == NULL;
}

void mailbox_wake(struct mailbox *mailbox)
{
    uint64_t one = 1;

    /* EAGAIN: it is awake already. */
    if (write(mailbox->event_fd, &one, sizeof one) < 0)
        assert(errno == EAGAIN || errno == EINTR);
}

void mailbox_awake(struct mailbox *mailbox)
{
    uint64_t n;

    if (read(mailbox->event_fd, &n, sizeof n) < 0)
        assert(errno == EAGAIN || errno == EINTR);
}

uint32_t mailbox_drain(struct mailbox *mailbox, void *receiver)
{
    struct mail *mail = atomic_exchange_explicit(&mailbox->newest, NULL, memory_order_acquire);
    struct mail *oldest = NULL;
    uint32_t n = 0;

    while (mail) {
        struct mail *next = mail->next;

        mail->next = oldest;
        oldest = mail;
        mail = next;
    }
    for (; oldest; n++) {
        mail = oldest;
        oldest = mail->next;
        mail->deliver(mail, receiver);
    }
    atomic_fetch_sub_explicit(&mailbox->depth, n, memory_order_relaxed);
    return n;
}
