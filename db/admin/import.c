/*
 * `sallyport import`: users from files of other programs, or from `sallyport export`.  Short
 * transactions with pauses, so that logins go on meanwhile; killed at any moment it is done again
 * and goes on, for who is there already is left alone.
 * What a hash may be is in kind.c; how it is verified, and when it becomes one of ours, is the
 * login service's business.
 */
#include "db/admin/claims.h"
#include "db/admin/instance.h"

#include "common/clock.h"
#include "common/log.h"
#include "db/connection.h"
#include "db/password.h"
#include "db/users.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 16384
#define BATCH_LINES    50
#define PAUSE_LEAST_MS 3
#define PROGRESS_MS    200
#define KINDS_MOST     8 /* more cost every login too much, and what is there may yet change */
#define SHADOW_FIELDS  9

/* What became of a line. */
enum verdict { TAKEN, THERE, NOBODY, LEFT, REFUSED, VERDICTS };

struct import;
struct form {
    const char *verb;
    enum verdict (*read)(struct import *import, char *line, struct user *user, struct error *why);
};

struct import {
    const struct request *request;
    const struct instance *instance;
    const struct form *form;
    FILE *file;
    const char *name;
    bool is_terminal, is_ended;
    size_t line, counts[VERDICTS];
    struct kinds kinds;
    json_t *read;        /* what the user of this line borrows from */
    json_t *seen;        /* the names of a dry run */
    json_t *passed_over; /* what was said */
    uint64_t shown_ms;
};

/* ---- the lines ------------------------------------------------------------------------------ */

static bool is_nobody(const char *line)
{
    return line[strspn(line, " \t")] == '\0' || *line == '#';
}

static enum verdict read_htpasswd(struct import *import, char *line, struct user *user,
                                  struct error *why)
{
    char *colon = strchr(line, ':');

    (void)import;
    if (is_nobody(line))
        return NOBODY;
    error_set(why, "there is no colon after a name");
    if (!colon)
        return REFUSED;
    *colon = '\0';
    user->name = line;
    user->hash = colon + 1;
    return TAKEN;
}

/* shadow(5). */
static enum verdict read_shadow(struct import *import, char *line, struct user *user,
                                struct error *why)
{
    char *fields[SHADOW_FIELDS] = {NULL}, *field;
    int64_t expires_days;
    size_t n = 0;

    (void)import;
    if (is_nobody(line))
        return NOBODY;
    for (; (field = strsep(&line, ":")); n++)
        if (n < SHADOW_FIELDS)
            fields[n] = field;
    error_set(why, "it has %zu fields, not the %d of shadow(5)", n, SHADOW_FIELDS);
    if (n != SHADOW_FIELDS)
        return REFUSED;
    user->name = fields[0];
    user->hash = fields[1];
    error_set(why, "without a password");
    if (!*user->hash)
        return LEFT;
    error_set(why, "locked");
    if (strchr("!*", *user->hash))
        return LEFT;
    expires_days = *fields[7] ? strtoll(fields[7], NULL, 10) : INT64_MAX;
    error_set(why, "expired");
    return expires_days <= clock_wall_s() / 86400 ? LEFT : TAKEN;
}

/* As `sallyport export` writes it. */
static enum verdict read_json(struct import *import, char *line, struct user *user,
                              struct error *why)
{
    json_int_t created_s = user->created_s;
    int disabled = 0;
    json_error_t where;

    if (is_nobody(line))
        return NOBODY;
    import->read = json_loads(line, JSON_REJECT_DUPLICATES, &where);
    /* Not in jansson's words, which repeat what stands there. */
    error_set(why, "it is not JSON, from character %d on", where.column);
    if (!import->read)
        return REFUSED;
    if (json_unpack_ex(import->read, &where, JSON_STRICT, "{s:s, s?s, s?b, s?I, s?o}", "name",
                       &user->name, "hash", &user->hash, "disabled", &disabled, "created",
                       &created_s, "claims", &user->claims) < 0) {
        error_set(why, "%s", where.text);
        return REFUSED;
    }
    user->disabled = disabled;
    user->created_s = created_s;
    error_set(why, "there is no hash; `sallyport export --hashes` gives them");
    if (!user->hash)
        return REFUSED;
    error_set(why, "\"created\" is before 1970");
    if (created_s < 0)
        return REFUSED;
    error_set(why, "the claims are no object");
    if (!json_is_object(user->claims))
        return REFUSED;
    return claims_check(user->claims, why) ? TAKEN : REFUSED;
}

