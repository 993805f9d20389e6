/* Folders of keys: what is made, what is read again, who may touch it, and what may not be said. */
#include "common/keyring.h"
#include "common/clock.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <cmocka.h>
#include <sys/stat.h>

static struct scratch scratch;
static struct error error;

static int set_up(void **state)
{
    (void)state;
    scratch_new(&scratch);
    error.text[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_free(&scratch);
    clock_thaw();
    return 0;
}

static const char *in(const char *name)
{
    return scratch_path(&scratch, name);
}

static void generate(enum key_algorithm algorithm, const char *name)
{
    char chosen[64];

    if (!keyring_generate(scratch.folder, algorithm, name, chosen, &error))
        fail_msg("%s", error.text);
    assert_string_equal(chosen, name);
}

static mode_t mode_of(const char *path)
{
    struct stat status;

    assert_int_equal(lstat(path, &status), 0);
    return status.st_mode & 07777;
}

/* The file as JSON, to be changed and written back. */
static json_t *load(const char *name)
{
    json_t *jwk = json_load_file(in(name), 0, NULL);

    assert_non_null(jwk);
    return jwk;
}

static void store(const char *name, json_t *jwk, mode_t mode)
{
    assert_int_equal(json_dump_file(jwk, in(name), 0), 0);
    assert_int_equal(chmod(in(name), mode), 0);
    json_decref(jwk);
}

/* The folder is refused in words that hold each of the two. */
static void assert_refused(const char *words, const char *more)
{
    assert_null(keyring_read(scratch.folder, &error));
    assert_non_null(strstr(error.text, words));
    assert_non_null(strstr(error.text, more));
}

static void assert_signing_refused(const char *words)
{
    assert_null(keyring_read_signing(scratch.folder, &error));
    assert_non_null(strstr(error.text, words));
}

static size_t count_files(const char *folder)
{
    DIR *directory = opendir(folder);
    size_t n = 0;

    assert_non_null(directory);
    while (readdir(directory))
        n++;
    closedir(directory);
    return n - 2;
}

static void algorithms_are_found_by_their_exact_name(void **state)
{
    (void)state;
    for (enum key_algorithm algorithm = 0; algorithm < KEY_ALGORITHMS; algorithm++)
        assert_int_equal(key_algorithm_find(key_algorithm_name(algorithm), 5), algorithm);
    assert_int_equal(key_algorithm_find("HS256x", 5), KEY_HS256);
    assert_int_equal(key_algorithm_find("HS256", 4), KEY_ALGORITHMS);
    assert_int_equal(key_algorithm_find("HS256", 6), KEY_ALGORITHMS);
    assert_int_equal(key_algorithm_find("hs256", 5), KEY_ALGORITHMS);
    assert_int_equal(key_algorithm_find("none", 4), KEY_ALGORITHMS);
    assert_int_equal(key_algorithm_find("", 0), KEY_ALGORITHMS);
}

static void a_secret_is_made_read_and_signs(void **state)
{
    struct keyring *keyring;
    struct key *signing;
    const struct key *key;

    (void)state;
    generate(KEY_HS384, "first");
    assert_int_equal(mode_of(in("first.jwk")), 0640);
    assert_true(keyring_activate(scratch.folder, "first", &error));
    keyring = keyring_read(scratch.folder, &error);
    assert_non_null(keyring);
    key = keyring_find(keyring, "first");
    assert_non_null(key);
    assert_int_equal(key->algorithm, KEY_HS384);
    assert_int_equal(key->material_bytes, 48);
    assert_int_equal(key->signature_bytes, 48);
    signing = keyring_read_signing(scratch.folder, &error);
    assert_non_null(signing);
    assert_memory_equal(signing->material, key->material, 48);
    key_free(&signing);
    assert_null(signing);
    keyring_put(&keyring);
    assert_null(keyring);
}

static void a_pair_is_split_between_the_folders(void **state)
{
    static const enum key_algorithm tried[] = {KEY_RS256, KEY_ES256, KEY_ES384, KEY_ES512};
    static const size_t signature_bytes[] = {384, 64, 96, 132};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const char *name = key_algorithm_name(tried[i]);
        char file[32], private[32];
        struct keyring *keyring;
        struct key *signing;
        const struct key *key;
        json_t *jwk;

        snprintf(file, sizeof file, "%s.jwk", name);
        snprintf(private, sizeof private, "private/%s.jwk", name);
        generate(tried[i], name);
        assert_int_equal(mode_of(in(file)), 0640);
        assert_int_equal(mode_of(in("private")), 0700);
        assert_int_equal(mode_of(in(private)), 0600);
        jwk = load(file);
        assert_null(json_object_get(jwk, "d"));
        json_decref(jwk);

        assert_true(keyring_activate(scratch.folder, name, &error));
        keyring = keyring_read(scratch.folder, &error);
        assert_non_null(keyring);
        key = keyring_find(keyring, name);
        assert_int_equal(key->signature_bytes, signature_bytes[i]);
        assert_null(key->material); /* the public half alone has nothing that libjwt would take */
        signing = keyring_read_signing(scratch.folder, &error);
        assert_non_null(signing);
        assert_memory_equal(signing->material, "-----BEGIN PRIVATE KEY", 22);
        assert_int_equal(strlen((const char *)signing->material), signing->material_bytes);
        key_free(&signing);
        keyring_put(&keyring);
    }
}

