/* Sessions on real databases: what a refresh token is good for, and what an end ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "db/connection.h"
#include "db/sessions.h"
#include "tests/unit/scratch.h"

static const struct session_terms terms = {1000, 300};

struct world {
    struct scratch scratch;
    struct database *database;
    struct revocations *revocations;
    struct user user;
    char refresh[SESSION_REFRESH_SIZE];
    unsigned tokens;
};

static void add_user(struct world *world, const char *name)
{
    json_t *claims = json_object();

    assert_int_equal(users_add(world->database, name, "hash", claims, 1), DB_OK);
    json_decref(claims);
}

static int open_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    struct error error;

    scratch_new(&world->scratch);
    world->database = database_open(scratch_path(&world->scratch, "s.db"), true, &error);
    world->revocations = revocations_open(scratch_path(&world->scratch, "r.db"), true, 50, &error);
    if (!world->database || !world->revocations)
        return -1;
    add_user(world, "ann");
    *state = world;
    return users_find(world->database, "ann", &world->user) == DB_OK ? 0 : -1;
}

static int close_world(void **state)
{
    struct world *world = *state;

    user_fini(&world->user);
    revocations_close(&world->revocations);
    database_close(&world->database);
    scratch_free(&world->scratch);
    free(world);
    return 0;
}

static int64_t ask(struct world *world, const char *sql)
{
    sqlite3_stmt *statement;
    int64_t answer;

    assert_int_equal(sqlite3_prepare_v2(world->database->sqlite, sql, -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    answer = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return answer;
}

/* Tokens are called t1, t2 …, and live for 50 s. */
static struct session_token token_at(struct world *world, int64_t now_s, char id[16])
{
    snprintf(id, 16, "t%u", ++world->tokens);
    return (struct session_token){id, now_s, now_s + 50};
}

static enum session_result begin(struct world *world, int64_t now_s)
{
    char id[16];
    struct session_token token = token_at(world, now_s, id);

    return sessions_begin(world->database, &world->user, "192.0.2.1", &terms, &token, now_s,
                          world->refresh);
}

static enum session_result refresh(struct world *world, const char *text, int64_t now_s,
                                   char next[SESSION_REFRESH_SIZE])
{
    char id[16];
    struct session_token token = token_at(world, now_s, id);

    return sessions_refresh(world->database, text, &terms, &token, now_s, next);
}

static void end(struct world *world, const char *text, int64_t now_s)
{
    struct session session;
    struct error error;

    assert_int_equal(sessions_find(world->database, text, now_s, &session), SESSION_OK);
    if (!sessions_end(world->database, world->revocations, session.id, now_s, &error))
        fail_msg("%s", error.text);
    session_fini(&session);
}

static void see(enum revocation_kind kind, const char *name, int64_t until_s, void *context)
{
    char *text = context;

    (void)until_s;
    snprintf(text + strlen(text), 512 - strlen(text), "%s%s ",
             kind == REVOCATION_USER ? "user " : "", name);
}

static const char *revoked(struct world *world)
{
    static char text[512];
    struct error error;

    text[0] = '\0';
    assert_true(revocations_list(world->revocations, see, text, &error));
    return text;
}

static void each_use_gives_the_next(void **state)
{
    struct world *world = *state;
    char last[SESSION_REFRESH_SIZE], next[SESSION_REFRESH_SIZE];

    assert_int_equal(begin(world, 100), SESSION_OK);
    memcpy(last, world->refresh, sizeof last);
    for (int64_t now_s = 200; now_s <= 1000; now_s += 200) {
        assert_int_equal(refresh(world, last, now_s, next), SESSION_OK);
        assert_string_not_equal(next, last);
        assert_int_equal(strlen(next), SESSION_REFRESH_SIZE - 1);
        memcpy(last, next, sizeof last);
    }
    assert_int_equal(ask(world, "SELECT count(*) FROM sessions"), 1);
    assert_true(ask(world, "SELECT count(*) FROM refresh_tokens") <= 2);
    assert_int_equal(ask(world, "SELECT count(*) FROM access_tokens"), 1);
}