static const struct form forms[] = {
    {"htpasswd", read_htpasswd}, {"shadow", read_shadow}, {"json", read_json}};

/* Without its end; what is too long is read to its end and not kept.  False: there is no more. */
static bool next_line(struct import *import, char line[LINE_MAX_BYTES], struct error *why)
{
    size_t n = 0, nuls = 0;
    int byte;

    while ((byte = getc_unlocked(import->file)) != EOF && byte != '\n') {
        nuls += byte == '\0';
        if (n < LINE_MAX_BYTES)
            line[n] = (char)byte;
        n++;
    }
    if (byte == EOF && n == 0)
        return false;
    why->text[0] = '\0';
    import->line++;
    if (n >= LINE_MAX_BYTES)
        error_set(why, "it is longer than %d bytes", LINE_MAX_BYTES - 1);
    else if (nuls)
        error_set(why, "there is a NUL in it");
    n = n < LINE_MAX_BYTES ? n : LINE_MAX_BYTES - 1;
    line[n] = '\0';
    if (n && line[n - 1] == '\r')
        line[n - 1] = '\0';
    return true;
}

/* ---- what becomes of them ------------------------------------------------------------------- */

static enum verdict judge(struct import *import, const struct user *user, struct error *why)
{
    struct kind kind;

    if (!user_name_is_valid(user->name, strlen(user->name))) {
        error_set(why,
                  "a name is 1 to %d bytes of UTF-8 without control characters, colons, or "
                  "white space at its ends",
                  USER_NAME_MAX_BYTES);
        return REFUSED;
    }
    if (!kind_read(user->hash, &kind, why))
        return REFUSED;
    if (kinds_have(&import->kinds, kind.text))
        return TAKEN;
    if (import->kinds.n >= KINDS_MOST) {
        error_set(why,
                  "its hash is of a kind that no user has yet, and there are %d kinds already: "
                  "each costs every login one more hash",
                  KINDS_MOST);
        return REFUSED;
    }
    memcpy(import->kinds.texts[import->kinds.n++], kind.text, sizeof kind.text);
    return TAKEN;
}

/* Who is there is left alone; with this very hash they came from here before. */
static enum verdict compare(struct import *import, const struct user *user, struct error *why)
{
    struct user there;
    enum verdict verdict = LEFT;

    error_set(why, "there is a user of that name already");
    if (users_find(import->instance->database, user->name, &there) != DB_OK)
        return verdict;
    if (strcmp(there.hash, user->hash) == 0)
        verdict = THERE;
    user_fini(&there);
    return verdict;
}

/* The same without adding them. */
static enum db_result look(struct import *import, const struct user *user)
{
    struct user there;
    enum db_result result = users_find(import->instance->database, user->name, &there);

    if (result == DB_OK) {
        user_fini(&there);
        return DB_EXISTS;
    }
    if (result != DB_NOT_FOUND)
        return result;
    if (json_object_get(import->seen, user->name))
        return DB_EXISTS;
    json_object_set_new(import->seen, user->name, json_true());
    return DB_OK;
}

static enum db_result add(struct import *import, const struct user *user, enum verdict *verdict,
                          struct error *why)
{
    enum db_result result = request_has(import->request, OPTION_DRY_RUN)
                                ? look(import, user)
                                : users_import(import->instance->database, user, clock_wall_s());

    if (result != DB_EXISTS)
        return result;
    *verdict = compare(import, user, why);
    return DB_OK;
}

static void clear_progress(const struct import *import)
{
    if (import->is_terminal)
        fputs("\r\033[K", stderr);
}

