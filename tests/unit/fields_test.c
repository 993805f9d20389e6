/* What a body may look like, and what it may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "login-fcgi/fields.h"

#define TWICE   " must be given once"
#define MISSING " is required"
#define EMPTY   " must not be empty"
#define NUL     " must not contain NUL"
#define UTF8    " must be UTF-8"
#define PERCENT "the form has a % without two hexadecimal digits"
#define JSON    "the body is not a JSON object, or a member is there twice"
#define STRINGS " must be a string"
#define FLAG    "all must be true or false"

struct body {
    const char *text;
    size_t bytes;
    const char *wrong; /* NULL: right, and then these */
    const char *username, *password;
};

#define RIGHT(text, username, password)                                                            \
    {                                                                                              \
        text, sizeof(text) - 1, NULL, username, password                                           \
    }
#define WRONG(text, why)                                                                           \
    {                                                                                              \
        text, sizeof(text) - 1, why, NULL, NULL                                                    \
    }

/* The bytes on the heap with their one NUL, so that a sanitizer sees who steps over the end. */
static char *copy_of(const struct body *body)
{
    char *copy = malloc(body->bytes + 1);

    memcpy(copy, body->text, body->bytes + 1);
    return copy;
}

/* The fields of a login, and a flag that may lack. */
#define LOGIN                                                                                      \
    {                                                                                              \
        {.name = "username"}, {.name = "password"},                                                \
        {                                                                                          \
            .name = "all", .may_lack = true, .is_flag = true                                       \
        }                                                                                          \
    }

/* What is wrong stands at the end, after the field's name where it is one of them. */
static void expect(const struct body *body, const struct field *list, const char *wrong)
{
    if (body->wrong) {
        assert_non_null(wrong);
        assert_true(strlen(wrong) >= strlen(body->wrong));
        assert_string_equal(wrong + strlen(wrong) - strlen(body->wrong), body->wrong);
        return;
    }
    assert_null(wrong);
    assert_string_equal(list[0].text, body->username);
    assert_int_equal(list[0].bytes, strlen(body->username));
    assert_string_equal(list[1].text, body->password);
    assert_int_equal(list[1].bytes, strlen(body->password));
}

static void each_form(const struct body *bodies, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct field list[] = LOGIN;
        struct fields fields = {.list = list, .n = 3};
        char *copy = copy_of(&bodies[i]);

        expect(&bodies[i], list, fields_parse_form(&fields, copy, bodies[i].bytes));
        free(copy);
    }
}

static void each_json(const struct body *bodies, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct field list[] = LOGIN;
        struct fields fields = {.list = list, .n = 3};
        char *copy = copy_of(&bodies[i]);
        const char *wrong = fields_parse_json(&fields, copy, bodies[i].bytes);

        expect(&bodies[i], list, wrong);
        if (!wrong)
            fields_fini(&fields);
        free(copy);
    }
}

#define EACH(which, bodies) each_##which(bodies, sizeof bodies / sizeof *bodies)

static void a_form_is_decoded(void **state)
{
    static const struct body bodies[] = {
        RIGHT("username=ann&password=secret", "ann", "secret"),
        RIGHT("password=secret&username=ann", "ann", "secret"),
        RIGHT("username=ann+lee&password=a%2Bb%20c%26%3D%25", "ann lee", "a+b c&=%"),
        RIGHT("username=J%C3%B6rg&password=%e2%82%ac", "J\xc3\xb6rg", "\xe2\x82\xac"),
        RIGHT("username=J\xc3\xb6rg&password=x", "J\xc3\xb6rg", "x"),
        RIGHT("user%6eame=ann&%70assword=x", "ann", "x"),
        RIGHT("username=ann&password==x=", "ann", "=x="),
        RIGHT("&&username=ann&&password=x&", "ann", "x"),
        RIGHT("csrf=1&username=ann&flag&password=x&=&csrf=2", "ann", "x"),
        RIGHT("username=ann&password=\r\n\t", "ann", "\r\n\t"),
    };

    (void)state;
    EACH(form, bodies);
}

static void a_form_that_is_none_is_refused(void **state)
{
    static const struct body bodies[] = {
        WRONG("", MISSING),
        WRONG("&", MISSING),
        WRONG("username=ann", MISSING),
        WRONG("password=x", MISSING),
        WRONG("Username=ann&password=x", MISSING),
        WRONG("username=ann&password[]=x", MISSING),
        WRONG("username=ann;password=x", MISSING),
        WRONG("{\"username\":\"ann\",\"password\":\"x\"}", MISSING),
        WRONG("usernames=ann&passwor=x&xpassword=x", MISSING),
        WRONG("username\0x=ann&password=x", MISSING),
        WRONG("username%00=ann&password=x", MISSING),
        WRONG("username=&password=x", EMPTY),
        WRONG("username=ann&password", EMPTY),
        WRONG("username&password=x", EMPTY),
        WRONG("username=ann&username=ann&password=x", TWICE),
        WRONG("username=ann&password=x&password=", TWICE),
        WRONG("username=ann&password=x&pass%77ord=y", TWICE),
        WRONG("username=a%00b&password=x", NUL),
        WRONG("username=ann&password=x%00", NUL),
        WRONG("username=ann&password=x\0y", NUL),
        WRONG("username=ann&password=%", PERCENT),
        WRONG("username=ann&password=%4", PERCENT),
        WRONG("username=ann&password=%4&x=1", PERCENT),
        WRONG("username=ann&password=%g0", PERCENT),
        WRONG("username=ann&password=100%", PERCENT),
        WRONG("username=ann&password=%-1", PERCENT),
        WRONG("username=ann&password=x&%zz=1", PERCENT),
        WRONG("username=%ff&password=x", UTF8),
        WRONG("username=ann&password=%c3", UTF8),
        WRONG("username=ann&password=%c0%80", UTF8),
        WRONG("username=ann&password=%ed%a0%80", UTF8),
        WRONG("username=ann&password=%f4%90%80%80", UTF8),
        WRONG("username=J\xf6rg&password=x", UTF8),
    };

    (void)state;
    EACH(form, bodies);
}

