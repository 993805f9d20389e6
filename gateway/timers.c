/* Timers of one length each, in lists that are in order of expiry. */
#include "gateway/timers.h"

#include <stddef.h>

void timer_list_init(struct timer_list *list, void (*expired)(struct timer *timer))
{
    list->head.previous = list->head.next = &list->head;
    list->length_ms = 0;
    list->expired = expired;
}

void timer_arm(struct timer_list *list, struct timer *timer, uint64_t now_ms)
{
    struct timer *before;

    timer_disarm(timer);
    timer->deadline_ms = now_ms + list->length_ms;
    for (before = list->head.previous; before != &list->head; before = before->previous)
        if (before->deadline_ms <= timer->deadline_ms)
            break;
    timer->previous = before;
    timer->next = before->next;
    before->next->previous = timer;
    before->next = timer;
}

void timer_disarm(struct timer *timer)
{
    if (!timer->next)
        return;
    timer->previous->next = timer->next;
    timer->next->previous = timer->previous;
    timer->previous = timer->next = NULL;
}

void timer_move(struct timer *from, struct timer *to)
{
    *to = *from;
    if (!to->next)
        return;
    to->previous->next = to->next->previous = to;
    from->previous = from->next = NULL;
}

bool timer_is_armed(const struct timer *timer)
{
    return timer->next != NULL;
}

uint64_t timer_list_run(struct timer_list *list, uint64_t now_ms)
{
    while (list->head.next != &list->head && list->head.next->deadline_ms <= now_ms) {
        struct timer *timer = list->head.next;

        timer_disarm(timer);
        list->expired(timer);
    }
    return list->head.next == &list->head ? UINT64_MAX : list->head.next->deadline_ms;
}
