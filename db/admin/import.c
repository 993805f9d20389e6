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
#include "common/memory.h"
#include "db/connection.h"
#include "db/password.h"
#include "db/users.h"

#include <errno.h>
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

#define QUOTE(number) #number
#define TEXT(number)  QUOTE(number)

/* What becomes of a line. */
enum verdict { TAKEN, THERE, NOBODY, LEFT, REFUSED, VERDICTS };

struct line {
    char text[LINE_MAX_BYTES];
    size_t number;
    enum verdict verdict;
    struct error why; /* of LEFT and REFUSED */
    struct user user; /* borrows from these: */
    json_t *json, *claims;
};

struct form {
    const char *verb;
    enum verdict (*read)(struct line *line);
};

struct import {
    const struct request *request;
    const struct instance *instance;
    const struct form *form;
    FILE *file;
    const char *name;
    bool is_terminal, is_dry, is_ended;
    size_t n_lines, counts[VERDICTS];
    struct line *batch;
    size_t n_batch;
    struct kinds kinds, tried;
    json_t *seen;        /* the names of a dry run */
    json_t *passed_over; /* what was said, for --json */
    uint64_t shown_ms;
};

/* ---- the lines ------------------------------------------------------------------------------ */

static enum verdict refuse(struct line *line, const char *why)
{
    error_set(&line->why, "%s", why);
    return REFUSED;
}

static enum verdict leave(struct line *line, const char *why)
{
    error_set(&line->why, "%s", why);
    return LEFT;
}

static enum verdict read_htpasswd(struct line *line)
{
    char *colon = strchr(line->text, ':');

    if (!colon)
        return refuse(line, "there is no colon after a name");
    *colon = '\0';
    line->user.name = line->text;
    line->user.hash = colon + 1;
    return TAKEN;
}

/* shadow(5). */
static enum verdict read_shadow(struct line *line)
{
    char *fields[SHADOW_FIELDS] = {NULL}, *rest = line->text, *field;
    size_t n = 0;

    for (; (field = strsep(&rest, ":")); n++)
        if (n < SHADOW_FIELDS)
            fields[n] = field;
    if (n != SHADOW_FIELDS) {
        error_set(&line->why, "it has %zu fields, not the %d of shadow(5)", n, SHADOW_FIELDS);
        return REFUSED;
    }
    line->user.name = fields[0];
    line->user.hash = fields[1];
    if (!*fields[1])
        return leave(line, "without a password");
    if (strchr("!*", *fields[1]))
        return leave(line, "locked");
    if (*fields[7] && strtoll(fields[7], NULL, 10) <= clock_wall_s() / 86400)
        return leave(line, "expired");
    return TAKEN;
}

/* As `sallyport export` writes it.  Not in jansson's words where it is no JSON, for they repeat
 * what stands there. */
static enum verdict read_json(struct line *line)
{
    struct user *user = &line->user;
    json_int_t created_s = user->created_s;
    json_error_t where;
    int disabled = 0;

    line->json = json_loads(line->text, JSON_REJECT_DUPLICATES, &where);
    if (!line->json) {
        error_set(&line->why, "it is not JSON, from character %d on", where.column);
        return REFUSED;
    }
    if (json_unpack_ex(line->json, &where, JSON_STRICT, "{s:s, s?s, s?b, s?I, s?o}", "name",
                       &user->name, "hash", &user->hash, "disabled", &disabled, "created",
                       &created_s, "claims", &user->claims) < 0)
        return refuse(line, where.text);
    user->disabled = disabled;
    user->created_s = created_s;
    if (!user->hash)
        return refuse(line, "there is no hash; `sallyport export --hashes` gives them");
    if (created_s < 0)
        return refuse(line, "\"created\" is before 1970");
    if (!json_is_object(user->claims))
        return refuse(line, "the claims are no object");
    return claims_check(user->claims, &line->why) ? TAKEN : REFUSED;
}

static const struct form forms[] = {
    {"htpasswd", read_htpasswd}, {"shadow", read_shadow}, {"json", read_json}};

/* Without its end; what is too long is read to its end and not kept.  False: there is no more. */
static bool next_line(struct import *import, struct line *line)
{
    size_t n = 0, nuls = 0;
    int byte;

    while ((byte = getc_unlocked(import->file)) != EOF && byte != '\n') {
        nuls += byte == '\0';
        if (n < LINE_MAX_BYTES)
            line->text[n] = (char)byte;
        n++;
    }
    if (byte == EOF && n == 0)
        return false;
    line->verdict = TAKEN;
    line->number = ++import->n_lines;
    if (n >= LINE_MAX_BYTES)
        line->verdict = refuse(line, "it is longer than " TEXT(LINE_MAX_BYTES) " bytes");
    else if (nuls)
        line->verdict = refuse(line, "there is a NUL in it");
    n = n < LINE_MAX_BYTES ? n : LINE_MAX_BYTES - 1;
    line->text[n] = '\0';
    if (n && line->text[n - 1] == '\r')
        line->text[n - 1] = '\0';
    return true;
}