static void a_name_is_made_of_the_day_and_letters(void **state)
{
    char one[64], other[64];

    (void)state;
    clock_freeze(0, 1769860800); /* 2026-01-31 */
    assert_true(keyring_generate(scratch.folder, KEY_HS256, NULL, one, &error));
    assert_true(keyring_generate(scratch.folder, KEY_HS256, NULL, other, &error));
    assert_memory_equal(one, "20260131-", 9);
    assert_int_equal(strlen(one), 15);
    assert_int_equal(strspn(one + 9, "abcdefghijklmnopqrstuvwxyz"), 6);
    assert_string_not_equal(one, other);
}

static void a_name_that_would_leave_the_folder_is_refused(void **state)
{
    static const char *const names[] = {
        "",         ".",
        "..",       ".hidden",
        "a/b",      "../a",
        "a b",      "a\n",
        "\xc3\xa9", "0123456789012345678901234567890123456789012345678901234567890123"};
    char chosen[64];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_false(keyring_generate(scratch.folder, KEY_HS256, names[i], chosen, &error));
        assert_false(keyring_activate(scratch.folder, names[i], &error));
        assert_non_null(strstr(error.text, "a key's name has"));
    }
    assert_int_equal(count_files(scratch.folder), 0);
}

static void an_existing_key_is_never_written_over(void **state)
{
    static const enum key_algorithm tried[] = {KEY_HS256, KEY_ES256};
    static const char *const names[] = {"secret", "pair"};
    char chosen[64];

    (void)state;
    generate(KEY_HS256, "secret");
    generate(KEY_ES256, "pair");
    for (size_t i = 0; i < 4; i++) {
        char file[32], *before, *after;

        snprintf(file, sizeof file, "%s.jwk", names[i / 2]);
        before = scratch_read(in(file), NULL);
        assert_false(keyring_generate(scratch.folder, tried[i % 2], names[i / 2], chosen, &error));
        assert_non_null(strstr(error.text, "File exists"));
        after = scratch_read(in(file), NULL);
        assert_string_equal(before, after);
        free(before);
        free(after);
    }
    /* Nothing half-made stays: "secret" got no private half, and no temporary is left. */
    assert_int_equal(count_files(scratch.folder), 3);
    assert_int_equal(count_files(in("private")), 1);
}

static void a_key_is_found_by_its_name_or_as_the_only_one(void **state)
{
    struct keyring *keyring;

    (void)state;
    generate(KEY_HS256, "first");
    keyring = keyring_read(scratch.folder, &error);
    assert_non_null(keyring_find(keyring, NULL));
    assert_null(keyring_find(keyring, ""));
    assert_null(keyring_find(keyring, "firs"));
    assert_null(keyring_find(keyring, "First"));
    keyring_put(&keyring);

    generate(KEY_HS256, "second");
    keyring = keyring_read(scratch.folder, &error);
    assert_null(keyring_find(keyring, NULL));
    assert_string_equal(keyring_find(keyring, "first")->id, "first");
    assert_string_equal(keyring_find(keyring, "second")->id, "second");
    keyring_put(&keyring);
}

