/*
 * The body of a login.  The first byte says as what it was sent: 'j', JSON; else a form.  Whoever
 * is let through is, written as JSON, the same again.
 */
#include "login-fcgi/credentials.h"
#include "tests/fuzz/target.h"

static void demand_same(const struct credential *a, const struct credential *b)
{
    assert(a->bytes == b->bytes && memcmp(a->text, b->text, a->bytes) == 0);
}

static void demand_credentials(const struct credentials *found)
{
    json_t *object =
        json_pack("{s:s%, s:s%}", "username", found->username.text, found->username.bytes,
                  "password", found->password.text, found->password.bytes);
    char *text = json_dumps(object, 0);
    struct credentials again;

    assert(found->username.bytes > 0 && found->password.bytes > 0);
    assert(strlen(found->username.text) == found->username.bytes);
    assert(strlen(found->password.text) == found->password.bytes);
    assert(text && credentials_parse_json(&again, text, strlen(text)) == NULL);
    demand_same(&found->username, &again.username);
    demand_same(&found->password, &again.password);
    credentials_fini(&again);
    free(text);
    json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct credentials found;
    const char *wrong;
    char *body;

    if (size == 0)
        return 0;
    body = target_copy(data, size);
    memmove(body, body + 1, size - 1);
    body[size - 1] = '\0';
    wrong = data[0] == 'j' ? credentials_parse_json(&found, body, size - 1)
                           : credentials_parse_form(&found, body, size - 1);
    if (!wrong) {
        demand_credentials(&found);
        credentials_fini(&found);
    }
    free(body);
    return 0;
}
