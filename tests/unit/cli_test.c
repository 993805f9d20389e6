/*
 * The administrator's command as people and scripts use it: the real program beside this one, on
 * pipes and on a real terminal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "common/config.h"
#include "db/connection.h"
#include "db/password.h"
#include "db/revocations.h"
#include "db/throttle.h"
#include "db/users.h"
#include "tests/unit/scratch.h"

#define NOBODY    65534
#define PATIENCE  20000 /* ms, for a machine that does much else */
#define MAX_WORDS 24

static char program[PATH_MAX];

struct world {
    struct scratch scratch;
    char folder[128], config[160], database[160];
    char *out, *err; /* of the last run */
    size_t out_bytes;
};

/* ---- running it ----------------------------------------------------------------------------- */

static int open_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);

    scratch_new(&world->scratch);
    snprintf(world->folder, sizeof world->folder, "%s/instance", world->scratch.folder);
    snprintf(world->config, sizeof world->config, "%s/sallyport.conf", world->folder);
    snprintf(world->database, sizeof world->database, "%s/sallyport.db", world->folder);
    *state = world;
    return 0;
}

static int close_world(void **state)
{
    struct world *world = *state;

    scratch_free(&world->scratch);
    free(world->out);
    free(world->err);
    free(world);
    return 0;
}

static void redirect(const char *path, int flags, int fd)
{
    int opened = open(path, flags, 0600);

    if (opened < 0 || dup2(opened, fd) < 0)
        _exit(99);
    close(opened);
}

/* What execv takes; after "..." it is "-c CONFIG", or for init the words as they are. */
static void collect(const struct world *world, va_list words, char *argv[MAX_WORDS])
{
    size_t n = 0;
    const char *word = va_arg(words, const char *);

    argv[n++] = (char *)(uintptr_t) "sallyport";
    if (word && *word != '-' && strcmp(word, "init")) {
        argv[n++] = (char *)(uintptr_t) "-c";
        argv[n++] = (char *)(uintptr_t)world->config;
    }
    for (; word && n < MAX_WORDS - 1; word = va_arg(words, const char *))
        argv[n++] = (char *)(uintptr_t)word;
    argv[n] = NULL;
}

