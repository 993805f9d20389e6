/* Opening the database: what it is afterwards, and what is said when it cannot be used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "db/connection.h"
#include "db/users.h"
#include "tests/unit/scratch.h"

#define NOBODY 65534

static int open_scratch(void **state)
{
    struct scratch *scratch = malloc(sizeof *scratch);

    scratch_new(scratch);
    *state = scratch;
    return 0;
}

static int close_scratch(void **state)
{
    scratch_free(*state);
    free(*state);
    return 0;
}

static struct database *opened(const char *path)
{
    struct error error;
    struct database *database = database_open(path, true, &error);

    if (!database)
        fail_msg("%s", error.text);
    return database;
}

static void run(const char *path, const char *sql)
{
    sqlite3 *sqlite;

    assert_int_equal(sqlite3_open(path, &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sqlite, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sqlite);
}

static int64_t ask(sqlite3 *sqlite, const char *sql)
{
    sqlite3_stmt *statement;
    int64_t answer;

    assert_int_equal(sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    answer = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return answer;
}

/* It is refused, in words that name the file and contain `words`. */
static void assert_refused(const char *path, bool create, const char *words)
{
    struct error error = {""};

    assert_null(database_open(path, create, &error));
    if (!strstr(error.text, words) || !strstr(error.text, path))
        fail_msg("not said: \"%s\" in \"%s\"", words, error.text);
}

/* The same, and not a byte of it has changed. */
static void assert_refused_untouched(const char *path, const char *words)
{
    size_t before_bytes, after_bytes;
    char *before = scratch_read(path, &before_bytes), *after;

    assert_refused(path, true, words);
    after = scratch_read(path, &after_bytes);
    assert_int_equal(before_bytes, after_bytes);
    assert_memory_equal(before, after, before_bytes);
    free(before);
    free(after);
}

static void it_is_made_only_when_asked(void **state)
{
    const char *path = scratch_path(*state, "s.db");
    struct database *database;
    struct error error;

    assert_refused(path, false, "sallyport init");
    assert_int_equal(access(path, F_OK), -1);
    database = opened(path);
    database_close(&database);
    assert_null(database);
    database = database_open(path, false, &error);
    assert_non_null(database);
    database_close(&database);
}

static void others_cannot_read_it_and_its_folder_is_left_alone(void **state)
{
    struct scratch *scratch = *state;
    const char *path = scratch_path(scratch, "s.db");
    struct stat file, beside, folder;
    struct database *database;
    mode_t mask = umask(0);

    chmod(scratch->folder, 0751);
    database = opened(path);
    users_delete(database, "nobody");
    umask(mask);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(stat(scratch_path(scratch, "s.db-wal"), &beside), 0);
    assert_int_equal(stat(scratch->folder, &folder), 0);
    assert_int_equal(file.st_mode & 07777, 0600);
    assert_int_equal(beside.st_mode & 07777, 0600);
    assert_int_equal(folder.st_mode & 07777, 0751);
    database_close(&database);
}