/* What this machine cannot verify would fail every login, since its kind is hashed for all. */
static bool can_verify(struct import *import, const struct kind *kind)
{
    struct password_setting setting = password_setting_of(import->instance->config);
    unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES];
    struct kinds one = {.n = 1}, *tried = &import->tried;

    if (kinds_have(tried, kind->text) || tried->n == KINDS_MAX)
        return true;
    memcpy(one.texts[0], kind->text, sizeof kind->text);
    if (password_verify(setting, &one, "", 0, NULL, fingerprint) == PASSWORD_FAILED)
        return false;
    memcpy(tried->texts[tried->n++], kind->text, sizeof kind->text);
    return true;
}

static enum verdict judge(struct import *import, struct line *line)
{
    static const char bad_name[] =
        "a name is 1 to " TEXT(USER_NAME_MAX_BYTES) " bytes of UTF-8 without control characters, "
                                                    "colons, or white space at its ends";
    const char *name = line->user.name;
    struct kind kind;

    if (!user_name_is_valid(name, strlen(name)))
        return refuse(line, bad_name);
    if (!kind_read(line->user.hash, &kind, &line->why))
        return REFUSED;
    return can_verify(import, &kind) ? TAKEN
                                     : refuse(line, "this machine cannot verify such a hash");
}

/* Here we may wait, for whoever writes the file; from here on nobody is waited for. */
static void read_batch(struct import *import)
{
    for (import->n_batch = 0; import->n_batch < BATCH_LINES; import->n_batch++) {
        struct line *line = &import->batch[import->n_batch];

        if (!next_line(import, line))
            break;
        line->claims = json_object();
        line->user = (struct user){.claims = line->claims, .created_s = clock_wall_s()};
        if (line->verdict == TAKEN &&
            (!line->text[strspn(line->text, " \t")] || line->text[0] == '#'))
            line->verdict = NOBODY;
        if (line->verdict == TAKEN)
            line->verdict = import->form->read(line);
        if (line->verdict == TAKEN)
            line->verdict = judge(import, line);
    }
    import->is_ended = import->n_batch < BATCH_LINES;
}

/* ---- the users ------------------------------------------------------------------------------ */

/* Of a kind that others have, or of one more that logins can bear. */
static bool is_bearable(struct import *import, struct line *line)
{
    struct kinds *kinds = &import->kinds;
    struct kind kind;

    if (!kind_read(line->user.hash, &kind, &line->why))
        return false;
    if (kinds_have(kinds, kind.text))
        return true;
    if (kinds->n >= KINDS_MOST)
        return error_set(&line->why,
                         "its hash is of a kind that no user has yet, and there are %d "
                         "kinds already: each costs every login one more hash",
                         KINDS_MOST);
    memcpy(kinds->texts[kinds->n++], kind.text, sizeof kind.text);
    return true;
}

/* What a dry run has of adding somebody. */
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

/* Who is there is left alone; with this very hash they came from here before. */
static enum verdict compare(struct import *import, struct line *line)
{
    struct user there;
    enum verdict verdict = leave(line, "there is a user of that name already");

    if (users_find(import->instance->database, line->user.name, &there) != DB_OK)
        return verdict;
    if (strcmp(there.hash, line->user.hash) == 0)
        verdict = THERE;
    user_fini(&there);
    return verdict;
}

static enum db_result add(struct import *import, struct line *line)
{
    enum db_result result;

    if (!is_bearable(import, line)) {
        line->verdict = REFUSED;
        return DB_OK;
    }
    result = import->is_dry ? look(import, &line->user)
                            : users_import(import->instance->database, &line->user, clock_wall_s());
    if (result != DB_EXISTS)
        return result;
    line->verdict = compare(import, line);
    return DB_OK;
}

static enum db_result add_lines(struct import *import)
{
    enum db_result result = DB_OK;

    if (!import->is_dry || !import->kinds.n)
        result = users_kinds(import->instance->database, &import->kinds);
    for (size_t i = 0; i < import->n_batch && result == DB_OK; i++)
        if (import->batch[i].verdict == TAKEN)
            result = add(import, &import->batch[i]);
    return result;
}

static enum db_result add_batch(struct import *import)
{
    struct database *database = import->instance->database;
    enum db_result result = DB_OK;

    if (import->is_dry)
        return add_lines(import);
    result = database_begin(database);
    return result == DB_OK ? database_end(database, add_lines(import)) : result;
}