/* Run it to its end, without a terminal; its exit status. */
static int run_to(struct world *world, const char *out, const char *input, size_t input_bytes,
                  va_list words)
{
    const char *in = scratch_path(&world->scratch, "in");
    const char *err = scratch_path(&world->scratch, "err");
    char *argv[MAX_WORDS];
    FILE *file = fopen(in, "w");
    int status;
    pid_t child;

    assert_non_null(file);
    assert_int_equal(fwrite(input, 1, input_bytes, file), input_bytes);
    fclose(file);
    collect(world, words, argv);
    child = fork();
    if (child == 0) {
        setsid();
        redirect(in, O_RDONLY, STDIN_FILENO);
        redirect(out, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
        redirect(err, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
        execv(program, argv);
        _exit(98);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    free(world->out);
    free(world->err);
    world->out = scratch_read(out, &world->out_bytes);
    world->err = scratch_read(err, NULL);
    if (!WIFEXITED(status))
        fail_msg("it died of signal %d: %s", WTERMSIG(status), world->err);
    return WEXITSTATUS(status);
}

static int run_with(struct world *world, const char *input, size_t input_bytes, ...)
{
    va_list words;
    int status;

    va_start(words, input_bytes);
    status = run_to(world, scratch_path(&world->scratch, "out"), input, input_bytes, words);
    va_end(words);
    return status;
}

#define run(world, ...)         run_with(world, "", 0, __VA_ARGS__, NULL)
#define feed(world, input, ...) run_with(world, input, sizeof input - 1, __VA_ARGS__, NULL)
#define assert_exit(expected, call)                                                                \
    do {                                                                                           \
        int status_ = (call);                                                                      \
        if (status_ != (expected))                                                                 \
            fail_msg("exit %d, not %d: %s", status_, expected, world->err);                        \
    } while (0)

static void assert_said(const struct world *world, const char *words)
{
    if (strncmp(world->err, "sallyport: ", 11) || !strstr(world->err, words))
        fail_msg("not said: \"%s\" in \"%s\"", words, world->err);
}

static void assert_printed(const struct world *world, const char *words)
{
    if (!strstr(world->out, words))
        fail_msg("not printed: \"%s\" in \"%s\"", words, world->out);
}

/* The one line of JSON that was printed; the caller's. */
static json_t *printed_json(const struct world *world)
{
    json_t *value = json_loads(world->out, 0, NULL);

    if (!value || strchr(world->out, '\n') != world->out + world->out_bytes - 1)
        fail_msg("not one line of JSON: %s", world->out);
    return value;
}

static void make_instance(struct world *world)
{
    assert_exit(0, run(world, "init", "--dir", world->folder));
}

static void make_ann(struct world *world)
{
    make_instance(world);
    assert_exit(0, feed(world, "correct horse\n", "user", "add", "ann", "--password-stdin",
                        "--claim", "email=ann@example.org"));
}

static enum password_result try_password(const struct world *world, const char *name,
                                         const char *password, size_t bytes)
{
    struct error error;
    struct database *database = database_open(world->database, false, &error);
    unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES];
    enum password_result result;
    struct user user;

    assert_non_null(database);
    assert_int_equal(users_find(database, name, &user), DB_OK);
    result = password_verify((struct password_setting){(size_t)7 << 20, 5}, &(struct kinds){0},
                             password, bytes, user.hash, fingerprint);
    user_fini(&user);
    database_close(&database);
    return result;
}

/* ---- init ----------------------------------------------------------------------------------- */

static mode_t mode_of(const struct world *world, const char *name)
{
    char path[256];
    struct stat status;

    snprintf(path, sizeof path, "%s/%s", world->folder, name);
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static void init_makes_an_instance_that_issues_tokens_which_verify(void **state)
{
    struct world *world = *state;
    char token[4096];

    make_ann(world);
    assert_int_equal(mode_of(world, "") & 07, 0);
    assert_int_equal(mode_of(world, "sallyport.db"), 0600);
    assert_int_equal(mode_of(world, "revocations.db"), 0640);
    assert_int_equal(mode_of(world, "keys") & 07, 0);
    assert_int_equal(mode_of(world, "keys/private"), 0700);
    assert_true(mode_of(world, "relay.rules") & 0400);
    assert_exit(0, run(world, "token", "issue", "ann"));
    snprintf(token, sizeof token, "%s", world->out);
    assert_exit(0, run_with(world, token, strlen(token), "token", "inspect", NULL));
    assert_printed(world, "verifies  yes");
}

static void init_writes_each_setting_into_its_group(void **state)
{
    struct world *world = *state;
    struct config *config;
    struct error error;
    char socket[256];

    assert_exit(0, run(world, "init", "--dir", world->folder, "--listen", "[::1]:9", "--set",
                       "gateway.limits.per_address=0", "--set", "token.audience=one", "--set",
                       "gateway.workers=3", "--set=token.audience=two", "--set",
                       "token.lifetime=90m"));
    config = config_read(world->config, &error);
    if (!config)
        fail_msg("%s", error.text);
    snprintf(socket, sizeof socket, "%s/login.sock", world->folder);
    assert_string_equal(config->gateway_listen, "[::1]:9");
    assert_int_equal(config->limits_per_address, 0);
    assert_int_equal(config->limits_per_user, 50);
    assert_int_equal(config->gateway_workers, 3);
    assert_int_equal(config->token_lifetime, 90 * 60 * 1000);
    assert_string_equal(config->token_audience[0], "one");
    assert_string_equal(config->token_audience[1], "two");
    assert_null(config->token_audience[2]);
    assert_string_equal(config->login_listen, socket);
    assert_string_equal(config->login_database, world->database);
    config_free(&config);
}

/* Whoever takes a # away gets what was there as the default. */
static void the_comments_of_the_config_are_the_defaults(void **state)
{
    struct world *world = *state;
    const struct setting *settings;
    struct config *before, *after;
    char *text, *at;
    struct error error;

    make_instance(world);
    before = config_read(world->config, &error);
    assert_non_null(before);
    text = scratch_read(world->config, NULL);
    for (at = text; (at = strchr(at, '\n')); at++) {
        char *mark = at + 1 + strspn(at + 1, " ");

        if (*mark == '#' && mark[strspn(mark, "# abcdefghijklmnopqrstuvwxyz_0123456789")] == '=')
            *mark = ' ';
    }
    scratch_write(world->config, text);
    after = config_read(world->config, &error);
    if (!after)
        fail_msg("%s", error.text);
    for (size_t i = 0, n = config_settings(&settings); i < n; i++) {
        assert_string_equal(config_show_value(before, i), config_show_value(after, i));
        assert_string_not_equal(config_source(after, i), "default");
    }
    config_free(&before);
    config_free(&after);
    free(text);
}

static void init_leaves_an_instance_as_it_is(void **state)
{
    struct world *world = *state;
    char *before, *after;
    const char *rules;

    make_instance(world);
    before = scratch_read(world->config, NULL);
    assert_exit(4, run(world, "init", "--dir", world->folder, "--set", "gateway.workers=7"));
    assert_said(world, world->config);
    after = scratch_read(world->config, NULL);
    assert_string_equal(before, after);
    free(before);
    free(after);
    /* One of its parts is enough. */
    rules = scratch_path(&world->scratch, "other/relay.rules");
    assert_int_equal(mkdir(scratch_path(&world->scratch, "other"), 0700), 0);
    scratch_write(rules, "mine");
    assert_exit(4, run(world, "init", "--dir", scratch_path(&world->scratch, "other")));
    assert_int_equal(access(scratch_path(&world->scratch, "other/sallyport.conf"), F_OK), -1);
}

static void init_takes_a_folder_with_other_things_in_it(void **state)
{
    struct world *world = *state;

    assert_int_equal(mkdir(world->folder, 0755), 0);
    scratch_write(scratch_path(&world->scratch, "instance/lighttpd.conf"), "theirs");
    make_instance(world);
    assert_int_equal(mode_of(world, ""), 0755);
}

static void init_makes_nothing_of_a_setting_it_refuses(void **state)
{
    static const struct {
        const char *set, *said;
    } cases[] = {
        {"gateway.wrkers=1", "gateway.workers"}, {"gateway.workers=many", "gateway.workers"},
        {"gateway.workers", "NAME=VALUE"},       {"gateway.listen=nowhere", "gateway.listen"},
        {"gateway=1", "gateway is a group"},     {"keys=/tmp/keys", "keys"},
        {"login.database=/tmp/db", "database"},  {"=1", "setting"},
    };
    struct world *world = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_exit(2, run(world, "init", "--dir", world->folder, "--set", cases[i].set));
        assert_said(world, cases[i].said);
    }
    assert_exit(2, run(world, "init", "--dir", world->folder, "--set", "gateway.workers=1", "--set",
                       "gateway.workers=2"));
    assert_said(world, "twice");
    assert_exit(2, run(world, "init", "--dir", world->folder, "--listen", "127.0.0.1:1", "--set",
                       "gateway.listen=127.0.0.1:2"));
    assert_exit(2, run(world, "init", "--set", "gateway.workers=1"));
    assert_said(world, "--dir is missing");
    assert_int_equal(access(world->folder, F_OK), -1);
    assert_exit(1, run(world, "init", "--dir", scratch_path(&world->scratch, "a/b")));
}

/* As a package leaves it: config and folders. */
static void init_without_a_folder_makes_what_the_config_lacks_and_only_that(void **state)
{
    struct world *world = *state;
    char first[4096];

    assert_int_equal(mkdir(world->folder, 0750), 0);
    assert_int_equal(mkdir(scratch_path(&world->scratch, "instance/keys"), 0750), 0);
    scratch_write(world->config, "keys = \"keys\"; login: { database = \"sallyport.db\"; };"
                                 "token: { revocations = \"revocations.db\"; };");
    assert_exit(0, run(world, "-c", world->config, "init"));
    assert_printed(world, "made the key ");
    assert_printed(world, "made the database ");
    assert_printed(world, "made the revocations ");
    assert_int_equal(mode_of(world, "sallyport.db"), 0600);
    assert_int_equal(mode_of(world, "revocations.db"), 0640);
    assert_exit(0, run(world, "key", "list"));
    assert_printed(world, "signs and verifies");
    snprintf(first, sizeof first, "%s", world->out);
    assert_exit(0, feed(world, "correct horse\n", "user", "add", "ann", "--password-stdin"));

    assert_exit(0, run(world, "-c", world->config, "init"));
    assert_printed(world, "nothing was changed");
    assert_exit(0, run(world, "key", "list"));
    assert_string_equal(world->out, first);
    assert_exit(0, run(world, "user", "show", "ann"));

    assert_int_equal(unlink(world->database), 0);
    assert_exit(0, run(world, "-c", world->config, "init", "--json"));
    assert_printed(world, "\"key\":null");
    assert_printed(world, "/sallyport.db\"");
}

static void init_without_a_folder_needs_the_one_of_the_keys(void **state)
{
    struct world *world = *state;

    assert_int_equal(mkdir(world->folder, 0750), 0);
    scratch_write(world->config, "keys = \"keys\"; login: { database = \"sallyport.db\"; };"
                                 "token: { revocations = \"revocations.db\"; };");
    assert_exit(1, run(world, "-c", world->config, "init"));
    assert_said(world, "cannot read the folder of the keys, ");
    assert_int_equal(access(world->database, F_OK), -1);
}

/* ---- users ---------------------------------------------------------------------------------- */

static void a_user_goes_through_every_verb(void **state)
{
    struct world *world = *state;
    json_t *user, *list;

    make_ann(world);
    assert_exit(0, run(world, "user", "show", "ann", "--json"));
    user = printed_json(world);
    assert_string_equal(json_string_value(json_object_get(user, "name")), "ann");
    assert_false(json_is_true(json_object_get(user, "disabled")));
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(user, "claims"), "email")),
        "ann@example.org");
    json_decref(user);
    assert_exit(0, run(world, "user", "disable", "ann", "--json"));
    user = printed_json(world);
    assert_true(json_is_true(json_object_get(user, "disabled")));
    json_decref(user);
    assert_exit(0, run(world, "user", "list"));
    assert_printed(world, "ID  NAME");
    assert_printed(world, "1   ann   disabled");
    assert_exit(0, run(world, "user", "enable", "ann"));
    assert_printed(world, "enabled");
    assert_exit(0, feed(world, "another\n", "user", "passwd", "ann", "--password-stdin"));
    assert_int_equal(try_password(world, "ann", "another", 7), PASSWORD_RIGHT);
    assert_exit(0, run(world, "user", "delete", "ann"));
    assert_exit(0, run(world, "user", "list", "--json"));
    list = printed_json(world);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