static void a_ring_lives_until_its_last_holder_lets_go(void **state)
{
    struct keyring *keyring, *held;

    (void)state;
    generate(KEY_HS256, "first");
    keyring = keyring_read(scratch.folder, &error);
    held = keyring_get(keyring);
    keyring_put(&keyring);
    assert_string_equal(keyring_find(held, "first")->id, "first");
    keyring_put(&held);
    keyring_put(&held);
}

static void only_finished_jwk_files_are_keys(void **state)
{
    struct keyring *keyring;

    (void)state;
    generate(KEY_HS256, "first");
    scratch_write(in(".first.jwk.swp"), "an editor's");
    scratch_write(in(".second.jwk"), "not finished");
    scratch_write(in("README"), "not a key");
    scratch_write(in("old.jwk.disabled"), "not a key");
    keyring = keyring_read(scratch.folder, &error);
    assert_non_null(keyring);
    assert_non_null(keyring_find(keyring, NULL));
    keyring_put(&keyring);
}

static void a_folder_without_keys_is_an_error(void **state)
{
    (void)state;
    assert_refused(scratch.folder, "holds no key");
    assert_null(keyring_read(in("nothing"), &error));
    assert_non_null(strstr(error.text, "No such file"));
    scratch_write(in("file"), "");
    assert_null(keyring_read(in("file"), &error));
    assert_non_null(strstr(error.text, "not a folder"));
}

static void a_jwk_that_is_no_file_does_not_hang(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(in("pipe.jwk"), 0600), 0);
    assert_refused("pipe.jwk", "not a regular file");
    assert_int_equal(remove(in("pipe.jwk")), 0);
    assert_int_equal(mkdir(in("folder.jwk"), 0700), 0);
    assert_refused("folder.jwk", "not a regular file");
    assert_int_equal(remove(in("folder.jwk")), 0);
    assert_int_equal(symlink("nowhere", in("link.jwk")), 0);
    assert_refused("link.jwk", "No such file");
}

/* The command that the error names, run as a person would. */
static void obey(void)
{
    char *command = strchr(error.text, '`'), *end;

    assert_non_null(command);
    end = strchr(++command, '`');
    assert_non_null(end);
    *end = '\0';
    assert_int_equal(system(command), 0);
}

static void others_must_not_read_or_change_a_secret(void **state)
{
    static const mode_t bad[] = {0644, 0660, 0642, 0641, 0604, 0777};
    struct keyring *keyring;

    (void)state;
    generate(KEY_HS256, "first");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(chmod(in("first.jwk"), bad[i]), 0);
        assert_refused("first.jwk has mode", "chmod");
        obey();
        if (!(keyring = keyring_read(scratch.folder, &error))) {
            obey(); /* the write bits were one fault, the read bits another */
            keyring = keyring_read(scratch.folder, &error);
        }
        assert_non_null(keyring);
        keyring_put(&keyring);
    }
}

static void others_may_read_a_public_half_but_not_change_it(void **state)
{
    struct keyring *keyring;

    (void)state;
    generate(KEY_ES256, "pair");
    assert_int_equal(chmod(in("pair.jwk"), 0644), 0);
    keyring = keyring_read(scratch.folder, &error);
    assert_non_null(keyring);
    keyring_put(&keyring);
    assert_int_equal(chmod(in("pair.jwk"), 0664), 0);
    assert_refused("pair.jwk has mode 0664", "chmod go-w");
    obey();
    keyring = keyring_read(scratch.folder, &error);
    assert_non_null(keyring);
    keyring_put(&keyring);
}

static void a_private_half_is_for_its_owner_alone(void **state)
{
    static const mode_t bad[] = {0640, 0620, 0604, 0644, 0610};
    struct key *key;

    (void)state;
    generate(KEY_ES256, "pair");
    assert_true(keyring_activate(scratch.folder, "pair", &error));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(chmod(in("private/pair.jwk"), bad[i]), 0);
        assert_signing_refused("chmod 0600");
        obey();
        key = keyring_read_signing(scratch.folder, &error);
        assert_non_null(key);
        key_free(&key);
    }
}