static void only_a_hash_is_kept(void **state)
{
    struct world *world = *state;
    char *bytes;
    size_t n = 0;
    unsigned char raw[48];
    size_t length;

    assert_int_equal(begin(world, 100), SESSION_OK);
    sqlite3_wal_checkpoint_v2(world->database->sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                              NULL);
    assert_int_equal(sodium_base642bin(raw, sizeof raw, world->refresh, 64, NULL, &length, NULL,
                                       sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                     0);
    bytes = scratch_read(scratch_path(&world->scratch, "s.db"), &n);
    assert_non_null(memmem(bytes, n, raw, 16));
    assert_null(memmem(bytes, n, raw + 16, 32));
    assert_null(memmem(bytes, n, world->refresh, 64));
    free(bytes);
}

static void an_answer_that_was_lost_can_be_asked_for_again(void **state)
{
    struct world *world = *state;
    char one[SESSION_REFRESH_SIZE], two[SESSION_REFRESH_SIZE], three[SESSION_REFRESH_SIZE];

    assert_int_equal(begin(world, 100), SESSION_OK);
    assert_int_equal(refresh(world, world->refresh, 200, one), SESSION_OK);
    assert_int_equal(refresh(world, world->refresh, 210, two), SESSION_OK);
    assert_string_not_equal(one, two);
    /* Two pages at once: both may go on, until one of them has. */
    assert_int_equal(refresh(world, one, 212, three), SESSION_OK);
    assert_int_equal(refresh(world, two, 215, three), SESSION_OK);
    assert_int_equal(refresh(world, two, 223, three), SESSION_REUSED);
}

static void a_token_used_again_later_is_told_from_an_unknown_one(void **state)
{
    struct world *world = *state;
    char next[SESSION_REFRESH_SIZE], last[SESSION_REFRESH_SIZE], forged[SESSION_REFRESH_SIZE];

    assert_int_equal(begin(world, 100), SESSION_OK);
    assert_int_equal(refresh(world, world->refresh, 200, last), SESSION_OK);
    assert_int_equal(refresh(world, world->refresh, 211, next), SESSION_REUSED);
    assert_int_equal(sessions_check(world->database, world->refresh, 211), SESSION_REUSED);
    /* Long after its row is gone too. */
    assert_int_equal(refresh(world, last, 400, next), SESSION_OK);
    assert_int_equal(ask(world, "SELECT count(*) FROM refresh_tokens"), 2);
    assert_int_equal(refresh(world, world->refresh, 400, last), SESSION_REUSED);
    memcpy(forged, next, sizeof forged);
    memset(forged, 'A', 22);
    assert_int_equal(refresh(world, forged, 400, last), SESSION_REFUSED);
    for (const char *const *bad = (const char *const[]){"", "x", "=", NULL}; *bad; bad++)
        assert_int_equal(refresh(world, *bad, 400, last), SESSION_REFUSED);
    /* What refuses changes nothing: the right one still works. */
    assert_int_equal(refresh(world, next, 401, last), SESSION_OK);
}

static void it_ends_when_idle_and_it_ends_for_good(void **state)
{
    struct world *world = *state;
    char a[SESSION_REFRESH_SIZE], b[SESSION_REFRESH_SIZE];

    assert_int_equal(begin(world, 100), SESSION_OK);
    assert_int_equal(refresh(world, world->refresh, 400, a), SESSION_REFUSED);
    assert_int_equal(refresh(world, world->refresh, 399, a), SESSION_OK);
    assert_int_equal(refresh(world, a, 600, b), SESSION_OK);
    assert_int_equal(refresh(world, b, 890, a), SESSION_OK);
    assert_int_equal(refresh(world, a, 1099, b), SESSION_OK);
    assert_int_equal(refresh(world, b, 1100, a), SESSION_REFUSED);
}

static void the_end_of_a_session_revokes_its_tokens_and_no_others(void **state)
{
    struct world *world = *state;
    char first[SESSION_REFRESH_SIZE], next[SESSION_REFRESH_SIZE];

    assert_int_equal(begin(world, 100), SESSION_OK); /* t1 */
    memcpy(first, world->refresh, sizeof first);
    assert_int_equal(begin(world, 100), SESSION_OK);                /* t2 */
    assert_int_equal(refresh(world, first, 120, next), SESSION_OK); /* t3 */
    assert_int_equal(refresh(world, next, 160, next), SESSION_OK);  /* t4; t1 has expired */
    end(world, next, 165);
    assert_string_equal(revoked(world), "t3 t4 ");
    assert_int_equal(refresh(world, next, 166, first), SESSION_REFUSED);
    assert_int_equal(refresh(world, world->refresh, 166, first), SESSION_OK);
}

static void the_end_of_a_user_s_sessions_is_that_of_all_tokens(void **state)
{
    struct world *world = *state;
    char next[SESSION_REFRESH_SIZE];
    struct error error;
    struct user bob;

    add_user(world, "bob");
    assert_int_equal(begin(world, 100), SESSION_OK);
    assert_int_equal(begin(world, 5000), SESSION_OK); /* and then the clock is set back */
    assert_true(sessions_end_user(world->database, world->revocations, &world->user, 200, &error));
    assert_string_equal(revoked(world), "user ann t2 ");
    assert_int_equal(refresh(world, world->refresh, 201, next), SESSION_REFUSED);
    assert_int_equal(ask(world, "SELECT count(*) FROM sessions"), 0);
    assert_int_equal(ask(world, "SELECT count(*) FROM access_tokens"), 0);
    assert_int_equal(users_find(world->database, "bob", &bob), DB_OK);
    assert_true(sessions_end_user(world->database, world->revocations, &bob, 200, &error));
    user_fini(&bob);
}

/* Between the password and the session. */
static void who_was_changed_meanwhile_gets_nothing(void **state)
{
    struct world *world = *state;
    char next[SESSION_REFRESH_SIZE];

    assert_int_equal(begin(world, 100), SESSION_OK);
    assert_int_equal(users_set_disabled(world->database, "ann", true, 101), DB_OK);
    assert_int_equal(refresh(world, world->refresh, 102, next), SESSION_REFUSED);
    assert_int_equal(begin(world, 102), SESSION_REFUSED);
    assert_int_equal(users_set_disabled(world->database, "ann", false, 103), DB_OK);
    assert_int_equal(users_set_hash(world->database, "ann", "another", 104), DB_OK);
    assert_int_equal(begin(world, 105), SESSION_REFUSED);
    assert_int_equal(users_delete(world->database, "ann"), DB_OK);
    add_user(world, "ann");
    assert_int_equal(begin(world, 106), SESSION_REFUSED);
    assert_int_equal(ask(world, "SELECT count(*) FROM sessions"), 0);
}

static void what_a_user_can_have_is_bounded(void **state)
{
    struct world *world = *state;
    char first[SESSION_REFRESH_SIZE], next[SESSION_REFRESH_SIZE];

    assert_int_equal(begin(world, 100), SESSION_OK);
    memcpy(first, world->refresh, sizeof first);
    for (int i = 0; i < SESSION_MAX_PER_USER; i++)
        assert_int_equal(begin(world, 101), SESSION_OK);
    assert_int_equal(refresh(world, first, 102, next), SESSION_REFUSED);
    memcpy(first, world->refresh, sizeof first);
    for (int i = 1; i < SESSION_MAX_TOKENS; i++) {
        assert_int_equal(refresh(world, first, 103, next), SESSION_OK);
        memcpy(first, next, sizeof first);
    }
    assert_int_equal(refresh(world, first, 103, next), SESSION_BUSY);
    assert_int_equal(refresh(world, first, 160, next), SESSION_OK);
    /* What has ended is forgotten. */
    assert_int_equal(begin(world, 100000), SESSION_OK);
    assert_int_equal(ask(world, "SELECT count(*) FROM sessions"), 1);
}

static void a_token_leads_to_its_session(void **state)
{
    struct world *world = *state;
    struct session session;
    int64_t id;

    assert_int_equal(begin(world, 100), SESSION_OK);
    assert_int_equal(sessions_find_jti(world->database, "t1", &id), DB_OK);
    assert_int_equal(sessions_find(world->database, world->refresh, 100, &session), SESSION_OK);
    assert_int_equal(session.id, id);
    assert_string_equal(session.user, "ann");
    session_fini(&session);
    assert_int_equal(sessions_find_jti(world->database, "t9", &id), DB_NOT_FOUND);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(each_use_gives_the_next),
        IN_WORLD(only_a_hash_is_kept),
        IN_WORLD(an_answer_that_was_lost_can_be_asked_for_again),
        IN_WORLD(a_token_used_again_later_is_told_from_an_unknown_one),
        IN_WORLD(it_ends_when_idle_and_it_ends_for_good),
        IN_WORLD(the_end_of_a_session_revokes_its_tokens_and_no_others),
        IN_WORLD(the_end_of_a_user_s_sessions_is_that_of_all_tokens),
        IN_WORLD(who_was_changed_meanwhile_gets_nothing),
        IN_WORLD(what_a_user_can_have_is_bounded),
        IN_WORLD(a_token_leads_to_its_session),
    };

    return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