static void nobody_is_not_found_and_ann_exists(void **state)
{
    static const char *const verbs[] = {"show", "disable", "enable", "delete"};
    struct world *world = *state;

    make_ann(world);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        assert_exit(3, run(world, "user", verbs[i], "nobody"));
        assert_said(world, "there is no user \"nobody\"");
        assert_string_equal(world->out, "");
    }
    assert_exit(3, feed(world, "x\n", "user", "passwd", "nobody", "--password-stdin"));
    assert_exit(3, run(world, "token", "issue", "nobody"));
    assert_exit(4, feed(world, "x\n", "user", "add", "ann", "--password-stdin"));
    assert_said(world, "ann");
    assert_int_equal(try_password(world, "ann", "correct horse", 13), PASSWORD_RIGHT);
}

static void the_password_is_the_first_line_and_all_of_it(void **state)
{
    static char longest[PASSWORD_MAX_BYTES + 2];
    struct world *world = *state;

    make_ann(world);
    assert_exit(0, feed(world, "one\ntwo\n", "user", "passwd", "ann", "--password-stdin"));
    assert_int_equal(try_password(world, "ann", "one", 3), PASSWORD_RIGHT);
    assert_exit(0, feed(world, "no newline", "user", "passwd", "ann", "--password-stdin"));
    assert_int_equal(try_password(world, "ann", "no newline", 10), PASSWORD_RIGHT);
    assert_exit(0, feed(world, " \xc3\xa4\r \n", "user", "passwd", "ann", "--password-stdin"));
    assert_exit(1, feed(world, "a\0b\n", "user", "passwd", "ann", "--password-stdin"));
    assert_exit(1, feed(world, "\xe4\n", "user", "passwd", "ann", "--password-stdin"));
    assert_said(world, "not UTF-8");
    assert_int_equal(try_password(world, "ann", " \xc3\xa4\r ", 5), PASSWORD_RIGHT);
    memset(longest, 'z', sizeof longest);
    assert_exit(0, run_with(world, longest, PASSWORD_MAX_BYTES, "user", "passwd", "ann",
                            "--password-stdin", NULL));
    assert_int_equal(try_password(world, "ann", longest, PASSWORD_MAX_BYTES), PASSWORD_RIGHT);
    assert_exit(1, run_with(world, longest, PASSWORD_MAX_BYTES + 1, "user", "passwd", "ann",
                            "--password-stdin", NULL));
    assert_said(world, "longer than 1024 bytes");
    assert_exit(1, feed(world, "\n", "user", "passwd", "ann", "--password-stdin"));
    assert_said(world, "no password");
    assert_exit(1, feed(world, "", "user", "passwd", "ann", "--password-stdin"));
    assert_int_equal(try_password(world, "ann", longest, PASSWORD_MAX_BYTES), PASSWORD_RIGHT);
}

