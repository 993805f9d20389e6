/*
 * The body of a login.  The first byte says as what it was sent: 'j', JSON; else a form.  Whoever
 * is let through is, written as JSON, the same again.
 */
#include "login-fcgi/fields.h"
#include "tests/fuzz/target.h"

static void demand_same(const struct field *a, const struct field *b)
{
    assert(a->bytes == b->bytes && memcmp(a->text, b->text, a->bytes) == 0);
}

static void demand_fields(const struct field *found)
{
    json_t *object = json_pack("{s:s%, s:s%}", found[0].name, found[0].text, found[0].bytes,
                               found[1].name, found[1].text, found[1].bytes);
    char *text = json_dumps(object, 0);
    struct field list[] = {{.name = "username"}, {.name = "password"}};
    struct fields again = {.list = list, .n = 2};

    for (int i = 0; i < 2; i++)
        assert(found[i].bytes > 0 && strlen(found[i].text) == found[i].bytes);
    assert(text && fields_parse_json(&again, text, strlen(text)) == NULL);
    for (int i = 0; i < 2; i++)
        demand_same(&found[i], &list[i]);
    fields_fini(&again);
    free(text);
    json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct field list[] = {{.name = "username"}, {.name = "password"}};
    struct fields found = {.list = list, .n = 2};
    const char *wrong;
    char *body;

    if (size == 0)
        return 0;
    body = target_copy(data, size);
    memmove(body, body + 1, size - 1);
    body[size - 1] = '\0';
    wrong = data[0] == 'j' ? fields_parse_json(&found, body, size - 1)
                           : fields_parse_form(&found, body, size - 1);
    if (!wrong) {
        demand_fields(list);
        fields_fini(&found);
    }
    free(body);
    return 0;
}
