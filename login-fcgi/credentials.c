/*
 * From a request's body to a user name and a password.  Whether they are right is the business of
 * login.c.
 */
#include "login-fcgi/credentials.h"

#include <stdbool.h>
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
static bool is_utf8(const struct credential *credential)
{
    json_t *string = json_stringn(credential->text, credential->bytes);
    bool valid = string != NULL;

    json_decref(string);
    return valid;
}

static bool has_nul(const struct credential *credential)
{
    return memchr(credential->text, '\0', credential->bytes) != NULL;
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

/* Which of the two is called that; NULL: neither. */
static struct credential *credentials_find(struct credentials *credentials, const char *name,
                                           size_t bytes)
{
    if (bytes == strlen("username") && memcmp(name, "username", bytes) == 0)
        return &credentials->username;
    if (bytes == strlen("password") && memcmp(name, "password", bytes) == 0)
        return &credentials->password;
    return NULL;
}

static const char *credentials_check(const struct credentials *credentials)
{
    const struct credential *username = &credentials->username;
    const struct credential *password = &credentials->password;

    if (!username->text || !password->text)
        return "username and password are required";
    if (username->bytes == 0 || password->bytes == 0)
        return "username and password must not be empty";
    if (has_nul(username) || has_nul(password))
        return "username and password must not contain NUL";
    if (!is_utf8(username) || !is_utf8(password))
        return "username and password must be UTF-8";
    return NULL;
}

const char *credentials_parse_form(struct credentials *credentials, char *body, size_t bytes)
{
    char *const end = body + bytes;
    char *next;

    memset(credentials, 0, sizeof *credentials);
    for (char *name = body; name < end; name = next) {
        char *stop = memchr(name, '&', (size_t)(end - name));
        char *value;
        size_t name_bytes, value_bytes;
        struct credential *found;

        stop = stop ? stop : end;
        next = stop + 1;
        value = memchr(name, '=', (size_t)(stop - name));
        name_bytes = (size_t)((value ? value : stop) - name);
        value = value ? value + 1 : stop;
        value_bytes = (size_t)(stop - value);
        if (!decode(value, &value_bytes) || !decode(name, &name_bytes))
            return "the form has a % without two hexadecimal digits";
        found = credentials_find(credentials, name, name_bytes);
        if (found && found->text)
            return "username and password must be given once";
        if (found)
            *found = (struct credential){value, value_bytes};
    }
    return credentials_check(credentials);
}

const char *credentials_parse_json(struct credentials *credentials, const char *body, size_t bytes)
{
    json_t *username, *password;
    const char *wrong;

    memset(credentials, 0, sizeof *credentials);
    credentials->json = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL);
    username = json_object_get(credentials->json, "username");
    password = json_object_get(credentials->json, "password");
    credentials->username =
        (struct credential){json_string_value(username), json_string_length(username)};
    credentials->password =
        (struct credential){json_string_value(password), json_string_length(password)};
    if (!json_is_object(credentials->json))
        wrong = "the body is not a JSON object, or a member is there twice";
    else if ((username && !json_is_string(username)) || (password && !json_is_string(password)))
        wrong = "username and password must be strings";
    else
        wrong = credentials_check(credentials);
    if (wrong)
        credentials_fini(credentials);
    return wrong;
}

void credentials_fini(struct credentials *credentials)
{
    json_decref(credentials->json);
    memset(credentials, 0, sizeof *credentials);
}
