/*
 * JSON from a client, looked at once.  A value is scanned token by token with a small stack of
 * open arrays and objects, so nothing recurses; strings are skipped a block at a time.  An object
 * remembers no more of its members than what tells a placeholder: whether `_placeholder` was true,
 * where `num`'s digits are, and how many members there were.  What an event means, and which rule
 * it meets, is for others.
 */
#include "gateway/scanner.h"

#include <endian.h>
#include <string.h>

/* What a member's name may mean to us. */
enum member { MEMBER_PLAIN, MEMBER_PLACEHOLDER, MEMBER_NUM };

/* An open array or object. */
struct frame {
    char closing;   /* "]" or "}" */
    bool is_marked; /* has a member "_placeholder":true */
    uint32_t members;
    struct span digits; /* of "num", when it is an integer from 0 */
};

struct scanner {
    const char *at, *end;
    struct span name;           /* of the member whose value comes next, with its quotes */
    enum member member;         /* and what it means; PLAIN again once the value was seen */
    struct placeholder *list;   /* room for SCANNER_MAX_PLACEHOLDERS, or NULL: only count them */
    uint32_t placeholders;      /* all objects of that shape so far, */
    bool has_other_placeholder; /* and was one of them not of the exact form? */
    uint32_t depth;
    struct frame frame[SCANNER_MAX_DEPTH]; /* set when opened, not before */
};

