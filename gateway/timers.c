/* Timers of fixed lengths, in first-in first-out lists. */
#include "gateway/timers.h"

#include <stddef.h>

void timer_list_init(struct timer_list *list, uint64_t length_ms,
                     void (*expired)(struct timer *timer))
{
    list->head.previous = list->head.next = &list->head;
    list->length_ms = length_ms;
    list->expired = expired;
}

void timer_arm(struct timer_list *list, struct timer *timer, uint64_t now_ms)
{
    timer_disarm(timer);
    timer->deadline_ms = now_ms + list->length_ms;
    timer->previous = list->head.previous;
    timer->next = &list->head;
    timer->previous->next = timer;
    list->head.previous = timer;
}

void timer_disarm(struct timer *timer)
{
    if (!timer->next)
        return;
    timer->previous->next = timer->next;
    timer->next->previous = timer->previous;
    timer->previous = timer->next = NULL;
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
