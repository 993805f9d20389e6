#ifndef GATEWAY_TIMERS_H
#define GATEWAY_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Deadlines of one length each, so that a list in order of arming is a list in order of expiry:
 * arming, disarming and looking at the next are O(1).  The length may be changed: what is armed
 * keeps its deadline, and arming looks for its place from the end until the old ones are through.
 */
struct timer {
    struct timer *previous, *next; /* both NULL: not armed */
    uint64_t deadline_ms;          /* monotonic */
};

struct timer_list {
    struct timer head;
    uint64_t length_ms;
    void (*expired)(struct timer *timer); /* is called disarmed */
};

void timer_list_init(struct timer_list *list,
                     void (*expired)(struct timer *timer)); /* set its length next */
void timer_arm(struct timer_list *list, struct timer *timer, uint64_t now_ms);
void timer_disarm(struct timer *timer);
void timer_move(struct timer *from, struct timer *to); /* `to` has its deadline from now on */
bool timer_is_armed(const struct timer *timer);

/* Call `expired` for all that are due.  The next deadline that remains, UINT64_MAX: none. */
uint64_t timer_list_run(struct timer_list *list, uint64_t now_ms);

#endif