static void its_settings_hold_on_every_connection(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct database *database = opened(scratch_path(*state, "s.db"));
        sqlite3 *sqlite = database->sqlite;
        int defensive = 0;

        assert_int_equal(ask(sqlite, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
        assert_int_equal(ask(sqlite, "PRAGMA synchronous"), 2);
        assert_int_equal(ask(sqlite, "PRAGMA foreign_keys"), 1);
        assert_int_equal(ask(sqlite, "PRAGMA trusted_schema"), 0);
        assert_int_equal(ask(sqlite, "PRAGMA busy_timeout"), 5000);
        assert_int_equal(ask(sqlite, "PRAGMA user_version"), schema_main.n_steps);
        assert_int_equal(ask(sqlite, "SELECT strict FROM pragma_table_list WHERE name = 'users'"),
                         1);
        sqlite3_db_config(sqlite, SQLITE_DBCONFIG_DEFENSIVE, -1, &defensive);
        assert_int_equal(defensive, 1);
        database_close(&database);
    }
}

static void a_newer_schema_is_refused_and_left_alone(void **state)
{
    const char *path = scratch_path(*state, "s.db");
    struct database *database = opened(path);

    database_close(&database);
    run(path, "PRAGMA user_version = 99");
    assert_refused_untouched(path, "its schema is 99");
    assert_refused_untouched(path, "update this program");
}

static void the_database_of_another_program_is_left_alone(void **state)
{
    const char *theirs = scratch_path(*state, "theirs.db");
    const char *versioned = scratch_path(*state, "versioned.db");
    const char *named = scratch_path(*state, "named.db");

    run(theirs, "CREATE TABLE mail (body)");
    run(versioned, "PRAGMA user_version = 1");
    run(named, "PRAGMA application_id = 7");
    assert_refused_untouched(theirs, "another program");
    assert_refused_untouched(versioned, "another program");
    assert_refused_untouched(named, "another program");
}

static void what_is_no_database_is_said_to_be_none(void **state)
{
    struct scratch *scratch = *state;
    const char *text = scratch_path(scratch, "text");

    scratch_write(text, "This is not what you are looking for, and is longer than a header is.\n"
                        "This is not what you are looking for, and is longer than a header is.\n");
    assert_refused_untouched(text, "not a database");
    assert_refused(scratch->folder, true, "not a file");
    assert_refused(scratch_path(scratch, "missing/s.db"), true, "its folder");
    assert_refused(scratch_path(scratch, "missing/s.db"), false, "its folder");
    assert_refused(scratch_path(scratch, "text/s.db"), true, "its folder");
}

/* In a child that is not root and not the owner of what the mode keeps from others. */
static void assert_refused_to_others(const char *path, const char *words)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct error error = {""};

        if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)
            _exit(2);
        if (database_open(path, true, &error))
            _exit(3);
        if (!strstr(error.text, words))
            fprintf(stderr, "said: %s\n", error.text);
        _exit(strstr(error.text, words) ? 0 : 4);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void files_of_another_user_are_named(void **state)
{
    struct scratch *scratch = *state;
    const char *path = scratch_path(scratch, "s.db"), *beside = scratch_path(scratch, "s.db-wal");
    struct database *database = opened(path);

    database_close(&database);
    chmod(scratch->folder, 0555);
    assert_refused_to_others(path, scratch->folder);
    chmod(scratch->folder, 0777);
    chmod(path, 0444);
    assert_refused_to_others(path, "s.db; run as its owner");
    chmod(path, 0666);
    scratch_write(beside, "");
    chmod(beside, geteuid() == 0 ? 0444 : 0); /* SQLite mends a mode of its own user's */
    assert_refused_to_others(path, "s.db-wal; run as its owner");
}

static void a_step_that_fails_leaves_the_schema_as_it_was(void **state)
{
    static const char *const steps[] = {
        "CREATE TABLE one (a) NONSENSE;",
        "CREATE TABLE two (a); INSERT INTO two VALUES (1); CREATE TABLE two (again);",
        "CREATE TABLE three (a);",
    };
    static const char *const mended[] = {"", "CREATE TABLE two (a);", "CREATE TABLE three (a);"};
    struct error error = {""};
    sqlite3 *sqlite;

    assert_int_equal(sqlite3_open(scratch_path(*state, "m.db"), &sqlite), SQLITE_OK);
    assert_false(schema_migrate(sqlite, steps, 3, &error));
    assert_int_equal(ask(sqlite, "PRAGMA user_version"), 0);
    assert_int_equal(sqlite3_exec(sqlite, "PRAGMA user_version = 1", NULL, NULL, NULL), SQLITE_OK);
    assert_false(schema_migrate(sqlite, steps, 3, &error));
    assert_non_null(strstr(error.text, "two"));
    assert_int_equal(ask(sqlite, "PRAGMA user_version"), 1);
    assert_int_equal(ask(sqlite, "SELECT count(*) FROM sqlite_schema"), 0);
    assert_true(sqlite3_get_autocommit(sqlite));
    assert_true(schema_migrate(sqlite, mended, 3, &error));
    assert_int_equal(ask(sqlite, "PRAGMA user_version"), 3);
    assert_int_equal(ask(sqlite, "SELECT count(*) FROM sqlite_schema"), 2);
    assert_true(schema_migrate(sqlite, steps, 3, &error));
    sqlite3_close(sqlite);
}

