/* Every file of tests/token-vectors, then what token_issue makes and refuses. */
#include "common/token.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define VECTORS "tests/token-vectors"

static const char *const audiences[] = {"sallyport", "chat", NULL};
static const struct token_policy policy = {.issuer = "https://example.org", .audiences = audiences};

static const char *const result_names[TOKEN_RESULTS] = {
    [TOKEN_OK] = "TOKEN_OK",
    [TOKEN_MALFORMED] = "TOKEN_MALFORMED",
    [TOKEN_UNSIGNED] = "TOKEN_UNSIGNED",
    [TOKEN_WRONG_ALGORITHM] = "TOKEN_WRONG_ALGORITHM",
    [TOKEN_UNKNOWN_KEY] = "TOKEN_UNKNOWN_KEY",
    [TOKEN_BAD_SIGNATURE] = "TOKEN_BAD_SIGNATURE",
    [TOKEN_EXPIRED] = "TOKEN_EXPIRED",
    [TOKEN_NOT_YET] = "TOKEN_NOT_YET",
    [TOKEN_WRONG_ISSUER] = "TOKEN_WRONG_ISSUER",
    [TOKEN_WRONG_AUDIENCE] = "TOKEN_WRONG_AUDIENCE",
    [TOKEN_FOREIGN_AUDIENCE] = "TOKEN_FOREIGN_AUDIENCE",
};

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    assert_non_null(text);
    return text;
}

static void write_keys(const struct scratch *scratch, json_t *files)
{
    const char *name;
    json_t *jwk;

    json_object_foreach(files, name, jwk)
    {
        char *text = json_is_string(jwk) ? strdup(json_string_value(jwk)) : json_dumps(jwk, 0);
        const char *path = scratch_path(scratch, name);

        scratch_write(path, text);
        assert_int_equal(chmod(path, 0640), 0);
        free(text);
    }
}

/* The literal text, or head + repeat * times + tail; not NUL-ended, so that a byte more is seen. */
static char *build_token(const json_t *token, size_t *bytes)
{
    const json_t *head = json_is_string(token) ? token : json_object_get(token, "head");
    const json_t *repeat = json_object_get(token, "repeat"), *tail = json_object_get(token, "tail");
    size_t times = (size_t)json_integer_value(json_object_get(token, "times"));
    char *text, *end;

    *bytes =
        json_string_length(head) + times * json_string_length(repeat) + json_string_length(tail);
    text = end = malloc(*bytes ? *bytes : 1);
    end = mempcpy(end, json_string_value(head), json_string_length(head));
    for (size_t i = 0; i < times; i++)
        end = mempcpy(end, json_string_value(repeat), json_string_length(repeat));
    if (tail)
        memcpy(end, json_string_value(tail), json_string_length(tail));
    return text;
}

static json_t *claims_of(const struct token *token)
{
    json_t *claims = json_loads(token->payload, 0, NULL);

    assert_true(json_is_object(claims));
    return claims;
}

static void check_filled(const struct token *token, enum token_result result)
{
    static const struct token nothing;
    json_t *claims;

    if (result != TOKEN_OK) {
        assert_memory_equal(token, &nothing, sizeof nothing);
        return;
    }
    claims = claims_of(token);
    assert_int_equal(strlen(token->payload), token->payload_bytes);
    assert_string_equal(token->user, text_of(claims, "sub"));
    assert_string_equal(token->id, text_of(claims, "jti"));
    assert_int_equal(token->issued_s, json_integer_value(json_object_get(claims, "iat")));
    assert_int_equal(token->expires_s, json_integer_value(json_object_get(claims, "exp")));
    json_decref(claims);
}

static void check_token(const json_t *vector, const struct keyring *keyring)
{
    const json_t *demanded = json_object_get(vector, "policy");
    const json_t *list = json_object_get(demanded, "audiences");
    const char *names[8] = {NULL};
    struct token_policy wanted = {.issuer = text_of(demanded, "issuer"), .audiences = names};
    int64_t now_s = json_integer_value(json_object_get(vector, "now"));
    struct token token;
    enum token_result result;
    char message[256];
    size_t bytes;
    char *text = build_token(json_object_get(vector, "token"), &bytes);

    for (size_t i = 0; i < json_array_size(list) && i < 7; i++)
        names[i] = json_string_value(json_array_get(list, i));
    result = token_verify(keyring, &wanted, text, bytes, now_s, &token);
    assert_string_equal(result_names[result], text_of(vector, "expect"));
    assert_string_equal(token_message(result, &wanted, message, sizeof message),
                        text_of(vector, "message"));
    check_filled(&token, result);
    token_fini(&token);
    free(text);
}