static void a_folder_that_others_can_change_is_refused(void **state)
{
    struct key *key;

    (void)state;
    generate(KEY_ES256, "pair");
    assert_true(keyring_activate(scratch.folder, "pair", &error));
    assert_int_equal(chmod(scratch.folder, 0770), 0);
    assert_refused(scratch.folder, "chmod go-w");
    assert_signing_refused("chmod go-w");
    obey();
    assert_int_equal(chmod(in("private"), 0777), 0);
    assert_signing_refused("/private has mode 0777");
    obey();
    key = keyring_read_signing(scratch.folder, &error);
    assert_non_null(key);
    key_free(&key);
}

/* Run as root only: nobody else can give a file away. */
static void what_belongs_to_somebody_else_is_refused(void **state)
{
    struct keyring *keyring;

    (void)state;
    generate(KEY_HS256, "first");
    assert_int_equal(chown(in("first.jwk"), 12345, (gid_t)-1), 0);
    assert_refused("belongs to user 12345", "chown root");
    obey();
    keyring = keyring_read(scratch.folder, &error);
    assert_non_null(keyring);
    keyring_put(&keyring);
}

/* Run as root only: root makes the keys, and a service of another name reads them. */
static void a_new_key_belongs_to_whom_its_folder_belongs_to(void **state)
{
    struct stat status;
    struct keyring *keyring;
    struct key *key;

    (void)state;
    assert_int_equal(mkdir(in("private"), 0700), 0);
    assert_int_equal(chown(in("private"), 12345, 12345), 0);
    assert_int_equal(chown(scratch.folder, 0, 23456), 0);
    assert_int_equal(chmod(scratch.folder, 0750), 0);
    generate(KEY_ES256, "pair");
    assert_int_equal(stat(in("pair.jwk"), &status), 0);
    assert_int_equal(status.st_uid, 0);
    assert_int_equal(status.st_gid, 23456);
    assert_int_equal(stat(in("private/pair.jwk"), &status), 0);
    assert_int_equal(status.st_uid, 12345);
    assert_true(keyring_activate(scratch.folder, "pair", &error));

    assert_int_equal(chown(scratch.folder, 0, 0), 0);
    assert_int_equal(chmod(scratch.folder, 0755), 0);
    assert_int_equal(chmod(in("pair.jwk"), 0644), 0);
    assert_int_equal(seteuid(12345), 0);
    keyring = keyring_read(scratch.folder, &error);
    key = keyring_read_signing(scratch.folder, &error);
    assert_int_equal(seteuid(0), 0);
    assert_non_null(keyring);
    assert_non_null(key);
    key_free(&key);
    keyring_put(&keyring);
}

/* Run as root only: what root may overlook, a service may not. */
static void a_service_refuses_a_private_folder_of_another(void **state)
{
    struct key *key;

    (void)state;
    generate(KEY_ES256, "pair");
    assert_true(keyring_activate(scratch.folder, "pair", &error));
    assert_int_equal(chmod(scratch.folder, 0755), 0);
    assert_int_equal(chmod(in("pair.jwk"), 0644), 0);
    assert_int_equal(chmod(in("private"), 0755), 0);
    assert_int_equal(chown(in("private"), 12345, 12345), 0);
    assert_int_equal(chown(in("private/pair.jwk"), 23456, 23456), 0);
    assert_int_equal(seteuid(23456), 0);
    key = keyring_read_signing(scratch.folder, &error);
    assert_int_equal(seteuid(0), 0);
    assert_null(key);
    assert_non_null(strstr(error.text, "private belongs to user 12345"));
}

static void the_link_may_only_name_a_key_of_this_folder(void **state)
{
    static const char *const targets[] = {
        "/etc/passwd", "../../first.jwk", "../private/pair.jwk", "first",
        "../first",    "../.jwk",         "sub/../first.jwk",    ".."};

    (void)state;
    generate(KEY_HS256, "first");
    generate(KEY_ES256, "pair");
    assert_signing_refused("it must be a link");
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        assert_int_equal(symlink(targets[i], in("private/signing")), 0);
        assert_signing_refused("must point to NAME.jwk");
        assert_int_equal(remove(in("private/signing")), 0);
    }
    assert_int_equal(symlink("first.jwk", in("private/signing")), 0);
    assert_signing_refused("No such file");
    assert_int_equal(remove(in("private/signing")), 0);
    assert_int_equal(symlink("../pair.jwk", in("private/signing")), 0);
    assert_signing_refused("is a public half: it cannot sign");
    assert_int_equal(remove(in("private/signing")), 0);
    scratch_write(in("private/signing"), "first.jwk");
    assert_signing_refused("it must be a link");
}