static void claims_are_checked_before_anything_is_done(void **state)
{
    static const struct {
        const char *option, *value, *said;
    } cases[] = {
        {"--claim", "exp=1", "\"exp\""},         {"--claim", "sub=x", "\"sub\""},
        {"--claim", "id=7", "\"id\""},           {"--claims", "{\"iss\":1}", "\"iss\""},
        {"--claims", "{\"id\":1}", "\"id\""},    {"--claims", "[]", "object"},
        {"--claims", "{", "--claims"},           {"--claims", "{\"a\":1,\"a\":2}", "--claims"},
        {"--claims", "{\"a\":1} x", "--claims"}, {"--claim", "a", "NAME=VALUE"},
        {"--claim", "=a", "without a name"},     {"--claim", "a=\xff", "UTF-8"},
        {"--claim", "\xff=a", "UTF-8"},
    };
    struct world *world = *state;
    char big[5000];

    make_instance(world);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_exit(2, feed(world, "x\n", "user", "add", "bob", "--password-stdin", cases[i].option,
                            cases[i].value));
        assert_said(world, cases[i].said);
    }
    assert_exit(2, feed(world, "x\n", "user", "add", "bob", "--password-stdin", "--claim", "a=1",
                        "--claims", "{\"a\":2}"));
    assert_said(world, "twice");
    snprintf(big, sizeof big, "a=%04900d", 0);
    assert_exit(2, feed(world, "x\n", "user", "add", "bob", "--password-stdin", "--claim", big));
    assert_said(world, "4096");
    assert_exit(3, run(world, "user", "show", "bob"));
}

static void names_that_are_not_names_are_refused(void **state)
{
    static const char *const names[] = {"", " a", "a ", "a\nb", "a\x1b[31m", "\xff"};
    struct world *world = *state;

    make_instance(world);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_exit(2, feed(world, "x\n", "user", "add", names[i], "--password-stdin"));
        assert_said(world, "a name is");
    }
}

/* However it came into the database. */
static void what_a_terminal_would_obey_is_escaped(void **state)
{
    struct world *world = *state;
    json_t *claims = json_pack("{s:s}", "email", "\x1b]0;\xc2\x9b");
    struct database *database;
    struct error error;

    make_instance(world);
    database = database_open(world->database, false, &error);
    assert_int_equal(users_add(database, "e\x1b[31m\nvil\x7f\xc2\x9b", "x", claims, 1), DB_OK);
    database_close(&database);
    json_decref(claims);
    assert_exit(0, run(world, "user", "list"));
    assert_printed(world, "e\\x1b[31m\\x0avil\\x7f\\xc2\\x9b");
    assert_null(strpbrk(world->out, "\x1b\x7f\x9b"));
    assert_exit(0, run(world, "user", "list", "--json"));
    assert_null(strpbrk(world->out, "\x1b\x9b"));
    assert_exit(3, run(world, "user", "show", "\x1b[31m"));
    assert_null(strchr(world->err, '\x1b'));
}

/* ---- tokens --------------------------------------------------------------------------------- */

static void a_token_holds_the_users_claims_and_nothing_else_is_printed(void **state)
{
    struct world *world = *state;
    json_t *answer, *claims;
    char token[4096];
    int dots = 0;

    make_ann(world);
    assert_exit(0, run(world, "token", "issue", "ann", "--lifetime", "3s"));
    assert_string_equal(world->err, "");
    for (size_t i = 0; i + 1 < world->out_bytes; i++) {
        dots += world->out[i] == '.';
        assert_non_null(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.",
                               world->out[i]));
    }
    assert_int_equal(dots, 2);
    assert_int_equal(world->out[world->out_bytes - 1], '\n');
    snprintf(token, sizeof token, " %s\n", world->out);
    assert_exit(0, run_with(world, token, strlen(token), "token", "inspect", "--json", NULL));
    answer = printed_json(world);
    claims = json_object_get(answer, "claims");
    assert_true(json_is_true(json_object_get(answer, "verifies")));
    assert_string_equal(json_string_value(json_object_get(claims, "sub")), "ann");
    assert_string_equal(json_string_value(json_object_get(claims, "email")), "ann@example.org");
    assert_int_equal(json_integer_value(json_object_get(claims, "id")), 1);
    assert_int_equal(json_integer_value(json_object_get(claims, "exp")) -
                         json_integer_value(json_object_get(claims, "iat")),
                     3);
    json_decref(answer);
}

struct rows {
    size_t n, users;
    char user[64], last[64];
    int64_t until_s;
};

static void count_row(enum revocation_kind kind, const char *name, int64_t until_s, void *context)
{
    struct rows *rows = context;

    rows->n++;
    snprintf(rows->last, sizeof rows->last, "%s%s", kind == REVOCATION_USER ? "" : "jti ", name);
    if (kind == REVOCATION_USER) {
        rows->users++;
        rows->until_s = until_s;
        snprintf(rows->user, sizeof rows->user, "%s", name);
    }
}

/* What the gateway would read. */
static struct rows revoked(const struct world *world)
{
    struct rows rows = {0};
    char path[192];
    struct error error;
    struct revocations *reader;

    snprintf(path, sizeof path, "%s/revocations.db", world->folder);
    reader = revocations_open_reader(path, &error);
    assert_non_null(reader);
    assert_true(revocations_list(reader, count_row, &rows, &error));
    revocations_close(&reader);
    return rows;
}

/* `iat` of a token that is issued now. */
static int64_t issued_at(struct world *world)
{
    json_t *claims;
    char token[4096];
    int64_t iat_s;

    assert_exit(0, run(world, "token", "issue", "ann"));
    snprintf(token, sizeof token, "%s", world->out);
    assert_exit(0, run_with(world, token, strlen(token), "token", "inspect", "--json", NULL));
    claims = json_loads(world->out, 0, NULL);
    iat_s = json_integer_value(json_object_get(json_object_get(claims, "claims"), "iat"));
    json_decref(claims);
    return iat_s;
}

static void a_backup_takes_the_place_of_what_was_lost(void **state)
{
    struct world *world = *state;
    char folder[128], from[256];

    make_ann(world);
    snprintf(folder, sizeof folder, "%s/backup", world->scratch.folder);
    assert_exit(0, run(world, "session", "revoke", "ann"));
    assert_exit(0, run(world, "db", "check"));
    assert_printed(world, "sound");
    assert_exit(0, run(world, "db", "migrate"));
    assert_exit(0, run(world, "db", "backup", folder));
    assert_exit(1, run(world, "db", "backup", folder));
    assert_exit(0, run(world, "user", "delete", "ann"));
    snprintf(from, sizeof from, "%s/sallyport.db", folder);
    assert_int_equal(rename(from, world->database), 0);
    snprintf(from, sizeof from, "%s-wal", world->database);
    unlink(from);
    assert_exit(0, run(world, "user", "show", "ann"));
    assert_exit(0, run(world, "db", "check"));
}