static void vector_test(void **state)
{
    const char *file = *state;
    char path[512];
    json_t *vector;
    struct scratch scratch;
    struct keyring *keyring;
    struct error error = {.text = ""};

    snprintf(path, sizeof path, VECTORS "/%s", file);
    vector = json_load_file(path, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(vector);
    scratch_new(&scratch);
    write_keys(&scratch, json_object_get(vector, "keys"));
    keyring = keyring_read(scratch.folder, &error);
    scratch_free(&scratch);
    if (strcmp(text_of(vector, "expect"), "KEYRING_REFUSED") == 0) {
        assert_null(keyring);
        assert_non_null(strstr(error.text, scratch.folder));
        assert_non_null(strstr(error.text, text_of(vector, "message")));
    } else {
        assert_string_equal(error.text, "");
        assert_non_null(keyring);
        check_token(vector, keyring);
    }
    keyring_put(&keyring);
    json_decref(vector);
}

/* A folder with one key of the algorithm, and both of its uses. */
struct issuer {
    struct scratch scratch;
    char name[64];
    struct keyring *keyring;
    struct key *key;
};

static void issuer_new(struct issuer *issuer, enum key_algorithm algorithm)
{
    struct error error = {.text = ""};

    scratch_new(&issuer->scratch);
    keyring_generate(issuer->scratch.folder, algorithm, NULL, issuer->name, &error);
    keyring_activate(issuer->scratch.folder, issuer->name, &error);
    issuer->keyring = keyring_read(issuer->scratch.folder, &error);
    issuer->key = keyring_read_signing(issuer->scratch.folder, &error);
    assert_string_equal(error.text, "");
    assert_non_null(issuer->key);
}

static void issuer_free(struct issuer *issuer)
{
    keyring_put(&issuer->keyring);
    key_free(&issuer->key);
    scratch_free(&issuer->scratch);
}

static enum token_result verify(const struct issuer *issuer, const char *text, int64_t now_s,
                                struct token *token)
{
    return token_verify(issuer->keyring, &policy, text, strlen(text), now_s, token);
}

static void what_is_issued_is_verified_until_its_end(void **state)
{
    json_t *claims =
        json_pack("{s:s, s:i, s:[s]}", "email", "a@example.org", "id", 7, "rooms", "x");
    json_t *verified;

    (void)state;
    for (enum key_algorithm algorithm = 0; algorithm < KEY_ALGORITHMS; algorithm++) {
        struct issuer issuer;
        struct error error;
        struct token token;
        char *text;

        issuer_new(&issuer, algorithm);
        text = token_issue(issuer.key, &policy, "alice", claims, 1000, 60, &error);
        assert_non_null(text);
        assert_int_equal(verify(&issuer, text, 998, &token), TOKEN_NOT_YET);
        assert_int_equal(verify(&issuer, text, 999, &token), TOKEN_OK);
        token_fini(&token);
        assert_int_equal(verify(&issuer, text, 1060, &token), TOKEN_EXPIRED);
        assert_int_equal(verify(&issuer, text, 1059, &token), TOKEN_OK);
        assert_string_equal(token.user, "alice");
        assert_int_equal(strlen(token.id), 22);
        assert_int_equal(token.issued_s, 1000);
        assert_int_equal(token.expires_s, 1060);
        verified = claims_of(&token);
        assert_int_equal(json_integer_value(json_object_get(verified, "id")), 7);
        assert_string_equal(text_of(verified, "email"), "a@example.org");
        assert_int_equal(json_array_size(json_object_get(verified, "aud")), 2);
        json_decref(verified);
        token_fini(&token);
        token_free_text(&text);
        assert_null(text);
        issuer_free(&issuer);
    }
    json_decref(claims);
}

static void no_two_tokens_have_one_id(void **state)
{
    struct issuer issuer;
    struct token one, other;
    struct error error;
    char *first, *second;

    (void)state;
    issuer_new(&issuer, KEY_HS256);
    first = token_issue(issuer.key, &policy, "alice", NULL, 1000, 60, &error);
    second = token_issue(issuer.key, &policy, "alice", NULL, 1000, 60, &error);
    assert_int_equal(verify(&issuer, first, 1000, &one), TOKEN_OK);
    assert_int_equal(verify(&issuer, second, 1000, &other), TOKEN_OK);
    assert_string_not_equal(one.id, other.id);
    token_fini(&one);
    token_fini(&other);
    token_free_text(&first);
    token_free_text(&second);
    issuer_free(&issuer);
}

static void no_id_begins_like_an_option(void **state)
{
    char id[TOKEN_ID_SIZE];

    (void)state;
    for (int i = 0; i < 2000; i++) {
        token_new_id(id);
        assert_true(id[0] != '-' && token_id_is_ours(id));
    }
    assert_false(token_id_is_ours(""));
    assert_false(token_id_is_ours("AAAAAAAAAAAAAAAAAAAAA"));
    assert_false(token_id_is_ours("AAAAAAAAAAAAAAAAAAAAAAA"));
    assert_false(token_id_is_ours("AAAAAAAAAAAAAAAAAAAAA+"));
}

static void one_audience_is_issued_as_a_string(void **state)
{
    static const char *const single[] = {"sallyport", NULL};
    const struct token_policy alone = {.issuer = "https://example.org", .audiences = single};
    struct issuer issuer;
    struct token token;
    struct error error;
    json_t *claims;
    char *text;

    (void)state;
    issuer_new(&issuer, KEY_HS256);
    text = token_issue(issuer.key, &alone, "alice", NULL, 1000, 60, &error);
    assert_int_equal(verify(&issuer, text, 1000, &token), TOKEN_OK);
    claims = claims_of(&token);
    assert_string_equal(text_of(claims, "aud"), "sallyport");
    json_decref(claims);
    token_fini(&token);
    token_free_text(&text);
    issuer_free(&issuer);
}

/* No token comes out, and the error has these words. */
static void assert_not_issued(const struct issuer *issuer, const char *subject, json_t *claims,
                              int64_t lifetime_s, const char *words)
{
    struct error error = {.text = ""};

    assert_null(token_issue(issuer->key, &policy, subject, claims, 1000, lifetime_s, &error));
    assert_non_null(strstr(error.text, words));
    json_decref(claims);
}

static json_t *one_claim(json_t *value)
{
    return json_pack("{s:o}", "x", value);
}

static void nothing_is_issued_that_would_not_be_verified(void **state)
{
    struct issuer issuer;
    char long_name[257] = "";
    char *long_text = malloc(2000001);
    json_t *deep = json_array();

    (void)state;
    memset(long_name, 'a', 256);
    memset(long_text, 'x', 2000000);
    long_text[2000000] = '\0';
    for (int depth = 0; depth < 32; depth++)
        deep = json_pack("[o]", deep);
    issuer_new(&issuer, KEY_HS256);
    assert_not_issued(&issuer, "", NULL, 60, "sub");
    assert_not_issued(&issuer, "a\nb", NULL, 60, "sub");
    assert_not_issued(&issuer, long_name, NULL, 60, "sub");
    assert_not_issued(&issuer, "\xc3(", NULL, 60, "UTF-8");
    assert_not_issued(&issuer, "alice", NULL, 0, "end after");
    assert_not_issued(&issuer, "alice", NULL, -60, "end after");
    assert_not_issued(&issuer, "alice", NULL, INT64_MAX, "end after");
    assert_not_issued(&issuer, "alice", one_claim(json_string(long_text)), 60, "too long");
    long_text[6000] = '\0';
    assert_not_issued(&issuer, "alice", one_claim(json_string(long_text)), 60, "8192");
    assert_not_issued(&issuer, "alice", one_claim(deep), 60, "too deep");
    assert_not_issued(&issuer, "alice", one_claim(json_stringn("a\0b", 3)), 60, "libjwt");
    issuer_free(&issuer);
    free(long_text);
}

static void a_registered_claim_is_ours_alone(void **state)
{
    static const char *const names[] = {"iss", "aud", "sub", "iat", "exp", "nbf", "jti"};
    struct issuer issuer;

    (void)state;
    issuer_new(&issuer, KEY_HS256);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_true(token_claim_is_reserved(names[i]));
        assert_not_issued(&issuer, "alice", json_pack("{s:i}", names[i], 1), 60, names[i]);
    }
    assert_false(token_claim_is_reserved("email"));
    assert_false(token_claim_is_reserved("EXP"));
    issuer_free(&issuer);
}