static void a_secret_has_no_place_among_the_private_halves(void **state)
{
    json_t *jwk;

    (void)state;
    generate(KEY_HS256, "first");
    generate(KEY_ES256, "pair");
    jwk = load("first.jwk");
    store("private/first.jwk", jwk, 0600);
    assert_int_equal(symlink("first.jwk", in("private/signing")), 0);
    assert_signing_refused("belongs in the folder above private/");
}

static void activating_moves_the_link_in_one_step(void **state)
{
    struct key *key;
    char target[128];
    ssize_t length;

    (void)state;
    generate(KEY_HS256, "first");
    generate(KEY_ES256, "pair");
    assert_true(keyring_activate(scratch.folder, "first", &error));
    length = readlink(in("private/signing"), target, sizeof target);
    assert_int_equal(length, 12);
    assert_memory_equal(target, "../first.jwk", 12);
    assert_true(keyring_activate(scratch.folder, "pair", &error));
    length = readlink(in("private/signing"), target, sizeof target);
    assert_int_equal(length, 8);
    assert_memory_equal(target, "pair.jwk", 8);
    key = keyring_read_signing(scratch.folder, &error);
    assert_string_equal(key->id, "pair");
    key_free(&key);

    assert_false(keyring_activate(scratch.folder, "nothing", &error));
    assert_non_null(strstr(error.text, "No such file"));
    key = keyring_read_signing(scratch.folder, &error);
    assert_string_equal(key->id, "pair");
    key_free(&key);
    assert_int_equal(count_files(in("private")), 2);
}

static void halves_of_different_keys_are_refused(void **state)
{
    json_t *jwk;

    (void)state;
    generate(KEY_ES256, "one");
    generate(KEY_ES256, "other");
    assert_true(keyring_activate(scratch.folder, "one", &error));
    jwk = load("private/other.jwk");
    json_object_set_new(jwk, "kid", json_string("one"));
    store("private/one.jwk", jwk, 0600);
    assert_signing_refused("are not halves of one key");
    assert_false(keyring_activate(scratch.folder, "one", &error));
    assert_int_equal(remove(in("one.jwk")), 0);
    assert_signing_refused("one.jwk: No such file");
}

static void a_private_number_that_does_not_fit_is_found(void **state)
{
    json_t *jwk, *other;

    (void)state;
    generate(KEY_ES256, "one");
    generate(KEY_ES256, "other");
    assert_true(keyring_activate(scratch.folder, "one", &error));
    jwk = load("private/one.jwk");
    other = load("private/other.jwk");
    json_object_set(jwk, "d", json_object_get(other, "d"));
    json_decref(other);
    store("private/one.jwk", jwk, 0600);
    assert_signing_refused("are not halves of one key");
}

static void a_private_half_without_its_number_is_refused(void **state)
{
    json_t *jwk;

    (void)state;
    generate(KEY_ES256, "pair");
    assert_true(keyring_activate(scratch.folder, "pair", &error));
    jwk = load("private/pair.jwk");
    json_object_del(jwk, "d");
    store("private/pair.jwk", jwk, 0600);
    assert_signing_refused("\"d\"");
}

static void key_ops_decide_between_signing_and_verifying(void **state)
{
    static const struct {
        const char *operations;
        bool verifies, signs;
    } cases[] = {
        {"[\"verify\"]", true, false},
        {"[\"sign\"]", false, true},
        {"[\"sign\", \"verify\"]", true, true},
        {"[\"sign\", \"verify\", \"encrypt\"]", false, false},
        {"[\"verify\", 1]", false, false},
        {"\"verify\"", false, false},
        {"{}", false, false},
    };

    (void)state;
    generate(KEY_HS256, "first");
    assert_true(keyring_activate(scratch.folder, "first", &error));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *jwk = load("first.jwk");
        struct keyring *keyring;
        struct key *key;

        json_object_set_new(jwk, "key_ops", json_loads(cases[i].operations, JSON_DECODE_ANY, NULL));
        store("first.jwk", jwk, 0640);
        keyring = keyring_read(scratch.folder, &error);
        key = keyring_read_signing(scratch.folder, &error);
        assert_int_equal(keyring != NULL, cases[i].verifies);
        assert_int_equal(key != NULL, cases[i].signs);
        keyring_put(&keyring);
        key_free(&key);
    }
}