/* ---- what is said of them ------------------------------------------------------------------- */

static void clear_progress(const struct import *import)
{
    if (import->is_terminal)
        fputs("\r\033[K", stderr);
}

static void show_progress(struct import *import)
{
    uint64_t now_ms = clock_monotonic_ms();
    long at = ftell(import->file);
    struct stat status;

    if (!import->is_terminal || now_ms - import->shown_ms < PROGRESS_MS)
        return;
    import->shown_ms = now_ms;
    fprintf(stderr, "\r\033[K%s: %zu lines", import->name, import->n_lines);
    if (at > 0 && fstat(fileno(import->file), &status) == 0 && status.st_size > 0)
        fprintf(stderr, ", %d %%", (int)(100.0 * (double)at / (double)status.st_size));
}

static void say(struct import *import, const struct line *line)
{
    const char *name = line->user.name && *line->user.name ? line->user.name : NULL;

    clear_progress(import);
    log_warning("%s:%zu: passed over%s%s: %s", import->name, line->number, name ? " " : "",
                name ? name : "", line->why.text);
    if (request_has(import->request, OPTION_JSON))
        json_array_append_new(import->passed_over,
                              json_pack("{s:I, s:s*, s:s}", "line", (json_int_t)line->number,
                                        "name", name, "why", line->why.text));
}

static void end_batch(struct import *import, bool is_done)
{
    for (size_t i = 0; i < import->n_batch; i++) {
        struct line *line = &import->batch[i];

        if (is_done)
            import->counts[line->verdict]++;
        if (is_done && (line->verdict == LEFT || line->verdict == REFUSED))
            say(import, line);
        json_decref(line->json);
        json_decref(line->claims);
        line->json = line->claims = NULL;
    }
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* Whoever waits for the lock looks for it every few milliseconds: as long as we had it, they may.
 */
static void pause_for(uint64_t ms)
{
    const struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

    nanosleep(&pause, NULL);
}

static enum command_status take_all(struct import *import)
{
    enum db_result result = DB_OK;

    while (result == DB_OK && !import->is_ended) {
        uint64_t start_ms, took_ms;

        read_batch(import);
        start_ms = clock_monotonic_ms();
        result = add_batch(import);
        took_ms = clock_monotonic_ms() - start_ms;
        end_batch(import, result == DB_OK);
        show_progress(import);
        if (!import->is_ended && !import->is_dry)
            pause_for(took_ms > PAUSE_LEAST_MS ? took_ms : PAUSE_LEAST_MS);
    }
    clear_progress(import);
    if (result != DB_OK)
        return command_refuse(COMMAND_FAILED,
                              "the database: %s; %zu were taken before: do it again to go on",
                              database_error(import->instance->database), import->counts[TAKEN]);
    if (ferror(import->file))
        return command_refuse(COMMAND_FAILED, "cannot read %s: %s", import->name, strerror(errno));
    return COMMAND_DONE;
}

/* The least of a few: what else the machine does only makes it longer. */
static unsigned login_ms(const struct import *import, const struct kinds *kinds)
{
    unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES];
    uint64_t least_ns = UINT64_MAX;

    for (int i = 0; i < 5; i++) {
        uint64_t start_ns = clock_monotonic_ns(), took_ns;

        password_verify(password_setting_of(import->instance->config), kinds, "", 0, NULL,
                        fingerprint);
        took_ns = clock_monotonic_ns() - start_ns;
        least_ns = took_ns < least_ns ? took_ns : least_ns;
    }
    return (unsigned)(least_ns / 1000000);
}

static void print_cost(const struct import *import)
{
    static const struct kinds none;
    struct password_setting setting = password_setting_of(import->instance->config);
    unsigned alone_ms = login_ms(import, &none), all_ms = login_ms(import, &import->kinds);

    if (all_ms > alone_ms + 1)
        printf(
            "a login hashes for about %u ms, not %u, as long as there are users with hashes from "
            "elsewhere:\nthe same for everybody, so that time tells nobody who they are\n",
            all_ms, alone_ms);
    if (!import->is_dry && password_memory_bytes(setting, &import->kinds) > setting.memory_bytes)
        printf("a hash takes up to %zu MiB now: reload sallyport-login, whose MemoryMax follows\n",
               password_memory_bytes(setting, &import->kinds) >> 20);
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
           import->is_dry ? "would be taken" : "taken", counts[THERE],
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
                                .is_dry = request_has(request, OPTION_DRY_RUN),
                                .batch = memory_zeroed(BATCH_LINES, sizeof(struct line)),
                                .seen = json_object(),
                                .passed_over = json_array()};

        status = run(&import);
        memory_free_wiped(import.batch);
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