static void json_is_read(void **state)
{
    static const struct body bodies[] = {
        RIGHT("{\"username\":\"ann\",\"password\":\"x\"}", "ann", "x"),
        RIGHT(" { \"password\" : \"a\\\"\\\\\\u20ac\", \"username\" : \"J\\u00f6rg\" }\n",
              "J\xc3\xb6rg", "a\"\\\xe2\x82\xac"),
        RIGHT("{\"username\":\"ann\",\"password\":\"+%41\",\"remember\":[1,{}]}", "ann", "+%41"),
    };

    (void)state;
    EACH(json, bodies);
}

static void json_that_is_no_login_is_refused(void **state)
{
    static const struct body bodies[] = {
        WRONG("", JSON),
        WRONG("[]", JSON),
        WRONG("null", JSON),
        WRONG("\"ann\"", JSON),
        WRONG("username=ann&password=x", JSON),
        WRONG("{\"username\":\"ann\",\"password\":\"x\"", JSON),
        WRONG("{\"username\":\"ann\",\"password\":\"x\"} {}", JSON),
        WRONG("{\"username\":\"ann\",\"password\":\"x\",}", JSON),
        WRONG("{'username':'ann','password':'x'}", JSON),
        WRONG("{\"username\":\"ann\",\"password\":\"x\"}\0", JSON),
        WRONG("\xef\xbb\xbf{\"username\":\"ann\",\"password\":\"x\"}", JSON),
        WRONG("{\"username\":\"ann\",\"username\":\"ann\",\"password\":\"x\"}", JSON),
        WRONG("{\"username\":\"ann\",\"password\":\"x\",\"p\\u0061ssword\":\"y\"}", JSON),
        WRONG("{\"username\":\"ann\",\"password\":\"\\u0000\"}", JSON),
        WRONG("{\"username\":\"\xff\",\"password\":\"x\"}", JSON),
        WRONG("{\"username\":\"ann\",\"password\":\"\\ud800\"}", JSON),
        WRONG("{}", MISSING),
        WRONG("{\"username\":\"ann\"}", MISSING),
        WRONG("{\"username\":\"ann\",\"password\":\"x\",\"all\":1}", FLAG),
        WRONG("{\"username\":\"ann\",\"password\":\"x\",\"all\":\"yes\"}", FLAG),
        WRONG("{\"username\":true,\"password\":\"x\"}", STRINGS),
        WRONG("{\"username\":\"ann\",\"password\":1}", STRINGS),
        WRONG("{\"username\":\"ann\",\"password\":null}", STRINGS),
        WRONG("{\"username\":[\"ann\"],\"password\":\"x\"}", STRINGS),
        WRONG("{\"username\":\"\",\"password\":\"x\"}", EMPTY),
        WRONG("{\"username\":\"ann\",\"password\":\"\"}", EMPTY),
    };

    (void)state;
    EACH(json, bodies);
}

/* A thousand fields, and brackets as deep as the longest body has room for. */
static void a_long_body_is_only_long(void **state)
{
    enum { LENGTH = 16384 };
    char *form = malloc(LENGTH + 1), *json = malloc(LENGTH + 1);
    struct field list[] = LOGIN;
    struct fields fields = {.list = list, .n = 3};

    (void)state;
    for (size_t i = 0; i < LENGTH; i++)
        form[i] = "a=%41&"[i % 6];
    form[LENGTH] = '\0';
    assert_string_equal(fields_parse_form(&fields, form, LENGTH - LENGTH % 6),
                        "username is required");
    memset(json, '[', LENGTH);
    json[LENGTH] = '\0';
    assert_string_equal(fields_parse_json(&fields, json, LENGTH), JSON);
    free(form);
    free(json);
}

static void a_flag_is_a_word_or_a_boolean(void **state)
{
    static const struct {
        const char *body, *all;
    } cases[] = {{"{\"username\":\"a\",\"password\":\"b\",\"all\":true}", "true"},
                 {"{\"username\":\"a\",\"password\":\"b\",\"all\":false}", "false"},
                 {"{\"username\":\"a\",\"password\":\"b\",\"all\":\"true\"}", "true"},
                 {"{\"username\":\"a\",\"password\":\"b\"}", NULL}};
    struct field list[] = LOGIN;
    struct fields fields = {.list = list, .n = 3};
    char form[] = "username=a&password=b&all=false";

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_null(fields_parse_json(&fields, cases[i].body, strlen(cases[i].body)));
        assert_true(cases[i].all ? list[2].text && strcmp(list[2].text, cases[i].all) == 0
                                 : list[2].text == NULL);
        fields_fini(&fields);
    }
    assert_null(fields_parse_form(&fields, form, strlen(form)));
    assert_string_equal(list[2].text, "false");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_is_decoded),
        cmocka_unit_test(a_form_that_is_none_is_refused),
        cmocka_unit_test(json_is_read),
        cmocka_unit_test(json_that_is_no_login_is_refused),
        cmocka_unit_test(a_flag_is_a_word_or_a_boolean),
        cmocka_unit_test(a_long_body_is_only_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
