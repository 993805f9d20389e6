/*
 * Is this the user?  The same work whatever the name, so that time does not tell who exists: one
 * look-up, one attempt counted, one hash of each kind that any user has, one attempt settled.
 * How a body is read is the business of fields.c, what a user is given that of grant.c.
 */
#include "login-fcgi/login.h"

#include "common/clock.h"
#include "db/password.h"
#include "db/sessions.h"
#include "db/throttle.h"
#include "db/users.h"
#include "login-fcgi/fields.h"
#include "login-fcgi/grant.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* So long after it arrived a request still waits for a hash: those who are many at once are served
 * or, soon enough to come again, told to. */
#define LONGEST_WAIT_MS 3000

struct attempt {
    const struct service *service;
    struct stores *stores;
    const struct request *request;
    struct answer *answer;
    const struct field *username, *password, *fresh; /* fresh: the new password, or NULL */
    const char *client;
    struct kinds *kinds;
};

/* Who it was stands in the log where there is such a user.  A name that is nobody's does not, for
 * people type passwords there: the audit has a keyed hash of it. */
static void note(const struct attempt *attempt, const struct user *user,
                 const struct throttle_attempt *throttle, const char *result)
{
    recorder_note(attempt->stores->recorder, LOG_LEVEL_INFO,
                  &(struct audit_event){.event = attempt->fresh ? "password" : "login",
                                        .result = result,
                                        .user = user ? user->name : NULL,
                                        .subject = user || !throttle ? NULL : throttle->subject,
                                        .address = attempt->client});
}

static void refuse(struct answer *answer)
{
    answer_error(answer, 401, "wrong user name or password");
}

static uint64_t patience_ends_ms(const struct attempt *attempt)
{
    return attempt->request->arrived_ms + LONGEST_WAIT_MS;
}

static struct password_setting setting_of(const struct attempt *attempt)
{
    return password_setting_of(attempt->service->config);
}

/* The user with another password; what they had before is at its end. */
static bool change(const struct attempt *attempt, struct user *user)
{
    struct database *database = attempt->stores->database;
    char hash[PASSWORD_HASH_SIZE];
    struct error error = {"no memory"};
    struct turnstile *turnstile = attempt->stores->turnstile;
    enum db_result result = DB_FAILED;
    bool is_hashed = false;

    if (!turnstile_enter(turnstile, clock_monotonic_ms() + LONGEST_WAIT_MS)) {
        error_set(&error, "too many wait for login.hashes");
    } else {
        is_hashed =
            password_hash(setting_of(attempt), attempt->fresh->text, attempt->fresh->bytes, hash);
        turnstile_leave(turnstile);
    }
    database_enter(database);
    if (is_hashed) {
        result = users_replace_hash(database, user, hash, clock_wall_s());
        error_set(&error, "%s", database_error(database));
    }
    if (result == DB_OK &&
        !sessions_end_user(database, attempt->stores->revocations, user, clock_wall_s(), &error))
        result = DB_FAILED;
    database_leave(database);
    sodium_memzero(hash, sizeof hash);
    if (result != DB_OK)
        note(attempt, user, NULL, result == DB_FAILED ? "failed" : "changed meanwhile");
    if (result == DB_FAILED)
        grant_give_up(attempt->answer, "cannot change a password", error.text);
    else if (result == DB_NOT_FOUND)
        refuse(attempt->answer);
    else
        note(attempt, user, NULL, NULL);
    return result == DB_OK;
}

/* The right password in a hash of ours, where it came in another; at the next login where there is
 * no room for it now. */
static enum db_result renew(const struct attempt *attempt, struct user *user)
{
    struct stores *stores = attempt->stores;
    char hash[PASSWORD_HASH_SIZE];
    enum db_result result = DB_OK;
    struct error error;
    bool is_hashed = false;

