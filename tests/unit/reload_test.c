/*
 * Config, keys and rules are read anew while other threads verify tokens by what they hold; for
 * ThreadSanitizer above all.
 */
#include "common/clock.h"
#include "gateway/gate.h"

#include "tests/unit/scratch.h"

#include <pthread.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#define THREADS 4
#define ROUNDS  60

static const char *const rules[] = {
    "namespace \"/\" { on \"a\" { require claim team \"x\"; emit others } }\n",
    "namespace \"/\" { on \"a\" { emit all {\"by\": $user, \"of\": $claims.email} } }\n"
    "namespace \"/more\" { authenticate none }\n",
};

struct stage {
    pthread_mutex_t lock;
    struct snapshot *current;
    char *token;
    atomic_bool is_over;
    atomic_uint verified, refused;
};

static struct snapshot *take(struct stage *stage)
{
    struct snapshot *snapshot;

    pthread_mutex_lock(&stage->lock);
    snapshot = snapshot_get(stage->current);
    pthread_mutex_unlock(&stage->lock);
    return snapshot;
}

static void *verify(void *argument)
{
    struct stage *stage = argument;
    struct span text = {stage->token, (uint32_t)strlen(stage->token)};

    while (!atomic_load(&stage->is_over)) {
        struct snapshot *snapshot = take(stage);
        struct json_value claim[8];
        struct identity *identity;
        gate_result result = gate_check(snapshot, NULL, NULL, text, clock_wall_s(), &identity);

        if (result == TOKEN_OK)
            identity_claims(identity, claim);
        atomic_fetch_add(result == TOKEN_OK ? &stage->verified : &stage->refused, 1);
        identity_put(&identity);
        snapshot_put(&snapshot);
    }
    return NULL;
}

static void read_anew(struct stage *stage, const struct scratch *scratch)
{
    struct error error = {""};
    struct snapshot *fresh = snapshot_read(scratch_path(scratch, "sallyport.conf"), &error), *old;

    if (!fresh)
        fail_msg("%s", error.text);
    pthread_mutex_lock(&stage->lock);
    old = stage->current;
    stage->current = fresh;
    pthread_mutex_unlock(&stage->lock);
    snapshot_put(&old);
}

static char *make_token(const struct scratch *scratch)
{
    static const char *const audiences[] = {"sallyport", NULL};
    const struct token_policy policy = {.issuer = "sallyport", .audiences = audiences};
    struct error error;
    struct key *key = keyring_read_signing(scratch_path(scratch, "keys"), &error);
    char *token = token_issue(key, &policy, "ann", NULL, clock_wall_s(), 3600, &error);

    key_free(&key);
    assert_non_null(token);
    return token;
}

static void tokens_verify_while_everything_is_read_anew(void **state)
{
    struct scratch scratch;
    struct stage stage = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t thread[THREADS];
    char name[64];
    struct error error;

    (void)state;
    scratch_new(&scratch);
    assert_int_equal(mkdir(scratch_path(&scratch, "keys"), 0750), 0);
    assert_true(keyring_generate(scratch_path(&scratch, "keys"), KEY_HS256, "first", name, &error));
    assert_true(keyring_activate(scratch_path(&scratch, "keys"), "first", &error));
    scratch_write(scratch_path(&scratch, "sallyport.conf"),
                  "keys = \"keys\"; gateway: { rules = \"relay.rules\"; };\n");
    scratch_write(scratch_path(&scratch, "relay.rules"), rules[0]);
    read_anew(&stage, &scratch);
    stage.token = make_token(&scratch);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, verify, &stage), 0);
    for (int round = 0; round < ROUNDS; round++) {
        scratch_write(scratch_path(&scratch, "relay.rules"), rules[round % 2]);
        if (round % 20 == 10)
            assert_true(
                keyring_generate(scratch_path(&scratch, "keys"), KEY_HS256, NULL, name, &error));
        read_anew(&stage, &scratch);
    }
    while (atomic_load(&stage.verified) < 1000)
        usleep(1000);
    atomic_store(&stage.is_over, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(stage.refused, 0);
    token_free_text(&stage.token);
    snapshot_put(&stage.current);
    scratch_free(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_verify_while_everything_is_read_anew)};

    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