static void no_error_quotes_a_secret(void **state)
{
    static const char *const members[] = {"alg", "kty", "use", "kid"};
    char *secret, *end;

    (void)state;
    generate(KEY_HS256, "first");
    for (size_t i = 0; i < 4; i++) {
        json_t *jwk = load("first.jwk");

        json_object_set(jwk, members[i], json_object_get(jwk, "k"));
        store("first.jwk", jwk, 0640);
        jwk = load("first.jwk");
        assert_null(keyring_read(scratch.folder, &error));
        assert_null(strstr(error.text, json_string_value(json_object_get(jwk, "k"))));
        json_decref(jwk);
        assert_int_equal(remove(in("first.jwk")), 0);
        generate(KEY_HS256, "first");
    }
    secret = scratch_read(in("first.jwk"), NULL);
    end = strrchr(secret, '"');
    *end = '\0'; /* the secret's string does not end */
    scratch_write(in("first.jwk"), secret);
    assert_refused("first.jwk", "not JSON");
    assert_null(strstr(error.text, strrchr(secret, '"') + 1));
    free(secret);
}

/* Even of a private half that lies where it must not. */
static void what_is_shown_of_a_key_holds_nothing_private(void **state)
{
    static const char *const members[] = {"k", "d", "p", "q", "dp", "dq", "qi"};
    static const char *const names[] = {"first", "misplaced"};

    (void)state;
    generate(KEY_HS256, "first");
    generate(KEY_RS256, "pair");
    store("misplaced.jwk", load("private/pair.jwk"), 0600);
    for (size_t i = 0; i < 2; i++) {
        json_t *jwk = keyring_public_jwk(scratch.folder, names[i], &error);

        assert_non_null(json_object_get(jwk, "alg"));
        for (size_t m = 0; m < sizeof members / sizeof *members; m++)
            assert_null(json_object_get(jwk, members[m]));
        json_decref(jwk);
    }
    store("first.jwk", json_pack("[s]", "k"), 0640);
    assert_null(keyring_public_jwk(scratch.folder, "first", &error));
    assert_non_null(strstr(error.text, "is not a JSON object"));
}

static json_t *public_member(const char *name, const char *member, json_t *value)
{
    json_t *jwk = keyring_public_jwk(scratch.folder, name, &error);

    assert_non_null(jwk);
    if (value)
        json_object_set_new(jwk, member, value);
    else
        json_object_del(jwk, member);
    return jwk;
}

static void a_set_gives_the_keys_that_sign_and_counts_what_should_not_be_there(void **state)
{
    static const char *const algorithms[] = {"RS512", "ES256", "RS256", NULL};
    json_t *set = json_pack("{s:[]}", "keys"), *keys = json_object_get(set, "keys");
    struct keyring *keyring;
    size_t unfit;
    char *text;

    (void)state;
    generate(KEY_ES256, "ec");
    generate(KEY_RS256, "rsa");
    generate(KEY_ES384, "other");
    generate(KEY_HS256, "secret");
    json_array_append_new(keys, public_member("ec", "x5t", json_string("x")));
    json_array_append_new(keys, public_member("rsa", "alg", NULL)); /* for RS512, the first */
    json_array_append_new(keys, public_member("other", "x", json_string("not looked at")));
    json_array_append_new(keys, public_member("rsa", "use", json_string("enc")));
    json_array_append_new(keys, json_pack("{s:s}", "kty", "OKP"));
    json_array_append_new(keys, json_integer(1));
    /* From here on each is unfit. */
    json_array_append_new(keys, public_member("ec", "use", NULL)); /* the same name again */
    json_array_append_new(keys, public_member("ec", "kid", NULL));
    json_array_append_new(keys, public_member("rsa", "n", json_string("AQAB")));
    json_array_append_new(keys, load("secret.jwk"));
    json_array_append_new(keys, load("private/ec.jwk"));
    json_object_set_new(json_array_get(keys, 10), "kid", json_string("ec2"));
    json_object_set_new(json_array_get(keys, 8), "kid", json_string("weak"));
    text = json_dumps(set, 0);
    keyring = keyring_from_set("it", text, strlen(text), algorithms, &unfit, &error);
    assert_non_null(keyring);
    assert_int_equal(unfit, 5);
    assert_int_equal(keyring_count(keyring), 2);
    assert_int_equal(keyring_find(keyring, "ec")->algorithm, KEY_ES256);
    assert_int_equal(keyring_find(keyring, "rsa")->algorithm, KEY_RS512);
    keyring_put(&keyring);
    free(text);
    json_decref(set);
}

