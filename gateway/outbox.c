/* A ring of parcels that doubles when it is full and is lent anew when it is empty. */
#include "gateway/outbox.h"

#include "common/memory.h"

#include <stdlib.h>

#define FIRST_CAPACITY 16
#define KEPT_CAPACITY  256 /* a larger ring is not kept for the next borrower */

static void grow(struct outbox *outbox)
{
    uint32_t capacity = outbox->mask + 1;
    struct parcel **ring = memory_new(2 * capacity * sizeof(struct parcel *));

    for (uint32_t i = 0; i < outbox->n; i++)
        ring[i] = outbox->ring[(outbox->head + i) & outbox->mask];
    free(outbox->ring);
    outbox->ring = ring;
    outbox->head = 0;
    outbox->mask = 2 * capacity - 1;
}

static void drop_first(struct outbox *outbox)
{
    parcel_put(&outbox->ring[outbox->head]);
    outbox->head = (outbox->head + 1) & outbox->mask;
    outbox->n--;
    outbox->offset = 0;
}

static void free_one(struct outbox *outbox)
{
    free(outbox->ring);
    free(outbox);
}

/* There is one writer, so no read-modify-write is needed. */
static void count(struct outbox *outbox, size_t bytes)
{
    _Atomic uint64_t *all = &outbox->pool->bytes;

    outbox->bytes += bytes;
    atomic_store_explicit(all, atomic_load_explicit(all, memory_order_relaxed) + bytes,
                          memory_order_relaxed);
}

struct outbox *outbox_borrow(struct outbox_pool *pool)
{
    struct outbox *outbox = pool->free;

    if (outbox) {
        pool->free = outbox->next_free;
        return outbox;
    }
    outbox = memory_zeroed(1, sizeof *outbox);
    outbox->ring = memory_new(FIRST_CAPACITY * sizeof(struct parcel *));
    outbox->mask = FIRST_CAPACITY - 1;
    outbox->pool = pool;
    return outbox;
}

void outbox_return(struct outbox **outbox)
{
    struct outbox *o = *outbox;

    *outbox = NULL;
    if (!o)
        return;
    while (o->n > 0)
        drop_first(o);
    count(o, -o->bytes);
    if (o->mask >= KEPT_CAPACITY) {
        free_one(o);
        return;
    }
    o->next_free = o->pool->free;
    o->pool->free = o;
}

void outbox_pool_fini(struct outbox_pool *pool)
{
    while (pool->free) {
        struct outbox *next = pool->free->next_free;

        free_one(pool->free);
        pool->free = next;
    }
}

void outbox_push(struct outbox *outbox, struct parcel *parcel)
{
    if (outbox->n > outbox->mask)
        grow(outbox);
    parcel->references++;
    outbox->ring[(outbox->head + outbox->n++) & outbox->mask] = parcel;
    count(outbox, parcel->packet->frames);
}

int outbox_gather(const struct outbox *outbox, struct iovec *piece, int max)
{
    int n = 0;

    for (; n < max && (uint32_t)n < outbox->n; n++) {
        struct packet *packet = outbox->ring[(outbox->head + (uint32_t)n) & outbox->mask]->packet;
        uint32_t from = n == 0 ? outbox->offset : 0;

        piece[n].iov_base = packet->frame + from;
        piece[n].iov_len = packet->frames - from;
    }
    return n;
}

struct packet *outbox_peek(const struct outbox *outbox, uint32_t i)
{
    return i < outbox->n ? outbox->ring[(outbox->head + i) & outbox->mask]->packet : NULL;
}

void outbox_consume(struct outbox *outbox, size_t bytes)
{
    count(outbox, -bytes);
    while (bytes > 0) {
        size_t first = outbox->ring[outbox->head]->packet->frames - outbox->offset;

        if (bytes < first) {
            outbox->offset += (uint32_t)bytes;
            return;
        }
        bytes -= first;
        drop_first(outbox);
    }
}
