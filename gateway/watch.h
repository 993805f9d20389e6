#ifndef GATEWAY_WATCH_H
#define GATEWAY_WATCH_H

#include <stdint.h>

/* What a worker's epoll holds for a descriptor: whom to tell. */
struct watch {
    void (*ready)(struct watch *watch, uint32_t events);
};

#endif