static void what_is_counted_is_shown_and_forgotten(void **state)
{
    static const unsigned char print[PASSWORD_FINGERPRINT_BYTES] = {1};
    struct world *world = *state;
    struct throttle_attempt attempt;
    struct database *database;
    struct error error;
    unsigned wait_s;
    int64_t now_s = time(NULL);

    make_ann(world);
    database = database_open(world->database, false, &error);
    assert_non_null(database);
    assert_int_equal(throttle_reserve(database, "ann", 1, "192.0.2.7", now_s, &attempt, &wait_s),
                     THROTTLE_PASS);
    assert_int_equal(throttle_settle(database, &attempt, THROTTLE_WRONG, print, now_s), DB_OK);
    assert_int_equal(
        throttle_reserve(database, "hunter2", 0, "2001:db8::1", now_s, &attempt, &wait_s),
        THROTTLE_PASS);
    database_close(&database);
    assert_exit(0, run(world, "throttle", "list"));
    assert_printed(world, "ann              192.0.2.0/24   1");
    assert_printed(world, "an unknown user  2001:db8::/64  1");
    assert_printed(world, "everybody        192.0.2.0/24   1");
    assert_null(strstr(world->out, "hunter2"));
    assert_exit(0, run(world, "throttle", "clear", "ann"));
    assert_exit(0, run(world, "throttle", "clear", "192.0.2.0/24"));
    assert_exit(3, run(world, "throttle", "clear", "ann"));
    assert_exit(0, run(world, "throttle", "list", "--json"));
    assert_null(strstr(world->out, "192.0.2"));
    assert_printed(world, "\"unknown_user\":true");
    assert_exit(0, run(world, "throttle", "clear"));
    assert_exit(0, run(world, "throttle", "list", "--json"));
    assert_string_equal(world->out, "[]\n");
}

static void what_ends_a_user_s_tokens_is_written_down_and_the_next_one_lives(void **state)
{
    struct world *world = *state;
    int64_t last_s = 0;

    make_ann(world);
    assert_int_equal(revoked(world).n, 0);
    for (int i = 0; i < 3; i++) {
        struct rows rows;
        int64_t before_s = issued_at(world);

        if (i == 0)
            assert_exit(0, feed(world, "new horse\n", "user", "passwd", "ann", "--password-stdin"));
        else if (i == 1)
            assert_exit(0, run(world, "user", "disable", "ann"));
        else
            assert_exit(0, run(world, "session", "revoke", "ann"));
        rows = revoked(world);
        assert_int_equal(rows.users, 1);
        assert_string_equal(rows.user, "ann");
        assert_true(rows.until_s >= before_s && rows.until_s > last_s);
        last_s = rows.until_s;
        assert_exit(0, run(world, "user", "enable", "ann"));
        assert_true(issued_at(world) > last_s);
    }
}

static void a_user_of_the_same_name_does_not_inherit_tokens(void **state)
{
    struct world *world = *state;
    int64_t before_s;

    make_ann(world);
    before_s = issued_at(world);
    assert_exit(0, run(world, "user", "delete", "ann"));
    assert_true(revoked(world).until_s >= before_s);
    assert_exit(0, feed(world, "other\n", "user", "add", "ann", "--password-stdin"));
    assert_true(issued_at(world) > revoked(world).until_s);
}

static void one_token_is_revoked_by_its_jti(void **state)
{
    struct world *world = *state;

    make_ann(world);
    assert_exit(0, run(world, "session", "revoke", "AAAAAAAAAAAAAAAAAAAAAA", "--json"));
    assert_printed(world, "{\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\"}");
    assert_string_equal(revoked(world).last, "jti AAAAAAAAAAAAAAAAAAAAAA");
    assert_exit(3, run(world, "session", "revoke", "nobody"));
    assert_int_equal(revoked(world).n, 1);
}

static void a_jti_that_begins_like_an_option_is_none(void **state)
{
    static const char *const jtis[] = {"--AAAAAAAAAAAAAAAAAAAA", "-AAAAAAAAAAAAAAAAAAAAA"};
    struct world *world = *state;
    char last[64];

    make_ann(world);
    for (size_t i = 0; i < 2; i++) {
        snprintf(last, sizeof last, "jti %s", jtis[i]);
        assert_exit(0, run(world, "session", "revoke", "--json", jtis[i]));
        assert_printed(world, jtis[i]);
        assert_string_equal(revoked(world).last, last);
        assert_exit(0, run(world, "session", "revoke", "--", jtis[i]));
    }
    assert_int_equal(revoked(world).n, 2);
    assert_exit(2, run(world, "session", "revoke", "--AAAAAAAAAAAAAAAAAAA"));
    assert_exit(2, run(world, "session", "revoke", "-AAAAAAAAAAAAAAAAAAAAA", jtis[1]));
    assert_exit(2, run(world, "user", "show", jtis[0]));
}

static void tokens_that_could_not_be_revoked_are_named(void **state)
{
    struct world *world = *state;
    char path[192];

    make_ann(world);
    snprintf(path, sizeof path, "%s/revocations.db", world->folder);
    assert_int_equal(unlink(path), 0);
    assert_exit(1, run(world, "user", "disable", "ann"));
    assert_said(world, "revocations.db");
    assert_said(world, "good again");
    assert_exit(0, run(world, "-c", world->config, "init"));
    assert_printed(world, "made the revocations");
    assert_exit(0, run(world, "user", "disable", "ann"));
}

static void no_token_for_the_disabled_or_for_a_time_that_is_none(void **state)
{
    static const char *const bad[] = {
        "0s", "-1s", "3", "3x", "s", " 3s", "3s ", "3.5s", "", "99999999999999999999s", "3ss"};
    struct world *world = *state;

    make_ann(world);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_exit(2, run(world, "token", "issue", "ann", "--lifetime", bad[i]));
    assert_exit(0, run(world, "user", "disable", "ann"));
    assert_exit(1, run(world, "token", "issue", "ann"));
    assert_said(world, "disabled");
    assert_string_equal(world->out, "");
}

