/*
 * permessage-deflate: which offer is accepted, and zlib in both directions.  Which messages are
 * compressed is decided in packet.c, which may be in websocket.c.
 */
#include "gateway/deflate.h"

#include "common/memory.h"
#include "gateway/scanner.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define LEVEL       1   /* the fastest */
#define WINDOW_BITS -15 /* the largest; negative: without zlib's header */
#define MEMORY      8   /* zlib's own choice */
#define FIRST_BYTES 4096
#define ACCEPTED    "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

struct deflate {
    z_stream out, in;
    bool has_out, has_in;
};

/* What ends a message's last block, and is not sent. */
static const uint8_t tail[4] = {0x00, 0x00, 0xff, 0xff};

/* The header (RFC 6455 §9.1). */

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

static bool take(const char **at, char what)
{
    if (**at != what)
        return false;
    *at = skip_blanks(*at + 1);
    return true;
}

static bool take_token(const char **at, struct span *token)
{
    token->at = *at;
    token->length = (uint32_t)strcspn(*at, " \t,;=\"\\");
    *at = skip_blanks(*at + token->length);
    return token->length > 0;
}

/* A parameter's value, which in quotes has to be a token too. */
static bool take_value(const char **at, struct span *value)
{
    if (**at != '"')
        return take_token(at, value);
    ++*at;
    return take_token(at, value) && take(at, '"');
}

static bool is_word(struct span text, const char *word)
{
    return text.length == strlen(word) && strncasecmp(text.at, word, text.length) == 0;
}

/* 8 to 15, without leading zeros. */
static bool is_window(struct span value)
{
    return (value.length == 1 && (value.at[0] == '8' || value.at[0] == '9')) ||
           (value.length == 2 && value.at[0] == '1' && value.at[1] >= '0' && value.at[1] <= '5');
}

/*
 * May this parameter be in an offer that we accept, once?  server_max_window_bits may not: what we
 * send has one form for everybody.
 */
static bool is_acceptable(struct span name, const struct span *value, unsigned *seen)
{
    unsigned which;

    if (is_word(name, "server_no_context_takeover") && !value)
        which = 1;
    else if (is_word(name, "client_no_context_takeover") && !value)
        which = 2;
    else if (is_word(name, "client_max_window_bits") && (!value || is_window(*value)))
        which = 4;
    else
        return false;
    if (*seen & which)
        return false;
    *seen |= which;
    return true;
}

/* One offer.  False: this is no such header. */
static bool take_offer(const char **at, bool *is_good)
{
    struct span name, value;
    unsigned seen = 0;

    if (!take_token(at, &name))
        return false;
    *is_good = is_word(name, "permessage-deflate");
    while (take(at, ';')) {
        bool has_value;

        if (!take_token(at, &name))
            return false;
        has_value = take(at, '=');
        if (has_value && !take_value(at, &value))
            return false;
        if (!is_acceptable(name, has_value ? &value : NULL, &seen))
            *is_good = false;
    }
    return **at == ',' || **at == '\0';
}

/* Feed zlib; what comes out is appended.  A last block is followed by another stream, if at all. */
static enum deflate_result expand_piece(z_stream *z, const uint8_t *from, size_t bytes,
                                        size_t limit, uint8_t **to, size_t *capacity)
{
    z->next_in = (z_const Bytef *)(uintptr_t)from;
    z->avail_in = (uInt)bytes;
    do {
        size_t used = *capacity - z->avail_out;
        int result;

        if (z->avail_out == 0) {
            if (used > limit)
                return DEFLATE_TOO_BIG;
            *capacity = 2 * used < FIRST_BYTES ? FIRST_BYTES : 2 * used;
            if (*capacity > limit + 1)
                *capacity = limit + 1;
            *to = memory_resize(*to, *capacity, 1);
            z->next_out = *to + used;
            z->avail_out = (uInt)(*capacity - used);
        }
        result = inflate(z, Z_SYNC_FLUSH);
        if (result == Z_STREAM_END)
            result = inflateReset(z);
        if (result != Z_OK && result != Z_BUF_ERROR)
            return DEFLATE_BAD;
    } while (z->avail_in > 0 || z->avail_out == 0);
    return DEFLATE_OK;
}

static z_stream *ready_out(struct deflate *state)
{
    if (!state->has_out)
        state->has_out = deflateInit2(&state->out, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY,
                                      Z_DEFAULT_STRATEGY) == Z_OK;
    else
        deflateReset(&state->out);
    assert(state->has_out);
    return &state->out;
}

static z_stream *ready_in(struct deflate *state)
{
    if (!state->has_in)
        state->has_in = inflateInit2(&state->in, WINDOW_BITS) == Z_OK;
    else
        inflateReset(&state->in);
    assert(state->has_in);
    return &state->in;
}

struct deflate *deflate_new(void)
{
    return memory_zeroed(1, sizeof(struct deflate));
}

void deflate_free(struct deflate **state)
{
    struct deflate *d = *state;

    *state = NULL;
    if (!d)
        return;
    if (d->has_out)
        deflateEnd(&d->out);
    if (d->has_in)
        inflateEnd(&d->in);
    free(d);
}

bool deflate_accept(const char *offers, const char **accepted)
{
    const char *at = skip_blanks(offers);
    bool is_good;

    *accepted = NULL;
    for (;;) {
        while (take(&at, ','))
            ;
        if (!*at)
            return true;
        if (!take_offer(&at, &is_good))
            return false;
        if (is_good)
            *accepted = ACCEPTED;
    }
}

size_t deflate_shrink(struct deflate *state, const uint8_t *from, size_t bytes, uint8_t *to,
                      size_t room)
{
    z_stream *z = ready_out(state);

    z->next_in = (z_const Bytef *)(uintptr_t)from;
    z->avail_in = (uInt)bytes;
    z->next_out = to;
    z->avail_out = (uInt)room;
    if (deflate(z, Z_SYNC_FLUSH) != Z_OK || z->avail_out == 0)
        return 0;
    return room - z->avail_out - sizeof tail;
}

enum deflate_result deflate_expand(struct deflate *state, const uint8_t *from, size_t bytes,
                                   size_t limit, uint8_t **to, size_t *expanded)
{
    z_stream *z = ready_in(state);
    enum deflate_result result;
    size_t capacity = 0;

    *to = NULL;
    z->avail_out = 0;
    result = expand_piece(z, from, bytes, limit, to, &capacity);
    if (result == DEFLATE_OK)
        result = expand_piece(z, tail, sizeof tail, limit, to, &capacity);
    *expanded = capacity - z->avail_out;
    assert(capacity <= limit + 1);
    if (result == DEFLATE_OK && *expanded > limit)
        result = DEFLATE_TOO_BIG;
    /* All of it has been taken, but is it whole?  128: right behind the end of a block. */
    if (result == DEFLATE_OK && z->data_type != 128)
        result = DEFLATE_BAD;
    return result;
}