/* The PEM of a new key, by the openssl command: somebody else's hand. */
static void make_pem(const char *options)
{
    char command[512];

    snprintf(command, sizeof command,
             "cd %s && openssl genpkey %s -out private.pem 2>/dev/null && "
             "openssl pkey -in private.pem -pubout -out public.pem",
             scratch.folder, options);
    assert_int_equal(system(command), 0);
}

static bool import(const char *file, enum key_algorithm algorithm)
{
    char chosen[64];

    return keyring_import(scratch.folder, in(file), "imported", algorithm, chosen, &error);
}

static void a_private_pem_becomes_both_halves(void **state)
{
    static const char *const options[] = {"-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
                                          "-algorithm EC -pkeyopt ec_paramgen_curve:P-521"};
    static const enum key_algorithm tried[] = {KEY_RS512, KEY_ES512};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct keyring *keyring;
        struct key *key;
        char *pem;

        make_pem(options[i]);
        assert_true(import("private.pem", tried[i]));
        assert_int_equal(mode_of(in("private/imported.jwk")), 0600);
        assert_true(keyring_activate(scratch.folder, "imported", &error));
        keyring = keyring_read(scratch.folder, &error);
        assert_non_null(keyring);
        key = keyring_read_signing(scratch.folder, &error);
        assert_true(key_signs_for(key, keyring_find(keyring, "imported")));
        pem = scratch_read(in("private.pem"), NULL);
        assert_string_equal((const char *)key->material, pem);
        free(pem);
        key_free(&key);
        keyring_put(&keyring);
        assert_int_equal(remove(in("imported.jwk")), 0);
        assert_int_equal(remove(in("private/imported.jwk")), 0);
    }
}