/* What the first release made: its one step, and a user. */
static void before_a_migration_there_is_a_copy(void **state)
{
    const char *path = scratch_path(*state, "s.db"), *copy = scratch_path(*state, "s.db.schema-1");
    struct database *database;
    struct stat status;
    struct user user;
    sqlite3 *old;

    assert_int_equal(sqlite3_open(path, &old), SQLITE_OK);
    assert_int_equal(sqlite3_exec(old, schema_main.steps[0], NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(old,
                                  "PRAGMA user_version = 1; INSERT INTO users (name, hash, claims, "
                                  "created_s, changed_s) VALUES ('ann', 'h', '{}', 1, 1)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(old);
    database = opened(path);
    assert_int_equal(database_version(database), schema_main.n_steps);
    assert_int_equal(users_find(database, "ann", &user), DB_OK);
    user_fini(&user);
    database_close(&database);
    assert_int_equal(stat(copy, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(sqlite3_open(copy, &old), SQLITE_OK);
    assert_int_equal(ask(old, "PRAGMA user_version"), 1);
    assert_int_equal(ask(old, "SELECT count(*) FROM users"), 1);
    sqlite3_close(old);
}

static void a_copy_is_whole_and_takes_no_one_s_place(void **state)
{
    const char *path = scratch_path(*state, "s.db"), *copy = scratch_path(*state, "copy.db");
    struct database *database = opened(path), *copied;
    json_t *claims = json_object();
    struct error error;
    struct user user;

    assert_int_equal(users_add(database, "ann", "h", claims, 1), DB_OK);
    json_decref(claims);
    assert_true(database_copy(database, copy, &error));
    assert_false(database_copy(database, copy, &error));
    assert_non_null(strstr(error.text, "copy.db"));
    assert_true(database_check(database, &error));
    database_close(&database);
    copied = opened(copy);
    assert_int_equal(users_find(copied, "ann", &user), DB_OK);
    user_fini(&user);
    database_close(&copied);
}

static void what_is_damaged_is_not_called_sound(void **state)
{
    const char *path = scratch_path(*state, "s.db");
    struct database *database = opened(path);
    struct error error;

    run(path, "PRAGMA foreign_keys = OFF; INSERT INTO known_networks VALUES (99, 'x', 1)");
    assert_false(database_check(database, &error));
    assert_non_null(strstr(error.text, "known_networks"));
    database_close(&database);
}

static void it_opens_and_reads_while_another_writes(void **state)
{
    const char *path = scratch_path(*state, "s.db");
    struct database *writer = opened(path), *reader;
    struct timespec start, end;
    struct user user;

    assert_int_equal(sqlite3_exec(writer->sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    clock_gettime(CLOCK_MONOTONIC, &start);
    reader = opened(path);
    assert_int_equal(users_find(reader, "nobody", &user), DB_NOT_FOUND);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - start.tv_sec < 3); /* it waits for no lock, which would take 5 */
    database_close(&reader);
    database_close(&writer);
}

/* Each process makes what is missing and adds its users. */
static void work(const char *path, int process)
{
    json_t *claims = json_object();
    struct database *database;
    struct error error;

    for (int i = 0; i < 20; i++) {
        char name[32];

        database = database_open(path, true, &error);
        if (!database) {
            fprintf(stderr, "%s\n", error.text);
            _exit(1);
        }
        snprintf(name, sizeof name, "p%d-%d", process, i);
        if (users_add(database, name, "x", claims, 1) != DB_OK) {
            fprintf(stderr, "%s\n", database_error(database));
            _exit(2);
        }
        database_close(&database);
    }
    json_decref(claims);
    _exit(0);
}

static void processes_that_open_and_write_at_once_all_succeed(void **state)
{
    enum { PROCESSES = 8 };
    const char *path = scratch_path(*state, "s.db");
    struct database *database;
    int status;

    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0)
            work(path, i);
    for (int i = 0; i < PROCESSES; i++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    database = opened(path);
    assert_int_equal(ask(database->sqlite, "SELECT count(*) FROM users"), PROCESSES * 20);
    assert_int_equal(ask(database->sqlite, "PRAGMA user_version"), schema_main.n_steps);
    database_close(&database);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, open_scratch, close_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(it_is_made_only_when_asked),
        IN_SCRATCH(others_cannot_read_it_and_its_folder_is_left_alone),
        IN_SCRATCH(its_settings_hold_on_every_connection),
        IN_SCRATCH(a_newer_schema_is_refused_and_left_alone),
        IN_SCRATCH(the_database_of_another_program_is_left_alone),
        IN_SCRATCH(what_is_no_database_is_said_to_be_none),
        IN_SCRATCH(files_of_another_user_are_named),
        IN_SCRATCH(a_step_that_fails_leaves_the_schema_as_it_was),
        IN_SCRATCH(before_a_migration_there_is_a_copy),
        IN_SCRATCH(a_copy_is_whole_and_takes_no_one_s_place),
        IN_SCRATCH(what_is_damaged_is_not_called_sound),
        IN_SCRATCH(it_opens_and_reads_while_another_writes),
        IN_SCRATCH(processes_that_open_and_write_at_once_all_succeed),
    };

    return cmocka_run_group_tests_name("database", tests, NULL, NULL);
}