static void inspect_says_why_a_token_does_not_verify(void **state)
{
    struct world *world = *state;
    char token[4096], other[160];
    json_t *answer;

    make_ann(world);
    assert_exit(0, run(world, "token", "issue", "ann"));
    snprintf(token, sizeof token, "%s", world->out);
    snprintf(other, sizeof other, "%s/other", world->scratch.folder);
    assert_exit(0, run(world, "init", "--dir", other));
    strcat(other, "/sallyport.conf");
    assert_exit(1, run_with(world, token, strlen(token), "-c", other, "token", "inspect", NULL));
    assert_printed(world, "\"sub\":\"ann\"");
    assert_printed(world, "no: invalid signature");
    assert_exit(1, feed(world, "not.a.token", "token", "inspect", "--json"));
    answer = printed_json(world);
    assert_true(json_is_null(json_object_get(answer, "header")));
    assert_true(json_is_false(json_object_get(answer, "verifies")));
    assert_string_equal(json_string_value(json_object_get(answer, "message")), "jwt malformed");
    json_decref(answer);
    assert_exit(1, feed(world, "", "token", "inspect"));
    assert_exit(2, run(world, "token", "inspect", "a.b.c"));
    assert_null(strstr(world->err, "a.b.c"));
}

/* ---- the command line ----------------------------------------------------------------------- */

static void help_is_there_at_every_level(void **state)
{
    struct world *world = *state;

    assert_exit(0, run(world, "--help"));
    assert_printed(world, "user passwd NAME");
    assert_exit(0, run(world, "user", "--help"));
    assert_printed(world, "user passwd NAME");
    assert_exit(0, run(world, "user", "add", "--help"));
    assert_printed(world, "--password-stdin");
    assert_exit(0, run(world, "init", "--dir", "--help"));
    assert_printed(world, "--set NAME=VALUE");
    assert_exit(0, run(world, "--version"));
    assert_string_equal(world->out, "sallyport " VERSION "\n");
}

static void misuse_exits_2_and_says_what_was_meant(void **state)
{
    struct world *world = *state;

    assert_exit(2, run(world, "usr", "list"));
    assert_said(world, "did you mean \"user\"?");
    assert_exit(2, run(world, "user", "lst"));
    assert_said(world, "did you mean \"user list\"?");
    assert_exit(2, run(world, "user", "list", "--jsno"));
    assert_said(world, "did you mean --json?");
    assert_exit(2, run(world, "user", "frobnicate"));
    assert_null(strstr(world->err, "did you mean"));
    assert_exit(2, run(world, "user"));
    assert_said(world, "verb is missing");
    assert_exit(2, run(world, "--bogus"));
    assert_exit(2, run(world, "-c"));
    assert_exit(2, run(world, "-c", "x"));
    assert_said(world, "command is missing");
    assert_exit(2, run(world, "user", "show"));
    assert_said(world, "NAME is missing");
    assert_exit(2, run(world, "user", "show", "a", "b"));
    assert_exit(2, run(world, "user", "list", "--json=yes"));
    assert_exit(2, run(world, "user", "list", "--json", "--json"));
    assert_said(world, "twice");
    assert_exit(2, run(world, "user", "add", "a", "--claim"));
    assert_exit(2, run(world, "user", "list", "-c", world->config));
    assert_said(world, "before the command");
    assert_exit(1, run(world, "-c", "/nonexistent", "user", "list"));
    assert_said(world, "/nonexistent");
}

static void options_and_operands_stand_in_any_order(void **state)
{
    struct world *world = *state;

    make_instance(world);
    assert_exit(0,
                feed(world, "x\n", "user", "add", "--password-stdin", "bob", "--claim", "a=b=c"));
    assert_printed(world, "{\"a\":\"b=c\"}");
    assert_exit(0, feed(world, "x\n", "user", "add", "--password-stdin", "--", "--json"));
    assert_exit(0, run(world, "user", "show", "--json", "--", "--json"));
    assert_printed(world, "\"name\":\"--json\"");
    assert_exit(0, run(world, "-c", world->config, "--", "user", "show", "--", "--json"));
    assert_exit(2, run(world, "--"));
    assert_said(world, "command is missing");
}

static void a_password_on_the_command_line_is_refused_and_not_repeated(void **state)
{
    struct world *world = *state;

    make_instance(world);
    assert_exit(2, run(world, "user", "add", "bob", "--password", "s3cret"));
    assert_null(strstr(world->err, "s3cret"));
    assert_exit(2, run(world, "user", "add", "bob", "--password=s3cret"));
    assert_null(strstr(world->err, "s3cret"));
    assert_exit(2, run(world, "user", "add", "bob", "--password-stdin=s3cret"));
    assert_null(strstr(world->err, "s3cret"));
    assert_exit(2, run(world, "user", "add", "bob", "s3cret"));
    assert_null(strstr(world->err, "s3cret"));
}

static int run_full(struct world *world, ...)
{
    va_list words;
    int status;

    va_start(words, world);
    status = run_to(world, "/dev/full", "", 0, words);
    va_end(words);
    return status;
}

static void an_answer_that_cannot_be_written_is_a_failure(void **state)
{
    struct world *world = *state;

    make_ann(world);
    assert_exit(1, run_full(world, "token", "issue", "ann", NULL));
    assert_said(world, "cannot write the answer");
}

