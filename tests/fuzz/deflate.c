/*
 * permessage-deflate.  What begins with 'o' is a client's offers; anything else, after the limit's
 * exponent, is the payload of a compressed message, which is expanded, and also compressed itself.
 */
#include "gateway/deflate.h"
#include "tests/fuzz/target.h"

#define ACCEPTED "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
#define ROOM     65536

static struct deflate *deflate;

static void end(void)
{
    deflate_free(&deflate);
}

/* What was accepted still is behind another offer, and before anything. */
static void read_offers(const uint8_t *data, size_t size)
{
    static const char other[] = "x-other; a=\"b\", ";
    char *offers = malloc(sizeof other + size + 4);
    const char *accepted, *again;
    bool is_header;

    assert(offers);
    memcpy(offers, other, sizeof other - 1);
    memcpy(offers + sizeof other - 1, data, size);
    offers[sizeof other - 1 + size] = '\0';
    is_header = deflate_accept(offers + sizeof other - 1, &accepted);
    assert(!accepted || strcmp(accepted, ACCEPTED) == 0);
    assert(!accepted || strcasestr(offers, "permessage-deflate"));
    assert(deflate_accept(offers, &again) == is_header && again == accepted);
    free(offers);
}

/* The same bytes, whatever was done with the state before. */
static void demand_again(const uint8_t *bytes, size_t n)
{
    static uint8_t small[2 * ROOM], again[2 * ROOM];
    size_t shrunk = deflate_shrink(deflate, bytes, n, small, sizeof small), length;
    char *input = target_copy(small, shrunk);
    uint8_t *to;

    assert(shrunk > 0 && deflate_shrink(deflate, bytes, n, again, shrunk) == 0);
    assert(deflate_shrink(deflate, bytes, n, again, sizeof again) == shrunk);
    assert(memcmp(small, again, shrunk) == 0);
    assert(deflate_expand(deflate, (uint8_t *)input, shrunk, n, &to, &length) == DEFLATE_OK);
    assert(length == n && memcmp(to, bytes, n) == 0);
    free(to);
    if (n > 0)
        assert(deflate_expand(deflate, (uint8_t *)input, shrunk, n - 1, &to, &length) ==
               DEFLATE_TOO_BIG);
    if (n > 0)
        free(to);
    free(input);
}

/* A message that is whole is read to its end: another may follow, behind what is not sent. */
static void demand_whole(const uint8_t *bytes, size_t n, const uint8_t *text, size_t length)
{
    static const uint8_t tail[] = {0x00, 0x00, 0xff, 0xff};
    uint8_t *both = malloc(n + sizeof tail + ROOM), *to;
    size_t more, expanded;

    assert(both);
    if (n)
        memcpy(both, bytes, n);
    memcpy(both + n, tail, sizeof tail);
    more = deflate_shrink(deflate, (const uint8_t *)"more", 4, both + n + sizeof tail, ROOM);
    assert(deflate_expand(deflate, both, n + sizeof tail + more, length + 4, &to, &expanded) ==
           DEFLATE_OK);
    assert(expanded == length + 4 && memcmp(to + length, "more", 4) == 0);
    assert(length == 0 || memcmp(to, text, length) == 0);
    free(to);
    free(both);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum deflate_result result;
    size_t length, limit;
    uint8_t *to;
    char *input;

    if (size == 0)
        return 0;
    if (!deflate) {
        deflate = deflate_new();
        atexit(end);
    }
    if (data[0] == 'o') {
        read_offers(data + 1, size - 1);
        return 0;
    }
    limit = (size_t)1 << data[0] % 17;
    input = target_copy(data + 1, size - 1);
    result = deflate_expand(deflate, (uint8_t *)input, size - 1, limit, &to, &length);
    assert(result != DEFLATE_OK || length <= limit);
    if (result == DEFLATE_OK) {
        demand_whole((uint8_t *)input, size - 1, to, length);
        demand_again(to, length);
    }
    free(to);
    demand_again((uint8_t *)input, size - 1);
    free(input);
    return 0;
}