static void say(struct import *import, const char *name, const struct error *why)
{
    clear_progress(import);
    log_warning("%s:%zu: passed over%s%s: %s", import->name, import->line, name && *name ? " " : "",
                name ? name : "", why->text);
    if (request_has(import->request, OPTION_JSON))
        json_array_append_new(import->passed_over,
                              json_pack("{s:I, s:s*, s:s}", "line", (json_int_t)import->line,
                                        "name", name, "why", why->text));
}

static enum db_result take_line(struct import *import, char *line, struct error *why)
{
    json_t *claims = json_object();
    struct user user = {.claims = claims, .created_s = clock_wall_s()};
    enum verdict verdict = REFUSED;
    enum db_result result = DB_OK;

    if (!why->text[0])
        verdict = import->form->read(import, line, &user, why);
    if (verdict == TAKEN)
        verdict = judge(import, &user, why);
    if (verdict == TAKEN)
        result = add(import, &user, &verdict, why);
    if (result == DB_OK) {
        import->counts[verdict]++;
        if (verdict == LEFT || verdict == REFUSED)
            say(import, user.name, why);
    }
    json_decref(import->read);
    import->read = NULL;
    json_decref(claims);
    return result;
}

/* ---- in batches ----------------------------------------------------------------------------- */

static enum db_result take_lines(struct import *import)
{
    struct database *database = import->instance->database;
    bool changes = !request_has(import->request, OPTION_DRY_RUN);
    enum db_result result =
        changes || import->line == 0 ? users_kinds(database, &import->kinds) : DB_OK;
    char line[LINE_MAX_BYTES];
    struct error why;

    for (int i = 0; i < BATCH_LINES && result == DB_OK && !import->is_ended; i++) {
        if (next_line(import, line, &why))
            result = take_line(import, line, &why);
        else
            import->is_ended = true;
    }
    sodium_memzero(line, sizeof line);
    return result;
}

static enum db_result take_batch(struct import *import)
{
    struct database *database = import->instance->database;
    enum db_result result;

    if (request_has(import->request, OPTION_DRY_RUN))
        return take_lines(import);
    result = database_begin(database);
    return result == DB_OK ? database_end(database, take_lines(import)) : result;
}

/* Whoever waits for the lock looks for it every few milliseconds: as long as we had it, they may.
 */
static void pause_for(uint64_t ms)
{
    const struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

    nanosleep(&pause, NULL);
}

static void show_progress(struct import *import)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct stat status;
    long at = ftell(import->file);

    if (!import->is_terminal || now_ms - import->shown_ms < PROGRESS_MS)
        return;
    import->shown_ms = now_ms;
    fprintf(stderr, "\r\033[K%s: %zu lines", import->name, import->line);
    if (at > 0 && fstat(fileno(import->file), &status) == 0 && status.st_size > 0)
        fprintf(stderr, ", %d %%", (int)(100.0 * (double)at / (double)status.st_size));
}

static enum command_status take_all(struct import *import)
{
    enum db_result result = DB_OK;

    while (result == DB_OK && !import->is_ended) {
        uint64_t start_ms = clock_monotonic_ms(), took_ms;

        result = take_batch(import);
        took_ms = clock_monotonic_ms() - start_ms;
        show_progress(import);
        if (!import->is_ended && !request_has(import->request, OPTION_DRY_RUN))
            pause_for(took_ms > PAUSE_LEAST_MS ? took_ms : PAUSE_LEAST_MS);
    }
    clear_progress(import);
    if (result != DB_OK)
        return command_refuse(COMMAND_FAILED,
                              "the database: %s; what was taken before line %zu stays: "
                              "do it again to go on",
                              database_error(import->instance->database), import->line);
    if (ferror(import->file))
        return command_refuse(COMMAND_FAILED, "cannot read %s: %s", import->name, strerror(errno));
    return COMMAND_DONE;
}

/* ---- what is said of it --------------------------------------------------------------------- */