static void it_works_beside_those_who_read_and_write(void **state)
{
    struct world *world = *state;
    struct database *database;
    struct error error;
    struct user user;
    sqlite3 *sqlite;

    make_ann(world);
    database = database_open(world->database, false, &error);
    assert_non_null(database);
    sqlite = database->sqlite;
    assert_int_equal(sqlite3_exec(sqlite, "BEGIN; SELECT * FROM users", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_exit(0, feed(world, "x\n", "user", "add", "bob", "--password-stdin"));
    assert_int_equal(sqlite3_exec(sqlite, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(users_find(database, "bob", &user), DB_OK);
    user_fini(&user);
    database_close(&database);
}

/* Root gives the folder away and is its owner from then on; who is not root stays who they are. */
static void what_is_made_belongs_to_the_folders_owner(void **state)
{
    static const char *const made[] = {"sallyport.conf",  "relay.rules",  "keys",
                                       "keys/private",    "sallyport.db", "sallyport.db-wal",
                                       "sallyport.db-shm"};
    uid_t owner = geteuid() == 0 ? NOBODY : geteuid();
    struct world *world = *state;
    struct database *database;
    struct error error;
    struct stat status;
    char path[256];

    assert_int_equal(chmod(world->scratch.folder, 0755), 0);
    assert_int_equal(mkdir(world->folder, 0755), 0);
    assert_int_equal(chown(world->folder, owner, (gid_t)-1), 0);
    make_ann(world);
    /* Held open by root, SQLite leaves the -wal where it is. */
    assert_exit(0, run(world, "user", "list"));
    database = database_open(world->database, false, &error);
    assert_exit(0, feed(world, "x\n", "user", "add", "bob", "--password-stdin"));
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        snprintf(path, sizeof path, "%s/%s", world->folder, made[i]);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_uid, owner);
    }
    assert_exit(0, run(world, "token", "issue", "ann"));
    database_close(&database);
}

/* ---- on a terminal -------------------------------------------------------------------------- */

/*
 * A session as a shell has it: a leader that stays, and the program as the foreground job.  What
 * waitpid says of the program comes through `statuses`.
 */
struct terminal {
    int master, statuses;
    pid_t leader, job;
    char shown[8192];
    size_t n_shown;
};

static void lead(int statuses, char **argv)
{
    pid_t job;
    int status;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
    signal(SIGTTOU, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    job = fork();
    setpgid(job, job);
    tcsetpgrp(STDIN_FILENO, job ? job : getpid());
    if (job == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGTTOU, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        execv(program, argv);
        _exit(98);
    }
    if (write(statuses, &job, sizeof job) != sizeof job)
        _exit(97);
    do
        if (waitpid(job, &status, WUNTRACED) != job ||
            write(statuses, &status, sizeof status) != sizeof status)
            _exit(97);
    while (WIFSTOPPED(status));
    for (;;)
        pause();
}

static void start(struct world *world, struct terminal *terminal, ...)
{
    char *argv[MAX_WORDS];
    int statuses[2];
    va_list words;

    *terminal = (struct terminal){0};
    va_start(words, terminal);
    collect(world, words, argv);
    va_end(words);
    assert_int_equal(pipe2(statuses, O_CLOEXEC), 0);
    terminal->leader = forkpty(&terminal->master, NULL, NULL, NULL);
    if (terminal->leader == 0)
        lead(statuses[1], argv);
    close(statuses[1]);
    terminal->statuses = statuses[0];
    assert_int_equal(read(terminal->statuses, &terminal->job, sizeof terminal->job),
                     sizeof terminal->job);
}

static void finish(struct terminal *terminal)
{
    kill(terminal->leader, SIGKILL);
    waitpid(terminal->leader, NULL, 0);
    close(terminal->master);
    close(terminal->statuses);
}

static bool is_readable(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};

    return poll(&polled, 1, PATIENCE) == 1;
}

/* Wait until the terminal has shown `words`, and forget what came before. */
static void await(struct terminal *terminal, const char *words)
{
    while (!strstr(terminal->shown, words)) {
        ssize_t n;

        if (!is_readable(terminal->master))
            fail_msg("never shown: \"%s\"; but: \"%s\"", words, terminal->shown);
        n = read(terminal->master, terminal->shown + terminal->n_shown,
                 sizeof terminal->shown - 1 - terminal->n_shown);
        if (n <= 0)
            fail_msg("never shown: \"%s\"; but: \"%s\"", words, terminal->shown);
        terminal->n_shown += (size_t)n;
    }
    if (strstr(terminal->shown, "s3cret"))
        fail_msg("a password was shown: \"%s\"", terminal->shown);
    memset(terminal->shown, 0, sizeof terminal->shown);
    terminal->n_shown = 0;
}

static void type(const struct terminal *terminal, const char *text)
{
    assert_int_equal(write(terminal->master, text, strlen(text)), strlen(text));
}

static int await_status(const struct terminal *terminal)
{
    int status;

    assert_true(is_readable(terminal->statuses));
    assert_int_equal(read(terminal->statuses, &status, sizeof status), sizeof status);
    return status;
}

static bool echoes(const struct terminal *terminal)
{
    struct termios modes;

    assert_int_equal(tcgetattr(terminal->master, &modes), 0);
    return modes.c_lflag & ECHO;
}

static void a_password_is_asked_for_twice_and_never_shown(void **state)
{
    struct world *world = *state;
    struct terminal terminal;
    int status;

    make_instance(world);
    start(world, &terminal, "user", "add", "bob", NULL);
    await(&terminal, "New password for bob: ");
    assert_false(echoes(&terminal));
    type(&terminal, "s3cret word\n");
    await(&terminal, "Again, the password for bob: ");
    assert_false(echoes(&terminal));
    type(&terminal, "s3cret word\n");
    await(&terminal, "enabled");
    status = await_status(&terminal);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(echoes(&terminal));
    finish(&terminal);
    assert_int_equal(try_password(world, "bob", "s3cret word", 11), PASSWORD_RIGHT);
}

static void hashes_are_shown_on_a_terminal_only_when_asked_for_twice(void **state)
{
    struct world *world = *state;
    struct terminal terminal;

    make_ann(world);
    start(world, &terminal, "export", "--hashes", NULL);
    await(&terminal, "only with --yes");
    assert_int_equal(WEXITSTATUS(await_status(&terminal)), 2);
    finish(&terminal);
    start(world, &terminal, "export", "--hashes", "--yes", NULL);
    await(&terminal, "\"hash\":\"$argon2id$");
    finish(&terminal);
}

static void two_passwords_that_differ_change_nothing(void **state)
{
    struct world *world = *state;
    struct terminal terminal;
    int status;

    make_ann(world);
    start(world, &terminal, "user", "passwd", "ann", NULL);
    await(&terminal, "New password for ann: ");
    type(&terminal, "s3cret one\n");
    await(&terminal, "Again, the password for ann: ");
    type(&terminal, "s3cret two\n");
    await(&terminal, "differ");
    status = await_status(&terminal);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_true(echoes(&terminal));
    finish(&terminal);
    assert_int_equal(try_password(world, "ann", "correct horse", 13), PASSWORD_RIGHT);
}

static void an_end_of_input_is_no_password(void **state)
{
    struct world *world = *state;
    struct terminal terminal;
    int status;

    make_instance(world);
    start(world, &terminal, "user", "add", "bob", NULL);
    await(&terminal, "New password for bob: ");
    type(&terminal, "\x04");
    await(&terminal, "no password");
    status = await_status(&terminal);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_true(echoes(&terminal));
    finish(&terminal);
}

static void a_signal_finds_the_terminal_as_it_was(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct world *world = *state;
    struct terminal terminal;
    int status;

    make_instance(world);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        start(world, &terminal, "user", "add", "bob", NULL);
        await(&terminal, "New password for bob: ");
        type(&terminal, "s3cr");
        assert_false(echoes(&terminal));
        if (signals[i] == SIGINT)
            type(&terminal, "\x03");
        else
            kill(terminal.job, signals[i]);
        status = await_status(&terminal);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), signals[i]);
        assert_true(echoes(&terminal));
        finish(&terminal);
    }
    assert_exit(3, run(world, "user", "show", "bob"));
}

