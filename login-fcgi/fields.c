/*
 * From a request's body to its fields.  What they mean is the business of those who ask.
 */
#include "login-fcgi/fields.h"

#include <stdio.h>
#include <string.h>

/* The value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* jansson checks every string it makes (RFC 3629). */
static bool is_utf8(const struct field *field)
{
    json_t *string = json_stringn(field->text, field->bytes);
    bool valid = string != NULL;

    json_decref(string);
    return valid;
}

static bool has_nul(const struct field *field)
{
    return memchr(field->text, '\0', field->bytes) != NULL;
}

/* Decode + and %XX where they stand, and end the text with NUL; false: a % without its digits. */
static bool decode(char *text, size_t *bytes)
{
    const char *end = text + *bytes;
    char *out = text;

    for (const char *in = text; in < end; in++) {
        if (*in == '%') {
            int high = end - in > 2 ? hex_value(in[1]) : -1;
            int low = end - in > 2 ? hex_value(in[2]) : -1;

            if (high < 0 || low < 0)
                return false;
            *out++ = (char)(high << 4 | low);
            in += 2;
        } else {
            *out++ = *in == '+' ? ' ' : *in;
        }
    }
    *bytes = (size_t)(out - text);
    *out = '\0';
    return true;
}

/* Which is called that; NULL: none. */
static struct field *find(const struct fields *fields, const char *name, size_t bytes)
{
    for (size_t i = 0; i < fields->n; i++)
        if (bytes == strlen(fields->list[i].name) && memcmp(name, fields->list[i].name, bytes) == 0)
            return &fields->list[i];
    return NULL;
}

static const char *say(struct fields *fields, const struct field *field, const char *what)
{
    snprintf(fields->wrong, sizeof fields->wrong, "%s %s", field->name, what);
    return fields->wrong;
}

static const char *check(struct fields *fields, const struct field *field)
{
    if (!field->text)
        return field->may_lack ? NULL : say(fields, field, "is required");
    if (field->bytes == 0)
        return say(fields, field, "must not be empty");
    if (has_nul(field))
        return say(fields, field, "must not contain NUL");
    if (!is_utf8(field))
        return say(fields, field, "must be UTF-8");
    if (field->is_flag && strcmp(field->text, "true") != 0 && strcmp(field->text, "false") != 0)
        return say(fields, field, "must be true or false");
    return NULL;
}

static const char *check_all(struct fields *fields)
{
    const char *wrong = NULL;

    for (size_t i = 0; i < fields->n && !wrong; i++)
        wrong = check(fields, &fields->list[i]);
    return wrong;
}

/* What another body left in the caller's list. */
static void empty(struct fields *fields)
{
    fields->json = NULL;
    for (size_t i = 0; i < fields->n; i++) {
        fields->list[i].text = NULL;
        fields->list[i].bytes = 0;
    }
}

const char *fields_parse_form(struct fields *fields, char *body, size_t bytes)
{
    char *const end = body + bytes;
    char *next;

    empty(fields);
    for (char *name = body; name < end; name = next) {
        char *stop = memchr(name, '&', (size_t)(end - name));
        char *value;
        size_t name_bytes, value_bytes;
        struct field *field;

        stop = stop ? stop : end;
        next = stop + 1;
        value = memchr(name, '=', (size_t)(stop - name));
        name_bytes = (size_t)((value ? value : stop) - name);
        value = value ? value + 1 : stop;
        value_bytes = (size_t)(stop - value);
        if (!decode(value, &value_bytes) || !decode(name, &name_bytes))
            return "the form has a % without two hexadecimal digits";
        field = find(fields, name, name_bytes);
        if (field && field->text)
            return say(fields, field, "must be given once");
        if (field) {
            field->text = value;
            field->bytes = value_bytes;
        }
    }
    return check_all(fields);
}

static const char *read_member(struct fields *fields, struct field *field)
{
    const json_t *value = json_object_get(fields->json, field->name);

    if (field->is_flag && json_is_boolean(value)) {
        field->text = json_is_true(value) ? "true" : "false";
        field->bytes = strlen(field->text);
        return NULL;
    }
    if (value && !json_is_string(value))
        return say(fields, field, field->is_flag ? "must be true or false" : "must be a string");
    field->text = json_string_value(value);
    field->bytes = json_string_length(value);
    return NULL;
}

const char *fields_parse_json(struct fields *fields, const char *body, size_t bytes)
{
    const char *wrong = NULL;

    empty(fields);
    fields->json = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(fields->json))
        wrong = "the body is not a JSON object, or a member is there twice";
    for (size_t i = 0; i < fields->n && !wrong; i++)
        wrong = read_member(fields, &fields->list[i]);
    if (!wrong)
        wrong = check_all(fields);
    if (wrong)
        fields_fini(fields);
    return wrong;
}

bool fields_read(struct fields *fields, struct request *request, struct answer *answer)
{
    const char *wrong;

    if (request_has_type(request, "application/x-www-form-urlencoded")) {
        wrong = fields_parse_form(fields, request->body, request->body_bytes);
    } else if (request_has_type(request, "application/json")) {
        wrong = fields_parse_json(fields, request->body, request->body_bytes);
    } else {
        answer_error(answer, 415,
                     "the body must be application/x-www-form-urlencoded or application/json");
        return false;
    }
    if (wrong)
        answer_error(answer, 400, wrong);
    return wrong == NULL;
}

void fields_fini(struct fields *fields)
{
    json_decref(fields->json);
    empty(fields);
}