    if (password_is_ours(setting_of(attempt), user->hash))
        return DB_OK;
    if (turnstile_enter(stores->turnstile, patience_ends_ms(attempt))) {
        is_hashed = password_hash(setting_of(attempt), attempt->password->text,
                                  attempt->password->bytes, hash);
        turnstile_leave(stores->turnstile);
    }
    database_enter(stores->database);
    if (is_hashed)
        result = users_replace_hash(stores->database, user, hash, clock_wall_s());
    error_set(&error, "%s", database_error(stores->database));
    database_leave(stores->database);
    sodium_memzero(hash, sizeof hash);
    if (result == DB_FAILED) {
        note(attempt, user, NULL, "failed");
        grant_give_up(attempt->answer, "cannot renew a hash", error.text);
    }
    return result;
}

static void admit(const struct attempt *attempt, struct user *user)
{
    enum db_result renewed = DB_OK;

    if (attempt->fresh && !change(attempt, user))
        return;
    if (!attempt->fresh)
        renewed = renew(attempt, user);
    if (renewed == DB_FAILED)
        return;
    if (renewed == DB_OK &&
        grant_begin(attempt->service, attempt->stores, user, attempt->request, attempt->answer))
        return;
    note(attempt, user, NULL, "changed meanwhile");
    refuse(attempt->answer);
}

static void refuse_to_guess(const struct attempt *attempt, unsigned wait_s)
{
    answer_error(attempt->answer, 429, "too many attempts; come again later");
    attempt->answer->retry_after_s = wait_s;
}

static const char *reason_of(const struct user *user, enum password_result result, bool is_busy)
{
    if (is_busy)
        return "busy";
    if (result == PASSWORD_FAILED)
        return "failed";
    if (!user)
        return "unknown user";
    return result == PASSWORD_WRONG ? "wrong password" : "disabled";
}

/* What the hash says, once it is our turn to hash; `is_busy`: it never was. */
static enum password_result verify(const struct attempt *attempt, const struct user *user,
                                   unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES],
                                   bool *is_busy)
{
    struct turnstile *turnstile = attempt->stores->turnstile;
    enum password_result result = PASSWORD_FAILED;

    *is_busy = !turnstile_enter(turnstile, patience_ends_ms(attempt));
    if (*is_busy)
        return result;
    result = password_verify(setting_of(attempt), attempt->kinds, attempt->password->text,
                             attempt->password->bytes, user ? user->hash : NULL, fingerprint);
    turnstile_leave(turnstile);
    return result;
}

/* False: we failed, which is answered. */
static bool settle(const struct attempt *attempt, const struct user *user,
                   const struct throttle_attempt *throttle, enum throttle_outcome outcome,
                   const unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES])
{
    struct database *database = attempt->stores->database;
    struct error error;
    bool is_done;

    database_enter(database);
    is_done = throttle_settle(database, throttle, outcome, fingerprint, clock_wall_s()) == DB_OK;
    error_set(&error, "%s", database_error(database));
    database_leave(database);
    if (is_done)
        return true;
    note(attempt, user, throttle, "failed");
    grant_give_up(attempt->answer, "cannot count an attempt", error.text);
    return false;
}

/* `user` is NULL where there is none of that name. */
static void decide(const struct attempt *attempt, struct user *user,
                   const struct throttle_attempt *throttle)
{
    unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES] = {0};
    bool is_busy;
    enum password_result result = verify(attempt, user, fingerprint, &is_busy);
    bool is_right = result == PASSWORD_RIGHT && user && !user->disabled;
    enum throttle_outcome outcome = result == PASSWORD_FAILED ? THROTTLE_UNDECIDED
                                    : is_right                ? THROTTLE_RIGHT
                                                              : THROTTLE_WRONG;

    if (!settle(attempt, user, throttle, outcome, fingerprint))
        return;
    if (!is_right)
        note(attempt, user, throttle, reason_of(user, result, is_busy));
    if (is_busy) {
        answer_unavailable(attempt->answer);
    } else if (result == PASSWORD_FAILED) {
        grant_give_up(attempt->answer, "cannot verify a password",
                      "no memory, or the hash is in no known form");
    } else if (is_right) {
        admit(attempt, user);
    } else {
        refuse(attempt->answer);
    }
}