static void a_stopped_program_asks_again(void **state)
{
    struct world *world = *state;
    struct terminal terminal;
    int status;

    make_instance(world);
    start(world, &terminal, "user", "add", "bob", NULL);
    await(&terminal, "New password for bob: ");
    type(&terminal, "forgotten\n");
    await(&terminal, "Again, the password for bob: ");
    type(&terminal, "\x1a");
    status = await_status(&terminal);
    assert_true(WIFSTOPPED(status));
    assert_true(echoes(&terminal));
    kill(-terminal.job, SIGCONT);
    await(&terminal, "New password for bob: ");
    assert_false(echoes(&terminal));
    type(&terminal, "s3cret word\n");
    await(&terminal, "Again, the password for bob: ");
    type(&terminal, "s3cret word\n");
    status = await_status(&terminal);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    finish(&terminal);
    assert_int_equal(try_password(world, "bob", "s3cret word", 11), PASSWORD_RIGHT);
}

static void without_a_terminal_it_says_what_to_do(void **state)
{
    struct world *world = *state;

    make_instance(world);
    assert_exit(1, feed(world, "s3cret\n", "user", "add", "bob"));
    assert_said(world, "--password-stdin");
    assert_exit(3, run(world, "user", "show", "bob"));
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* build/FLAVOUR/sallyport, seen from build/FLAVOUR/tests/unit/cli_test. */
static void find_program(void)
{
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);

    for (int up = 0; up < 3 && n > 0; up++) {
        program[n] = '\0';
        n = strrchr(program, '/') - program;
    }
    strcpy(program + n, "/sallyport");
    if (access(program, X_OK) < 0) {
        fprintf(stderr, "cli_test: there is no %s; run make\n", program);
        exit(1);
    }
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(init_makes_an_instance_that_issues_tokens_which_verify),
        IN_WORLD(init_writes_each_setting_into_its_group),
        IN_WORLD(the_comments_of_the_config_are_the_defaults),
        IN_WORLD(init_leaves_an_instance_as_it_is),
        IN_WORLD(init_takes_a_folder_with_other_things_in_it),
        IN_WORLD(init_makes_nothing_of_a_setting_it_refuses),
        IN_WORLD(init_without_a_folder_makes_what_the_config_lacks_and_only_that),
        IN_WORLD(init_without_a_folder_needs_the_one_of_the_keys),
        IN_WORLD(a_user_goes_through_every_verb),
        IN_WORLD(nobody_is_not_found_and_ann_exists),
        IN_WORLD(the_password_is_the_first_line_and_all_of_it),
        IN_WORLD(claims_are_checked_before_anything_is_done),
        IN_WORLD(names_that_are_not_names_are_refused),
        IN_WORLD(what_a_terminal_would_obey_is_escaped),
        IN_WORLD(a_token_holds_the_users_claims_and_nothing_else_is_printed),
        IN_WORLD(a_backup_takes_the_place_of_what_was_lost),
        IN_WORLD(what_is_counted_is_shown_and_forgotten),
        IN_WORLD(what_ends_a_user_s_tokens_is_written_down_and_the_next_one_lives),
        IN_WORLD(a_user_of_the_same_name_does_not_inherit_tokens),
        IN_WORLD(one_token_is_revoked_by_its_jti),
        IN_WORLD(a_jti_that_begins_like_an_option_is_none),
        IN_WORLD(tokens_that_could_not_be_revoked_are_named),
        IN_WORLD(no_token_for_the_disabled_or_for_a_time_that_is_none),
        IN_WORLD(inspect_says_why_a_token_does_not_verify),
        IN_WORLD(help_is_there_at_every_level),
        IN_WORLD(misuse_exits_2_and_says_what_was_meant),
        IN_WORLD(options_and_operands_stand_in_any_order),
        IN_WORLD(a_password_on_the_command_line_is_refused_and_not_repeated),
        IN_WORLD(an_answer_that_cannot_be_written_is_a_failure),
        IN_WORLD(it_works_beside_those_who_read_and_write),
        IN_WORLD(what_is_made_belongs_to_the_folders_owner),
        IN_WORLD(a_password_is_asked_for_twice_and_never_shown),
        IN_WORLD(hashes_are_shown_on_a_terminal_only_when_asked_for_twice),
        IN_WORLD(two_passwords_that_differ_change_nothing),
        IN_WORLD(an_end_of_input_is_no_password),
        IN_WORLD(a_signal_finds_the_terminal_as_it_was),
        IN_WORLD(a_stopped_program_asks_again),
        IN_WORLD(without_a_terminal_it_says_what_to_do),
    };

    find_program();
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
