/*
 * The rules as others see them: read from a file, counted, looked up.  How their text is understood
 * is parser.c's business, what they do relay.c's.
 */
#include "gateway/rules.h"

#include "common/memory.h"
#include "gateway/parser.h"

#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES (1024 * 1024)

struct block {
    struct block *next;
    alignas(max_align_t) char memory[];
};

static bool is_one_of(struct span name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (span_is(name, names[i]))
            return true;
    return false;
}

static bool starts_with(struct span text, struct span start)
{
    return text.length >= start.length && memcmp(text.at, start.at, start.length) == 0;
}

/* The whole file, at most one byte more than the longest allowed. */
static char *read_file(const char *path, size_t *length, struct error *error)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    bool is_read;

    if (!file) {
        error_set(error, "%s: cannot open the rules: %s", path, strerror(errno));
        return NULL;
    }
    text = memory_new(MAX_FILE_BYTES + 1);
    *length = fread(text, 1, MAX_FILE_BYTES + 1, file);
    is_read = !ferror(file);
    if (!is_read)
        error_set(error, "%s: cannot read the rules: %s", path, strerror(errno));
    fclose(file);
    if (!is_read) {
        free(text);
        return NULL;
    }
    return text;
}

void *program_alloc(struct block **blocks, size_t n, size_t bytes)
{
    struct block *block = memory_zeroed(1, sizeof *block + n * bytes);

    block->next = *blocks;
    *blocks = block;
    return block->memory;
}

void program_free(struct block **blocks)
{
    while (*blocks) {
        struct block *block = *blocks;

        *blocks = block->next;
        free(block);
    }
}

bool span_equals(struct span a, struct span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0);
}

bool span_is(struct span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.at, text, span.length) == 0;
}

/* Socket.IO protocol 5, "reserved events"; and the gateway's two-step authentication. */
bool program_name_is_reserved(struct span name)
{
    static const char *const names[] = {
        "connect",        "connect_error", "disconnect",    "disconnecting", "newListener",
        "removeListener", "authenticate",  "authenticated", "unauthorized",  "token expiring",
    };

    return is_one_of(name, names, sizeof names / sizeof *names);
}

bool program_room_is_computed(struct span room)
{
    return starts_with(room, (struct span){"user:", 5}) ||
           starts_with(room, (struct span){"id:", 3});
}

const struct trigger *program_event(const struct rules_namespace *space, struct span name)
{
    struct table_link *link;
    const struct trigger *trigger;

    if (program_name_is_reserved(name))
        return NULL;
    link = table_first(&space->events, table_hash(name.at, name.length));
    for (; link; link = table_next(link)) {
        trigger = TABLE_ENTRY(link, struct trigger, link);
        if (span_equals(trigger->name, name))
            return trigger;
    }
    trigger = space->prefixes;
    while (trigger && !starts_with(name, trigger->name))
        trigger = trigger->next;
    return trigger;
}

struct rules *rules_parse(const char *text, size_t length, const char *name,
                          void (*warn)(const char *text, void *context), void *context,
                          struct error *error)
{
    struct source source = {name, text, text + length, error};
    struct rules *rules;

    if (length > MAX_FILE_BYTES) {
        error_set(error, "%s: rules are at most %d bytes long", name, MAX_FILE_BYTES);
        return NULL;
    }
    rules = memory_zeroed(1, sizeof *rules);
    atomic_init(&rules->references, 1);
    if (!parser_read(&source, rules, warn, context))
        rules_put(&rules);
    return rules;
}

struct rules *rules_read(const char *path, void (*warn)(const char *text, void *context),
                         void *context, struct error *error)
{
    struct rules *rules;
    size_t length;
    char *text = read_file(path, &length, error);

    if (!text)
        return NULL;
    rules = rules_parse(text, length, path, warn, context, error);
    free(text);
    return rules;
}

struct rules *rules_get(struct rules *rules)
{
    atomic_fetch_add_explicit(&rules->references, 1, memory_order_relaxed);
    return rules;
}

void rules_put(struct rules **rules)
{
    struct rules *r = *rules;

    *rules = NULL;
    if (!r || atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) > 1)
        return;
    for (uint16_t i = 0; i < r->n_spaces; i++)
        table_fini(&r->space[i]->events);
    program_free(&r->blocks);
    free(r);
}

size_t rules_namespaces(const struct rules *rules)
{
    return rules->n_spaces;
}

const struct rules_namespace *rules_namespace_at(const struct rules *rules, size_t index)
{
    return rules->space[index];
}

const struct rules_namespace *rules_namespace_find(const struct rules *rules, struct span name)
{
    for (uint16_t i = 0; i < rules->n_spaces; i++)
        if (span_equals(rules->space[i]->name, name))
            return rules->space[i];
    return NULL;
}

struct span rules_namespace_name(const struct rules_namespace *space)
{
    return space->name;
}

enum rules_authenticate rules_namespace_authenticate(const struct rules_namespace *space)
{
    return space->authenticate;
}

size_t rules_variables(const struct rules_namespace *space)
{
    return space->n_variables;
}

struct span rules_variable_name(const struct rules_namespace *space, size_t slot)
{
    return space->variable[slot];
}

size_t rules_variable_find(const struct rules_namespace *space, struct span name)
{
    size_t slot = 0;

    while (slot < space->n_variables && !span_equals(space->variable[slot], name))
        slot++;
    return slot;
}

size_t rules_limits(const struct rules_namespace *space)
{
    return space->n_limits;
}

bool rules_has_presence(const struct rules_namespace *space)
{
    return space->moment[MOMENT_USER_ONLINE].rules || space->moment[MOMENT_USER_OFFLINE].rules;
}

bool rules_asks_members(const struct rules_namespace *space)
{
    return space->asks_members;
}

const struct rules_path *rules_auths(const struct rules_namespace *space, size_t *n)
{
    *n = space->n_auths;
    return space->auth;
}

const struct rules_path *rules_claims(const struct rules *rules, size_t *n)
{
    *n = rules->n_claims;
    return rules->claim;
}