/*
 * Ask again while it is only a second to wait: so long, and no longer, are those kept waiting who
 * are many at once, and whose others' right passwords make it nothing to wait for.
 */
static enum throttle_result reserve(const struct attempt *attempt, const struct user *user,
                                    struct throttle_attempt *throttle, unsigned *wait_s)
{
    struct database *database = attempt->stores->database;
    const struct timespec pause = {0, 20000000};
    enum throttle_result result;

    for (;;) {
        result = throttle_reserve(database, attempt->username->text, user ? user->id : 0,
                                  attempt->client, clock_wall_s(), throttle, wait_s);
        if (result != THROTTLE_WAIT || *wait_s > 1 ||
            clock_monotonic_ms() >= patience_ends_ms(attempt))
            return result;
        database_leave(database);
        nanosleep(&pause, NULL);
        database_enter(database);
    }
}

static enum db_result find(const struct attempt *attempt, struct user *user)
{
    struct database *database = attempt->stores->database;

    if (users_kinds(database, attempt->kinds) != DB_OK)
        return DB_FAILED;
    if (!user_name_is_valid(attempt->username->text, attempt->username->bytes))
        return DB_NOT_FOUND;
    return users_find(database, attempt->username->text, user);
}

static void find_and_try(const struct attempt *attempt)
{
    struct database *database = attempt->stores->database;
    enum throttle_result verdict = THROTTLE_FAILED;
    struct throttle_attempt throttle;
    struct user found, *user = NULL;
    const char *failure = "cannot look up a user";
    enum db_result result;
    struct error error;
    unsigned wait_s;

    database_enter(database);
    database_look(database);
    result = find(attempt, &found);
    if (result == DB_OK)
        user = &found;
    if (result != DB_FAILED) {
        failure = "cannot count an attempt";
        verdict = reserve(attempt, user, &throttle, &wait_s);
    }
    error_set(&error, "%s", database_error(database));
    database_leave(database);

    if (verdict == THROTTLE_PASS) {
        decide(attempt, user, &throttle);
    } else if (verdict == THROTTLE_WAIT) {
        note(attempt, user, &throttle, "throttled");
        refuse_to_guess(attempt, wait_s);
    } else {
        note(attempt, user, NULL, "failed");
        grant_give_up(attempt->answer, failure, error.text);
    }
    if (user)
        user_fini(user);
}

static void answer_with(const struct service *service, struct stores *stores,
                        struct request *request, struct answer *answer, bool changes)
{
    struct field list[] = {{.name = "username"}, {.name = "password"}, {.name = "new_password"}};
    struct fields fields = {.list = list, .n = changes ? 3 : 2};
    struct kinds kinds;
    const struct attempt attempt = {service,
                                    stores,
                                    request,
                                    answer,
                                    &list[0],
                                    &list[1],
                                    changes ? &list[2] : NULL,
                                    *request->client ? request->client : "nowhere",
                                    &kinds};

    if (!fields_read(&fields, request, answer))
        return;
    if (clock_monotonic_ms() > patience_ends_ms(&attempt)) {
        note(&attempt, NULL, NULL, "busy");
        answer_unavailable(answer);
    } else if (changes && list[2].bytes > PASSWORD_MAX_BYTES) {
        answer_error(answer, 400, "new_password is too long");
    } else {
        find_and_try(&attempt);
    }
    fields_fini(&fields);
}

void login_answer(const struct service *service, struct stores *stores, struct request *request,
                  struct answer *answer)
{
    answer_with(service, stores, request, answer, false);
}

void login_change(const struct service *service, struct stores *stores, struct request *request,
                  struct answer *answer)
{
    answer_with(service, stores, request, answer, true);
}