/* The least of a few: what else the machine does only makes it longer. */
static uint64_t login_ms(const struct import *import, const struct kinds *kinds)
{
    unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES];
    uint64_t least_ms = UINT64_MAX;

    for (int i = 0; i < 3; i++) {
        uint64_t start_ms = clock_monotonic_ms(), took_ms;

        password_verify(password_setting_of(import->instance->config), kinds, "", 0, NULL,
                        fingerprint);
        took_ms = clock_monotonic_ms() - start_ms;
        least_ms = took_ms < least_ms ? took_ms : least_ms;
    }
    return least_ms;
}

static void print_cost(const struct import *import)
{
    static const struct kinds none;
    uint64_t alone_ms = login_ms(import, &none), all_ms = login_ms(import, &import->kinds);

    if (all_ms > alone_ms + 1)
        printf(
            "a login takes about %llu ms, not %llu, as long as there are users with hashes from "
            "elsewhere:\nit costs the same for everybody, so that time tells nobody who they are\n",
            (unsigned long long)all_ms, (unsigned long long)alone_ms);
}

static void print_result(struct import *import)
{
    const size_t *counts = import->counts;

    if (request_has(import->request, OPTION_JSON)) {
        command_print_json(json_pack("{s:I, s:I, s:O}", "taken", (json_int_t)counts[TAKEN],
                                     "there_already", (json_int_t)counts[THERE], "passed_over",
                                     import->passed_over));
        return;
    }
    printf("%zu %s, %zu there already, %zu passed over\n", counts[TAKEN],
           request_has(import->request, OPTION_DRY_RUN) ? "would be taken" : "taken", counts[THERE],
           counts[LEFT] + counts[REFUSED]);
    if (counts[TAKEN])
        print_cost(import);
}

static const struct form *form_of(const struct request *request)
{
    const struct form *form = forms;

    while (strcmp(form->verb, request->command->verb) != 0)
        form++;
    return form;
}

/* The file is opened as who we are, before we become the databases' owner: who may read
 * /etc/shadow is not who may write those. */
static enum command_status run(struct import *import)
{
    enum command_status status = take_all(import);

    if (status != COMMAND_DONE)
        return status;
    print_result(import);
    if (import->counts[REFUSED])
        return command_refuse(COMMAND_FAILED, "%s: lines that could not be taken: %zu",
                              import->name, import->counts[REFUSED]);
    return COMMAND_DONE;
}

/* The file is opened as who we are, before we become the databases' owner: who may read
 * /etc/shadow is not who may write those. */
static enum command_status import_file(const struct request *request)
{
    bool is_stdin = strcmp(request->operand, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(request->operand, "re");
    struct instance instance = {0};
    enum command_status status;

    if (!file)
        return command_refuse(COMMAND_FAILED, "cannot read %s: %s", request->operand,
                              strerror(errno));
    status = instance_open(request, &instance);
    if (status == COMMAND_DONE) {
        struct import import = {.request = request,
                                .instance = &instance,
                                .form = form_of(request),
                                .file = file,
                                .name = is_stdin ? "stdin" : request->operand,
                                .is_terminal = isatty(STDERR_FILENO),
                                .seen = json_object(),
                                .passed_over = json_array()};

        status = run(&import);
        json_decref(import.seen);
        json_decref(import.passed_over);
    }
    if (!is_stdin)
        fclose(file);
    instance_close(&instance);
    return status;
}

#define OPTIONS_OF_IMPORT ACTS | TAKES(OPTION_DRY_RUN) | TAKES(OPTION_JSON)

/* clang-format off */
const struct command import_commands[] = {
    {"import", "htpasswd", "FILE", OPTIONS_OF_IMPORT, 0, "take users from a file of Apache's htpasswd; -: stdin", import_file},
    {"import", "shadow",   "FILE", OPTIONS_OF_IMPORT, 0, "take users from a file such as /etc/shadow", import_file},
    {"import", "json",     "FILE", OPTIONS_OF_IMPORT, 0, "take users from what `export --hashes` wrote", import_file},
    {0},
};
/* clang-format on */
