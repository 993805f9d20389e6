#ifndef GATEWAY_SLOTS_H
#define GATEWAY_SLOTS_H

#include "gateway/rules.h"

/*
 * The values that the rules name inside an object that is kept as it came: a token's claims, what
 * CONNECT brought.  They are found once, when the object or the rules are new; an event only reads.
 */
struct slot {
    uint32_t at, length; /* in the object's text */
    uint8_t type;        /* enum value_type; VALUE_NONE: there is none */
    bool is_marked;      /* holds something of a placeholder's shape */
};

/* NULL for no paths; else the caller's, to be freed with free().  An empty path is the object. */
struct slot *slots_new(struct span object, const struct rules_path *path, size_t n);

/* The values of n slots of the same object, whose text this is. */
void slots_read(const char *object, const struct slot *slot, size_t n, struct json_value *value);

#endif