/* Sixteen bytes of a string; as signed numbers control characters and all above ASCII are < ' '. */
typedef signed char block __attribute__((vector_size(16)));

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void skip_space(struct scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

/* To the first byte that is not plain ASCII inside a string, or to the end. */
static const char *skip_plain(const char *at, const char *end)
{
    for (; end - at >= (ptrdiff_t)sizeof(block); at += sizeof(block)) {
        block b;
        uint64_t half[2];

        memcpy(&b, at, sizeof b);
        b = (b < ' ') | (b == '"') | (b == '\\');
        memcpy(half, &b, sizeof half);
        if (half[0] != 0)
            return at + __builtin_ctzll(le64toh(half[0])) / 8;
        if (half[1] != 0)
            return at + 8 + __builtin_ctzll(le64toh(half[1])) / 8;
    }
    while (at < end && (signed char)*at >= ' ' && *at != '"' && *at != '\\')
        at++;
    return at;
}

/* The length of the UTF-8 sequence above ASCII at `at` (RFC 3629 §4); 0: it is not well-formed. */
static size_t sequence_length(const char *at, const char *end)
{
    const unsigned char *c = (const unsigned char *)at;
    size_t n = c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    unsigned char low = c[0] == 0xe0 ? 0xa0 : c[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c[0] == 0xed ? 0x9f : c[0] == 0xf4 ? 0x8f : 0xbf;

    if (c[0] < 0xc2 || c[0] > 0xf4 || (size_t)(end - at) < n || c[1] < low || c[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* The length of the escape at `at`, a backslash; 0: there is no such escape. */
static size_t escape_length(const char *at, const char *end)
{
    if (end - at < 2)
        return 0;
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return 2;
    case 'u':
        if (end - at < 6)
            return 0;
        for (int i = 2; i < 6; i++)
            if (hex_digit(at[i]) < 0)
                return 0;
        return 6;
    default:
        return 0;
    }
}

/* Over what is above ASCII, which seldom comes alone; NULL: it is not UTF-8, or a control. */
static const char *skip_sequences(const char *at, const char *end)
{
    do {
        size_t n = sequence_length(at, end);

        if (n == 0)
            return NULL;
        at += n;
    } while (at < end && (*at & 0x80) != 0);
    return at;
}

static bool scan_string(struct scanner *s, bool *has_escapes)
{
    const char *at = skip_plain(s->at + 1, s->end);

    *has_escapes = false;
    while (at < s->end && *at != '"') {
        if (*at == '\\') {
            size_t n = escape_length(at, s->end);

            if (n == 0)
                return false;
            *has_escapes = true;
            at += n;
        } else if ((at = skip_sequences(at, s->end)) == NULL) {
            return false;
        }
        at = skip_plain(at, s->end);
    }
    if (at == s->end)
        return false;
    s->at = at + 1;
    return true;
}

static bool scan_digits(struct scanner *s)
{
    const char *start = s->at;

    while (s->at < s->end && is_digit(*s->at))
        s->at++;
    return s->at > start;
}

static enum value_type scan_number(struct scanner *s)
{
    enum value_type type = VALUE_INTEGER;

    if (*s->at == '-')
        s->at++;
    if (s->at < s->end && *s->at == '0')
        s->at++;
    else if (!scan_digits(s))
        return VALUE_NONE;
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        type = VALUE_NUMBER;
        if (!scan_digits(s))
            return VALUE_NONE;
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        type = VALUE_NUMBER;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        if (!scan_digits(s))
            return VALUE_NONE;
    }
    return type;
}

static bool scan_word(struct scanner *s, const char *word, size_t length)
{
    if ((size_t)(s->end - s->at) < length || memcmp(s->at, word, length) != 0)
        return false;
    s->at += length;
    return true;
}

static bool open_frame(struct scanner *s, char closing)
{
    if (s->depth == SCANNER_MAX_DEPTH)
        return false;
    s->at++;
    s->frame[s->depth++] = (struct frame){.closing = closing};
    return true;
}

/* What begins here: a whole scalar, or an opened array or object.  VALUE_NONE: neither. */
static enum value_type scan_token(struct scanner *s)
{
    bool has_escapes;

    if (s->at == s->end)
        return VALUE_NONE;
    switch (*s->at) {
    case '"':
        return scan_string(s, &has_escapes) ? VALUE_STRING : VALUE_NONE;
    case '{':
        return open_frame(s, '}') ? VALUE_OBJECT : VALUE_NONE;
    case '[':
        return open_frame(s, ']') ? VALUE_ARRAY : VALUE_NONE;
    case 't':
        return scan_word(s, "true", 4) ? VALUE_BOOLEAN : VALUE_NONE;
    case 'f':
        return scan_word(s, "false", 5) ? VALUE_BOOLEAN : VALUE_NONE;
    case 'n':
        return scan_word(s, "null", 4) ? VALUE_NULL : VALUE_NONE;
    default:
        return scan_number(s);
    }
}

static uint32_t hex4(const char *digits)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++)
        value = value << 4 | (uint32_t)hex_digit(digits[i]);
    return value;
}

static size_t encode_utf8(uint32_t c, char out[4])
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* Decode one byte or one escape of a valid string and step over it; 0: a lone surrogate. */
static size_t decode_one(const char **at, char out[4])
{
    static const char letters[] = "bfnrt", controls[] = "\b\f\n\r\t";
    const char *c = *at;
    uint32_t unit;

    if (c[0] != '\\') {
        *at = c + 1;
        out[0] = c[0];
        return 1;
    }
    if (c[1] != 'u') {
        const char *letter = strchr(letters, c[1]);

        *at = c + 2;
        out[0] = letter != NULL ? controls[letter - letters] : c[1];
        return 1;
    }
    *at = c + 6;
    unit = hex4(c + 2);
    if (unit >= 0xd800 && unit <= 0xdbff && c[6] == '\\' && c[7] == 'u') {
        uint32_t low = hex4(c + 8);

        if (low >= 0xdc00 && low <= 0xdfff) {
            *at = c + 12;
            unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    return unit >= 0xd800 && unit <= 0xdfff ? 0 : encode_utf8(unit, out);
}

/* Is this what the JSON string says, once decoded? */
static bool string_equals(struct span string, struct span decoded)
{
    const char *at = string.at + 1, *end = string.at + string.length - 1;
    size_t length = 0;

    if (!memchr(at, '\\', (size_t)(end - at)))
        return string.length - 2 == decoded.length && memcmp(at, decoded.at, decoded.length) == 0;
    while (at < end) {
        char c[4];
        size_t n = decode_one(&at, c);

        if (n == 0 || decoded.length - length < n || memcmp(decoded.at + length, c, n) != 0)
            return false;
        length += n;
    }
    return length == decoded.length;
}

static enum member member_of(struct span name, bool has_escapes)
{
    static const struct span placeholder = {"_placeholder", 12}, num = {"num", 3};

    if (name.length < 2 + num.length ||
        (!has_escapes && name.length != 2 + num.length && name.length != 2 + placeholder.length))
        return MEMBER_PLAIN;
    if (string_equals(name, num))
        return MEMBER_NUM;
    return string_equals(name, placeholder) ? MEMBER_PLACEHOLDER : MEMBER_PLAIN;
}

/* A member's name and the colon. */
static bool scan_name(struct scanner *s, struct frame *object)
{
    const char *start = s->at;
    bool has_escapes;

    if (s->at == s->end || *s->at != '"' || !scan_string(s, &has_escapes))
        return false;
    s->name = (struct span){start, (uint32_t)(s->at - start)};
    s->member = member_of(s->name, has_escapes);
    object->members++;
    skip_space(s);
    if (s->at == s->end || *s->at != ':')
        return false;
    s->at++;
    skip_space(s);
    return true;
}

/* The value of a member whose name is one of a placeholder's, when it is not an array or object. */
static void note_member(struct scanner *s, enum value_type type, const char *start)
{
    struct frame *object = &s->frame[s->depth - 1];

    if (s->member == MEMBER_PLACEHOLDER && *start == 't')
        object->is_marked = true;
    if (s->member == MEMBER_NUM && type == VALUE_INTEGER && *start != '-')
        object->digits = (struct span){start, (uint32_t)(s->at - start)};
    s->member = MEMBER_PLAIN;
}

static uint32_t digits_value(struct span digits)
{
    uint32_t value = 0;

    if (digits.length > 9)
        return UINT32_MAX;
    for (uint32_t i = 0; i < digits.length; i++)
        value = value * 10 + (uint32_t)(digits.at[i] - '0');
    return value;
}

static void note_placeholder(struct scanner *s, const struct frame *object)
{
    if (object->members != 2 || object->digits.length == 0)
        s->has_other_placeholder = true;
    if (s->list != NULL && s->placeholders < SCANNER_MAX_PLACEHOLDERS)
        s->list[s->placeholders] =
            (struct placeholder){object->digits, digits_value(object->digits)};
    s->placeholders++;
}

/*
 * After a token: close what ends here, as far as `base`, or go on to where the next value begins.
 * `just_opened`: the token was the start of an array or object, where no comma is due.
 */
static bool scan_between(struct scanner *s, uint32_t base, bool just_opened)
{
    while (s->depth > base) {
        struct frame *top = &s->frame[s->depth - 1];

        skip_space(s);
        if (s->at == s->end)
            return false;
        if (*s->at != top->closing) {
            if (!just_opened) {
                if (*s->at++ != ',')
                    return false;
                skip_space(s);
            }
            return top->closing == ']' || scan_name(s, top);
        }
        s->at++;
        s->depth--;
        if (top->is_marked)
            note_placeholder(s, top);
        just_opened = false;
    }
    return true;
}

/*
 * Those from `before` on are inside the value.  Above the ceiling the last entry stands for all
 * further ones, so that a value with any never seems to have none.
 */
static void set_placeholders(struct json_value *value, uint32_t before, uint32_t after)
{
    uint32_t most = after > before ? SCANNER_MAX_PLACEHOLDERS - 1 : SCANNER_MAX_PLACEHOLDERS;
    uint32_t first = before < most ? before : most;
    uint32_t last = after < SCANNER_MAX_PLACEHOLDERS ? after : SCANNER_MAX_PLACEHOLDERS;

    value->first_placeholder = (uint16_t)first;
    value->placeholders = (uint16_t)(last - first);
}

/* One value and all that is in it. */
static bool scan_whole(struct scanner *s, struct json_value *value)
{
    uint32_t base = s->depth, before = s->placeholders;
    const char *start = s->at;

    value->type = VALUE_NONE;
    do {
        const char *token = s->at;
        enum value_type type = scan_token(s);

        if (type == VALUE_NONE)
            return false;
        if (value->type == VALUE_NONE)
            value->type = type;
        if (s->member != MEMBER_PLAIN)
            note_member(s, type, token);
        if (!scan_between(s, base, type == VALUE_OBJECT || type == VALUE_ARRAY))
            return false;
    } while (s->depth > base);
    value->text = (struct span){start, (uint32_t)(s->at - start)};
    set_placeholders(value, before, s->placeholders);
    return true;
}

static void scanner_init(struct scanner *s, const char *text, size_t length,
                         struct placeholder *list)
{
    s->at = text;
    s->end = text + length;
    s->member = MEMBER_PLAIN;
    s->list = list;
    s->placeholders = 0;
    s->has_other_placeholder = false;
    s->depth = 0;
    skip_space(s);
}

static bool at_end(struct scanner *s)
{
    skip_space(s);
    return s->at == s->end;
}

static void add_argument(struct event *event, const struct json_value *value)
{
    if (event->n_arguments == 0)
        event->arguments.at = value->text.at;
    event->arguments.length = (uint32_t)(value->text.at + value->text.length - event->arguments.at);
    if (event->n_arguments < SCANNER_ARGUMENTS)
        event->argument[event->n_arguments] = *value;
    event->n_arguments++;
}

/* An event's name is missing when this leaves its type VALUE_NONE. */
static bool scan_elements(struct scanner *s, bool has_name, struct event *event)
{
    const char *start = s->at;

    if (s->at == s->end || *s->at != '[' || !open_frame(s, ']'))
        return false;
    for (bool is_first = true;; is_first = false) {
        struct json_value value;

        if (!scan_between(s, 0, is_first))
            return false;
        if (s->depth == 0)
            break;
        if (!scan_whole(s, &value))
            return false;
        if (is_first && has_name)
            event->name = value;
        else
            add_argument(event, &value);
    }
    event->text = (struct span){start, (uint32_t)(s->at - start)};
    return at_end(s);
}

static bool decode_name(struct event *event)
{
    struct span text = event->name.text;
    ptrdiff_t length;

    if (event->name.type == VALUE_INTEGER || event->name.type == VALUE_NUMBER) {
        event->decoded_name = text;
    } else if (event->name.type != VALUE_STRING) {
        return false;
    } else if (memchr(text.at, '\\', text.length) == NULL) {
        event->decoded_name = (struct span){text.at + 1, text.length - 2};
    } else {
        length = scan_decode_string(text, event->name_buffer, sizeof event->name_buffer);
        if (length < 0)
            return false;
        event->decoded_name = (struct span){event->name_buffer, (uint32_t)length};
    }
    return event->decoded_name.length <= sizeof event->name_buffer;
}

static bool name_is_reserved(const struct event *event)
{
    static const struct span reserved[] = {
        {"connect", 7},        {"connect_error", 13}, {"disconnect", 10},
        {"disconnecting", 13}, {"newListener", 11},   {"removeListener", 14},
    };
    struct span name = event->decoded_name;

    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (name.length == reserved[i].length && memcmp(name.at, reserved[i].at, name.length) == 0)
            return true;
    return false;
}

/* Is every attachment referred to, once, and by an object of the exact form? */
static bool placeholders_match(const struct scanner *s, uint32_t attachments)
{
    bool is_used[SCANNER_MAX_PLACEHOLDERS] = {false};

    if (attachments > SCANNER_MAX_PLACEHOLDERS || s->placeholders != attachments ||
        s->has_other_placeholder)
        return false;
    for (uint32_t i = 0; i < attachments; i++) {
        uint32_t number = s->list[i].number;

        if (number >= attachments || is_used[number])
            return false;
        is_used[number] = true;
    }
    return true;
}

static enum scan_result scan_packet(const char *text, size_t length, uint32_t attachments,
                                    bool has_name, struct event *event)
{
    struct scanner s;

    if (length > UINT32_MAX)
        return SCAN_MALFORMED;
    /* Field by field: the struct is too large to be cleared for each event. */
    event->name.type = VALUE_NONE;
    event->decoded_name = (struct span){NULL, 0};
    event->arguments = (struct span){NULL, 0};
    event->n_arguments = 0;
    scanner_init(&s, text, length, event->placeholder);
    if (!scan_elements(&s, has_name, event) || (has_name && !decode_name(event)))
        return SCAN_MALFORMED;
    event->n_placeholders =
        s.placeholders < SCANNER_MAX_PLACEHOLDERS ? s.placeholders : SCANNER_MAX_PLACEHOLDERS;
    if (has_name && name_is_reserved(event))
        return SCAN_RESERVED;
    if (attachments > 0 && !placeholders_match(&s, attachments))
        return SCAN_PLACEHOLDERS;
    return SCAN_OK;
}

static bool find_member(struct span object, struct span name, struct json_value *found)
{
    struct scanner s;
    struct json_value value;
    bool is_found = false;

    if (object.length == 0)
        return false;
    scanner_init(&s, object.at, object.length, NULL);
    if (s.at == s.end || *s.at != '{')
        return false;
    open_frame(&s, '}');
    for (bool just_opened = true;; just_opened = false) {
        struct span member;

        if (!scan_between(&s, 0, just_opened))
            return false;
        if (s.depth == 0)
            return is_found;
        member = s.name;
        if (!scan_whole(&s, &value))
            return false;
        if (string_equals(member, name)) {
            *found = value;
            is_found = true;
        }
    }
}

enum scan_result scan_event(const char *text, size_t length, uint32_t attachments,
                            struct event *event)
{
    return scan_packet(text, length, attachments, true, event);
}

enum scan_result scan_array(const char *text, size_t length, uint32_t attachments,
                            struct event *event)
{
    return scan_packet(text, length, attachments, false, event);
}

bool scan_value(const char *text, size_t length, struct json_value *value)
{
    struct scanner s;

    if (length > UINT32_MAX)
        return false;
    scanner_init(&s, text, length, NULL);
    return scan_whole(&s, value) && at_end(&s);
}

bool scan_member(struct span object, const struct span *path, size_t n_path,
                 struct json_value *value)
{
    struct json_value inner = {.text = object};

    for (size_t i = 0; i < n_path; i++)
        if (!find_member(inner.text, path[i], &inner))
            return false;
    *value = inner;
    return n_path > 0;
}

size_t scan_without(struct span object, struct span name, char *out)
{
    struct scanner s;
    struct json_value value;
    size_t length = 0;

    out[length++] = '{';
    scanner_init(&s, object.at, object.length, NULL);
    open_frame(&s, '}');
    for (bool just_opened = true; scan_between(&s, 0, just_opened) && s.depth > 0;
         just_opened = false) {
        struct span member = s.name;

        if (!scan_whole(&s, &value))
            break;
        if (string_equals(member, name))
            continue;
        if (length > 1)
            out[length++] = ',';
        memcpy(out + length, member.at, member.length);
        length += member.length;
        out[length++] = ':';
        memcpy(out + length, value.text.at, value.text.length);
        length += value.text.length;
    }
    out[length++] = '}';
    return length;
}

ptrdiff_t scan_decode_string(struct span string, char *out, size_t size)
{
    const char *at = string.at + 1, *end = string.at + string.length - 1;
    size_t length = 0;

    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at)), *from = at;
        size_t n = (size_t)((escape ? escape : end) - at);
        char c[4];

        if (n > 0) {
            at += n;
        } else {
            n = decode_one(&at, c);
            from = c;
        }
        if (n == 0 || size - length < n)
            return -1;
        memcpy(out + length, from, n);
        length += n;
    }
    return (ptrdiff_t)length;
}

bool scan_is_text(struct span text)
{
    const char *at = text.at, *end = text.at + text.length;

    while ((at = skip_plain(at, end)) < end) {
        size_t n = *at == '"' || *at == '\\' ? 1 : sequence_length(at, end);

        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

bool scan_is_utf8(struct span text)
{
    const char *at = text.at, *end = text.at + text.length;

    while ((at = skip_plain(at, end)) < end) {
        size_t n = (*at & 0x80) == 0 ? 1 : sequence_length(at, end);

        if (n == 0)
            return false;
        at += n;
    }
    return true;
}
