#ifndef GATEWAY_SCANNER_H
#define GATEWAY_SCANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * One pass over a JSON text from a client: is it what JSON.parse takes (RFC 8259 grammar, valid
 * UTF-8, lone surrogate escapes and integers of any length included), is it bounded, and where are
 * its parts?  Nothing is copied or allocated; every span points into the text.
 */
struct span {
    const char *at;
    uint32_t length;
};

#define TEXT_SPAN(text) ((struct span){(text), (uint32_t)strlen(text)})

enum value_type {
    VALUE_NONE,
    VALUE_STRING,
    VALUE_INTEGER,
    VALUE_NUMBER,
    VALUE_OBJECT,
    VALUE_ARRAY,
    VALUE_BOOLEAN,
    VALUE_NULL
};

struct json_value {
    struct span text; /* exactly the value, without white space around it */
    enum value_type type;
    uint16_t first_placeholder,
        placeholders; /* those inside this value: a range of event.placeholder; from scan_value and
                         scan_member only the number means anything */
};

#define SCANNER_MAX_DEPTH        64
#define SCANNER_ARGUMENTS        9 /* $1 … $9 can be named; more may come and are relayed by $args */
#define SCANNER_MAX_PLACEHOLDERS 256 /* the ceiling of gateway.limits.attachments */

/*
 * `{"_placeholder":true,"num":N}`: where the digits of N are, and N (UINT32_MAX when it is longer
 * than nine digits).  Any object with a member `_placeholder` that is `true` has this shape, since
 * a receiver would take it for one; when no attachments were announced it is listed whatever else
 * it holds, with empty digits if it has no such N.  Of more than SCANNER_MAX_PLACEHOLDERS of these
 * the last entry stands for all further ones: a value that holds any always says so.  One inside a
 * member that a later member of the same name replaces counts too: the receiver merely leaves that
 * attachment unused.
 */
struct placeholder {
    struct span digits;
    uint32_t number;
};

struct event {
    struct span text;         /* the whole array, "[" to "]" */
    struct json_value name;   /* a string or a number; without escapes it is compared as it came */
    char name_buffer[128];    /* its decoded form, */
    struct span decoded_name; /* which is here: in name_buffer when it had escapes, else in the
                                 text; longer ones are refused */
    struct span arguments;    /* all that follows the name: "a","b"; empty when there is none */
    uint32_t n_arguments;     /* how many there are, also above SCANNER_ARGUMENTS */
    struct json_value argument[SCANNER_ARGUMENTS];
    uint32_t n_placeholders;
    struct placeholder placeholder[SCANNER_MAX_PLACEHOLDERS];
};

enum scan_result {
    SCAN_OK,
    SCAN_MALFORMED,   /* not JSON, not an array, too deep, bytes after it; no name, or one that is
                         longer than name_buffer or holds a lone surrogate */
    SCAN_RESERVED,    /* the name is one Socket.IO reserves: connect, connect_error, disconnect,
                         disconnecting, newListener, removeListener */
    SCAN_PLACEHOLDERS /* attachments announced and placeholders do not match one to one, or a
                         placeholder has another form */
};

/*
 * An EVENT or BINARY_EVENT's JSON: an array whose first element is a name.  `attachments` is the
 * number that the packet announced; 0 for EVENT, where placeholder-shaped objects are plain data
 * but are still listed, so that a rule can refuse to mix them with real ones.
 */
enum scan_result scan_event(const char *text, size_t length, uint32_t attachments,
                            struct event *event);

/* The same for the array of an ACK or BINARY_ACK: no name; argument[] and placeholders as above. */
enum scan_result scan_array(const char *text, size_t length, uint32_t attachments,
                            struct event *event);

/* Is this one JSON value (CONNECT's payload), and of which type? */
bool scan_value(const char *text, size_t length, struct json_value *value);

/*
 * The value of member `path[0]`.`path[1]`… of the object `text` (already known to be valid JSON).
 * Names are compared decoded; of repeated names the last counts, as in JSON.parse.  False: there is
 * none.
 */
bool scan_member(struct span object, const struct span *path, size_t n_path,
                 struct json_value *value);

/*
 * Write the object (known to be valid JSON) without its members of this name, however they are
 * spelt; `out` has room for all of it.  The number of bytes; no NUL is added.
 */
size_t scan_without(struct span object, struct span name, char *out);

/*
 * Decode a JSON string (with its quotes) to UTF-8.  The number of bytes, or -1 when `size` is too
 * small or the string holds a lone surrogate.  No NUL is added; a decoded NUL is a byte like any
 * other.
 */
ptrdiff_t scan_decode_string(struct span string, char *out, size_t size);

/* Text outside of JSON: is it valid UTF-8 without control characters (those below the space)? */
bool scan_is_text(struct span text);

/* The same with control characters: what RFC 6455 §8.1 asks of a text message. */
bool scan_is_utf8(struct span text);

#endif