static void a_message_is_cut_to_its_buffer(void **state)
{
    char text[40];

    (void)state;
    for (enum token_result result = 0; result < TOKEN_RESULTS; result++)
        for (size_t size = 1; size <= sizeof text; size++) {
            memset(text, 'X', sizeof text);
            token_message(result, &policy, text, size);
            assert_true(strlen(text) < size);
        }
}

/* Each bit of a token changed in turn: never good, never a crash. */
static void a_message_is_cut_between_characters(void **state)
{
    static const char *const letters[] = {"\xc3\xa9\xe2\x82\xac\xf0\x9f\xa6\x80\xc3\xa9", NULL};
    struct token_policy foreign = {.issuer = letters[0], .audiences = letters};
    char text[64];
    json_t *whole;

    (void)state;
    for (size_t size = 1; size <= sizeof text; size++) {
        whole = json_string(token_message(TOKEN_WRONG_AUDIENCE, &foreign, text, size));
        assert_non_null(whole); /* jansson takes nothing but UTF-8 */
        json_decref(whole);
        whole = json_string(token_message(TOKEN_WRONG_ISSUER, &foreign, text, size));
        assert_non_null(whole);
        json_decref(whole);
    }
    assert_string_equal(text + strlen("jwt issuer invalid. expected: "), letters[0]);
}