static void a_public_pem_becomes_the_public_half_alone(void **state)
{
    struct keyring *keyring;

    (void)state;
    make_pem("-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    assert_true(import("public.pem", KEY_ES256));
    keyring = keyring_read(scratch.folder, &error);
    assert_non_null(keyring);
    assert_int_equal(access(in("private/imported.jwk"), F_OK), -1);
    keyring_put(&keyring);
    assert_false(keyring_activate(scratch.folder, "imported", &error));
    assert_non_null(strstr(error.text, "cannot sign"));
}

static void a_secret_in_base64url_is_imported(void **state)
{
    static const char bytes[33] = "0123456789abcdef0123456789abc~\xff\xff";
    static const char *const good[] = {"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmN-__8",
                                       "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmN-__8=\r\n"};
    static const char *const bad[] = {"",
                                      "\n",
                                      "====",
                                      "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmN+//8",
                                      "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmN",
                                      "MDEyMzQ1Njc4OWFiY2RlZjAx\nMjM0NTY3ODlhYmN-__8"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct keyring *keyring;
        const struct key *key;

        scratch_write(in("secret"), good[i]);
        assert_true(import("secret", KEY_HS256));
        assert_int_equal(mode_of(in("imported.jwk")), 0640);
        keyring = keyring_read(scratch.folder, &error);
        assert_non_null(keyring);
        key = keyring_find(keyring, "imported");
        assert_int_equal(key->material_bytes, 32);
        assert_memory_equal(key->material, bytes, 32);
        keyring_put(&keyring);
        assert_int_equal(remove(in("imported.jwk")), 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        scratch_write(in("secret"), bad[i]);
        assert_false(import("secret", KEY_HS256));
        assert_non_null(strstr(error.text, "base64url"));
        assert_true(!*bad[i] || !strstr(error.text, "MDEy"));
    }
    assert_false(import("secret", KEY_HS512));
}

static void a_pem_of_another_kind_is_refused(void **state)
{
    static const struct {
        const char *options;
        enum key_algorithm algorithm;
        const char *words;
    } cases[] = {
        {"-algorithm RSA -pkeyopt rsa_keygen_bits:1024", KEY_RS256, "1024 bits"},
        {"-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3", KEY_RS256,
         "exponent"},
        {"-algorithm RSA -pkeyopt rsa_keygen_bits:2048", KEY_ES256, "no EC key"},
        {"-algorithm RSA -pkeyopt rsa_keygen_bits:2048", KEY_HS256, "a PEM holds a pair"},
        {"-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048", KEY_RS256, "no RSA key"},
        {"-algorithm EC -pkeyopt ec_paramgen_curve:P-384", KEY_ES256, "curve P-256"},
        {"-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", KEY_ES256, "curve P-256"},
        {"-algorithm EC -pkeyopt ec_paramgen_curve:P-256", KEY_RS256, "no RSA key"},
        {"-algorithm ED25519", KEY_ES256, "no EC key"},
        {"-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:x", KEY_ES256,
         "unencrypted"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char command[512];

        snprintf(command, sizeof command, "openssl genpkey %s -out %s 2>/dev/null",
                 cases[i].options, in("private.pem"));
        assert_int_equal(system(command), 0);
        assert_false(import("private.pem", cases[i].algorithm));
        assert_non_null(strstr(error.text, cases[i].words));
        assert_int_equal(access(in("imported.jwk"), F_OK), -1);
    }
    scratch_write(in("private.pem"), "not a PEM");
    assert_false(import("private.pem", KEY_ES256));
    assert_non_null(strstr(error.text, "holds no PEM"));
    assert_false(import("nothing.pem", KEY_ES256));
    assert_non_null(strstr(error.text, "No such file"));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(algorithms_are_found_by_their_exact_name),
        EACH(a_secret_is_made_read_and_signs),
        EACH(a_pair_is_split_between_the_folders),
        EACH(a_name_is_made_of_the_day_and_letters),
        EACH(a_name_that_would_leave_the_folder_is_refused),
        EACH(an_existing_key_is_never_written_over),
        EACH(a_key_is_found_by_its_name_or_as_the_only_one),
        EACH(a_ring_lives_until_its_last_holder_lets_go),
        EACH(only_finished_jwk_files_are_keys),
        EACH(a_folder_without_keys_is_an_error),
        EACH(a_jwk_that_is_no_file_does_not_hang),
        EACH(others_must_not_read_or_change_a_secret),
        EACH(others_may_read_a_public_half_but_not_change_it),
        EACH(a_private_half_is_for_its_owner_alone),
        EACH(a_folder_that_others_can_change_is_refused),
        EACH(the_link_may_only_name_a_key_of_this_folder),
        EACH(a_secret_has_no_place_among_the_private_halves),
        EACH(activating_moves_the_link_in_one_step),
        EACH(halves_of_different_keys_are_refused),
        EACH(a_private_number_that_does_not_fit_is_found),
        EACH(a_private_half_without_its_number_is_refused),
        EACH(key_ops_decide_between_signing_and_verifying),
        EACH(no_error_quotes_a_secret),
        EACH(what_is_shown_of_a_key_holds_nothing_private),
        EACH(a_set_gives_the_keys_that_sign_and_counts_what_should_not_be_there),
        EACH(a_private_pem_becomes_both_halves),
        EACH(a_public_pem_becomes_the_public_half_alone),
        EACH(a_pem_of_another_kind_is_refused),
        EACH(a_secret_in_base64url_is_imported),
    };
    const struct CMUnitTest as_root[] = {
        EACH(what_belongs_to_somebody_else_is_refused),
        EACH(a_new_key_belongs_to_whom_its_folder_belongs_to),
        EACH(a_service_refuses_a_private_folder_of_another),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    if (geteuid() == 0)
        failed += cmocka_run_group_tests(as_root, NULL, NULL);
    return failed;
}