static void no_changed_token_is_good(void **state)
{
    static const enum key_algorithm tried[] = {KEY_HS256, KEY_RS256, KEY_ES256};

    (void)state;
    for (size_t k = 0; k < 3; k++) {
        struct issuer issuer;
        struct token token;
        struct error error;
        char *text;

        issuer_new(&issuer, tried[k]);
        text = token_issue(issuer.key, &policy, "alice", NULL, 1000, 60, &error);
        for (size_t bit = 0; bit < strlen(text) * 8; bit++) {
            char changed[TOKEN_MAX_BYTES];
            size_t bytes = strlen(text);

            memcpy(changed, text, bytes);
            changed[bit / 8] ^= (char)(1 << bit % 8);
            assert_int_not_equal(
                token_verify(issuer.keyring, &policy, changed, bytes, 1000, &token), TOKEN_OK);
        }
        token_free_text(&text);
        issuer_free(&issuer);
    }
}

struct shared {
    const struct issuer *issuer;
    const char *text;
    atomic_uint bad;
};

static void *verify_many(void *context)
{
    struct shared *shared = context;

    for (int i = 0; i < 50; i++) {
        struct token token;

        if (verify(shared->issuer, shared->text, 1000, &token) != TOKEN_OK)
            shared->bad++;
        token_fini(&token);
    }
    return NULL;
}

/* Of use under ThreadSanitizer above all. */
static void many_threads_verify_with_one_key(void **state)
{
    static const enum key_algorithm tried[] = {KEY_HS256, KEY_RS256, KEY_ES256};

    (void)state;
    for (size_t k = 0; k < 3; k++) {
        struct issuer issuer;
        struct shared shared = {.issuer = &issuer};
        pthread_t thread[4];
        struct error error;
        char *text;

        issuer_new(&issuer, tried[k]);
        shared.text = text = token_issue(issuer.key, &policy, "alice", NULL, 1000, 60, &error);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, verify_many, &shared), 0);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(shared.bad, 0);
        token_free_text(&text);
        issuer_free(&issuer);
    }
}

static int is_vector(const struct dirent *file)
{
    size_t length = strlen(file->d_name);

    return length > 5 && strcmp(file->d_name + length - 5, ".json") == 0;
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(what_is_issued_is_verified_until_its_end),
        cmocka_unit_test(no_two_tokens_have_one_id),
        cmocka_unit_test(no_id_begins_like_an_option),
        cmocka_unit_test(one_audience_is_issued_as_a_string),
        cmocka_unit_test(nothing_is_issued_that_would_not_be_verified),
        cmocka_unit_test(a_registered_claim_is_ours_alone),
        cmocka_unit_test(a_message_is_cut_to_its_buffer),
        cmocka_unit_test(a_message_is_cut_between_characters),
        cmocka_unit_test(no_changed_token_is_good),
        cmocka_unit_test(many_threads_verify_with_one_key),
    };
    size_t n_others = sizeof others / sizeof *others;
    struct dirent **files = NULL;
    int n = scandir(VECTORS, &files, is_vector, alphasort), failed;
    struct CMUnitTest *tests;

    if (n < 60) {
        fprintf(stderr, "token_test: %d vectors in " VECTORS ": run me at the top of the tree\n",
                n);
        return 1;
    }
    tests = calloc((size_t)n + n_others, sizeof *tests);
    for (int i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){
            .name = files[i]->d_name, .test_func = vector_test, .initial_state = files[i]->d_name};
    memcpy(tests + n, others, sizeof others);
    failed = _cmocka_run_group_tests("token", tests, (size_t)n + n_others, NULL, NULL);
    while (n > 0)
        free(files[--n]);
    free(files);
    free(tests);
    return failed;
}
