/*
 * The folder of keys: which are in it, which one signs, and what is put there.
 *
 * A key is admitted only when the file's name agrees with its `kid`, and the place it lies in with
 * the half of the pair it holds; what else a key must be is jwk.c's part.  Where files lie, who may
 * touch them and how they are written is keyfile.c's.
 */
#include "common/keyring.h"
#include "common/clock.h"
#include "common/keyfile.h"
#include "common/memory.h"
#include "common/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

struct keyring {
    atomic_size_t references;
    size_t n_keys;
    struct key **keys;
};

static struct keyring *keyring_new(size_t n)
{
    struct keyring *keyring = memory_zeroed(1, sizeof *keyring);

    atomic_init(&keyring->references, 1);
    keyring->keys = memory_zeroed(n + 1, sizeof *keyring->keys);
    return keyring;
}

static void prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, scratch_install);
    if (sodium_init() < 0)
        abort();
}

/* An object, its members read from the file; the caller's.  NULL: error. */
static json_t *read_members(const char *path, bool is_private, struct stat *status,
                            struct error *error)
{
    char text[KEYFILE_MAX_BYTES];
    size_t bytes;
    json_error_t where;
    json_t *members = NULL;
    bool read = keyfile_read(path, is_private, text, &bytes, status, error);

    if (read)
        members = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
    sodium_memzero(text, sizeof text);
    if (!read || json_is_object(members))
        return members;
    if (!members) /* without where.text, which quotes what stands near the fault */
        error_set(error, "%s: line %d: is not JSON, or repeats a member", path, where.line);
    else
        error_set(error, "%s: is not a JSON object", path);
    json_decref(members);
    return NULL;
}

/* What lies in the folder itself is read by the gateway, which must never be able to sign. */
static bool check_place(const struct jwk *jwk, const struct key *key, const struct stat *status)
{
    const char *member;

    if (!key->pkey && jwk->is_private)
        return error_set(jwk->error, "%s: an \"oct\" key belongs in the folder above private/",
                         jwk->where);
    if (!key->pkey)
        return keyfile_check_secret(jwk->where, status, jwk->error);
    member = jwk->is_private ? NULL : jwk_private_member(jwk->members);
    return !member ||
           error_set(jwk->error,
                     "%s: holds the private member \"%s\": move the file into private/, leave only "
                     "the public half here, and replace this key if others could read it",
                     jwk->where, member);
}

/* The key of that name in the folder, or in its private/. */
static struct key *read_key(const char *folder, const char *name, bool is_private,
                            const char *operation, struct error *error)
{
    char path[PATH_MAX];
    struct jwk jwk = {.where = path,
                      .kid = name,
                      .operation = operation,
                      .is_private = is_private,
                      .error = error};
    struct key *key = NULL;
    struct stat status;

    if (keyfile_path(path, error, "%s/%s%s.jwk", folder, is_private ? "private/" : "", name) &&
        (jwk.members = read_members(path, is_private, &status, error)))
        key = key_from_jwk(&jwk);
    if (key && !check_place(&jwk, key, &status))
        key_free(&key);
    json_decref(jwk.members);
    return key;
}

static bool read_all(struct keyring *keyring, const char *folder, struct dirent **files, int n,
                     struct error *error)
{
    char name[KEYFILE_NAME_BYTES];

    for (int i = 0; i < n; i++) {
        if (!keyfile_name(files[i]->d_name, name))
            return error_set(error,
                             "%s/%s: a key's name has 1 to %d letters, digits, '.', '_' or '-'",
                             folder, files[i]->d_name, KEYFILE_NAME_BYTES - 1);
        keyring->keys[keyring->n_keys] = read_key(folder, name, false, "verify", error);
        if (!keyring->keys[keyring->n_keys])
            return false;
        keyring->n_keys++;
    }
    return true;
}

/* As the shell's *.jwk: what begins with a dot is an editor's, or not finished. */
static int is_key_file(const struct dirent *file)
{
    size_t length = strlen(file->d_name);

    return file->d_name[0] != '.' && length >= 4 && strcmp(file->d_name + length - 4, ".jwk") == 0;
}

static struct key *read_signing(const char *folder, const char *name, bool is_private,
                                struct error *error)
{
    struct key *key = read_key(folder, name, is_private, "sign", error), *verifying = NULL;
    bool sound = false;

    if (key && !is_private)
        sound = !key->pkey ||
                error_set(error, "%s/%s.jwk is a public half: it cannot sign", folder, name);
    else if (key && (verifying = read_key(folder, name, false, "verify", error)))
        sound = key_signs_for(key, verifying) ||
                error_set(error, "%s: %s.jwk and private/%s.jwk are not halves of one key", folder,
                          name, name);
    key_free(&verifying);
    if (!sound)
        key_free(&key);
    return key;
}

/* --- A set ---------------------------------------------------------------------------------- */

/* Which of the algorithms the key is for.  KEY_ALGORITHMS: none. */
static enum key_algorithm choose_algorithm(const json_t *members, const char *const *algorithms)
{
    const char *own = json_string_value(json_object_get(members, "alg"));

    for (; *algorithms; algorithms++) {
        enum key_algorithm algorithm = key_algorithm_find(*algorithms, strlen(*algorithms));

        if (own ? strcmp(own, *algorithms) == 0 : key_algorithm_fits(algorithm, members))
            return algorithm;
    }
    return KEY_ALGORITHMS;
}

/* Meant for something else than signatures by one of ours, which is nobody's mistake. */
static bool is_elsewhere(const json_t *members, enum key_algorithm algorithm)
{
    const char *use = json_string_value(json_object_get(members, "use"));
    const char *type = json_string_value(json_object_get(members, "kty"));

    return (use && strcmp(use, "sig") != 0) ||
           (algorithm == KEY_ALGORITHMS && (!type || strcmp(type, "oct") != 0));
}

/* False: it should not be there. */
static bool take_member(struct keyring *keyring, json_t *members, const char *const *algorithms)
{
    enum key_algorithm algorithm = choose_algorithm(members, algorithms);
    const char *kid = json_string_value(json_object_get(members, "kid"));
    struct error error;
    struct jwk jwk = {
        .where = "", .kid = kid, .operation = "verify", .members = members, .error = &error};
    struct key *key;

    if (is_elsewhere(members, algorithm))
        return true;
    if (algorithm == KEY_ALGORITHMS || !kid || jwk_private_member(members) ||
        keyring_find(keyring, kid))
        return false;
    json_object_set_new(members, "alg", json_string(key_algorithm_name(algorithm)));
    key = key_from_jwk(&jwk);
    if (key)
        keyring->keys[keyring->n_keys++] = key;
    return key;
}

/* --- Writing ------------------------------------------------------------------------------- */

static bool write_half(const char *folder, const char *name, const struct key *key,
                       bool private_half, struct error *error)
{
    json_t *jwk = key_to_jwk(key, name, private_half);
    char *text = jwk ? json_dumps(jwk, JSON_INDENT(4)) : NULL;
    bool written = text
                       ? keyfile_write(folder, name, private_half ? 0600 : 0640, text, error)
                       : error_set(error, "%s: OpenSSL does not give the numbers of the key", name);

    memory_free_wiped(text);
    json_decref(jwk);
    return written;
}

/* The private half first: a public half that stands alone would be believed already. */
static bool write_pair(const char *folder, const char *name, const struct key *key,
                       struct error *error)
{
    char private[PATH_MAX], path[PATH_MAX];

    if (!keyfile_make_private(private, folder, error) ||
        !keyfile_path(path, error, "%s/%s.jwk", private, name) ||
        !write_half(private, name, key, true, error))
        return false;
    if (write_half(folder, name, key, false, error))
        return true;
    unlink(path);
    return false;
}

/* The name wanted, or one from the day and random letters: "20260131-kqzmwa". */
static bool choose_name(const char *name, char chosen[KEYFILE_NAME_BYTES], struct error *error)
{
    time_t now = (time_t)clock_wall_s();
    struct tm day;
    size_t length;

    if (name)
        return keyfile_check_name(name, error) && strcpy(chosen, name);
    length = strftime(chosen, KEYFILE_NAME_BYTES - 6, "%Y%m%d-", gmtime_r(&now, &day));
    for (size_t i = 0; i < 6; i++)
        chosen[length++] = (char)('a' + randombytes_uniform(26));
    chosen[length] = '\0';
    return true;
}

/* --- What others call ------------------------------------------------------------------------ */

struct keyring *keyring_read(const char *folder, struct error *error)
{
    struct keyring *keyring = NULL;
    struct dirent **files = NULL;
    int n;

    prepare();
    if (!keyfile_check_folder(folder, false, error))
        return NULL;
    n = scandir(folder, &files, is_key_file, alphasort);
    if (n < 0) {
        error_set(error, "%s: %s", folder, strerror(errno));
        return NULL;
    }
    keyring = keyring_new((size_t)n);
    if (n == 0)
        error_set(error, "%s holds no key: there is no NAME.jwk in it", folder);
    if (n == 0 || !read_all(keyring, folder, files, n, error))
        keyring_put(&keyring);
    while (n > 0)
        free(files[--n]);
    free(files);
    return keyring;
}

struct keyring *keyring_from_set(const char *where, const char *text, size_t bytes,
                                 const char *const *algorithms, size_t *unfit, struct error *error)
{
    struct keyring *keyring = NULL;
    json_error_t at;
    json_t *set, *keys;

    prepare();
    *unfit = 0;
    set = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &at);
    keys = json_object_get(set, "keys");
    if (!set)
        error_set(error, "%s: line %d: is not JSON, or repeats a member", where, at.line);
    else if (!json_is_array(keys))
        error_set(error, "%s: is no JWK Set: it has no list \"keys\"", where);
    else if (json_array_size(keys) > KEYRING_SET_MAX)
        error_set(error, "%s: has %zu keys, %d are the most", where, json_array_size(keys),
                  KEYRING_SET_MAX);
    else
        keyring = keyring_new(json_array_size(keys));
    for (size_t i = 0; keyring && i < json_array_size(keys); i++)
        *unfit += !take_member(keyring, json_array_get(keys, i), algorithms);
    if (keyring && keyring->n_keys == 0) {
        error_set(error, "%s: has no key that can be used", where);
        keyring_put(&keyring);
    }
    json_decref(set);
    return keyring;
}

struct keyring *keyring_read_set(const char *path, const char *const *algorithms, size_t *unfit,
                                 struct error *error)
{
    char text[KEYFILE_MAX_BYTES];
    struct stat status;
    size_t bytes;

    return keyfile_read(path, false, text, &bytes, &status, error)
               ? keyring_from_set(path, text, bytes, algorithms, unfit, error)
               : NULL;
}

size_t keyring_count(const struct keyring *keyring)
{
    return keyring->n_keys;
}

struct keyring *keyring_get(struct keyring *keyring)
{
    atomic_fetch_add(&keyring->references, 1);
    return keyring;
}

void keyring_put(struct keyring **keyring)
{
    struct keyring *last = *keyring;

    *keyring = NULL;
    if (!last || atomic_fetch_sub(&last->references, 1) > 1)
        return;
    for (size_t i = 0; i < last->n_keys; i++)
        key_free(&last->keys[i]);
    free(last->keys);
    free(last);
}

const struct key *keyring_find(const struct keyring *keyring, const char *kid)
{
    if (!kid)
        return keyring->n_keys == 1 ? keyring->keys[0] : NULL;
    for (size_t i = 0; i < keyring->n_keys; i++)
        if (strcmp(keyring->keys[i]->id, kid) == 0)
            return keyring->keys[i];
    return NULL;
}

const struct key *keyring_at(const struct keyring *keyring, size_t index)
{
    return index < keyring->n_keys ? keyring->keys[index] : NULL;
}

json_t *keyring_public_jwk(const char *folder, const char *name, struct error *error)
{
    char path[PATH_MAX];
    const char *member;
    struct stat status;
    json_t *jwk;

    prepare();
    if (!keyfile_check_name(name, error) || !keyfile_path(path, error, "%s/%s.jwk", folder, name))
        return NULL;
    jwk = read_members(path, false, &status, error);
    while ((member = jwk_private_member(jwk)))
        json_object_del(jwk, member);
    return jwk;
}

bool keyring_signing_name(const char *folder, char name[64], struct error *error)
{
    bool is_private;

    return keyfile_read_link(folder, name, &is_private, error);
}

struct key *keyring_read_signing(const char *folder, struct error *error)
{
    char name[KEYFILE_NAME_BYTES];
    bool is_private;

    prepare();
    if (!keyfile_check_folder(folder, false, error) ||
        !keyfile_read_link(folder, name, &is_private, error))
        return NULL;
    return read_signing(folder, name, is_private, error);
}

bool keyring_generate(const char *folder, enum key_algorithm algorithm, const char *name,
                      char chosen[64], struct error *error)
{
    struct key *key;
    bool written;

    prepare();
    if (!keyfile_check_folder(folder, false, error) || !choose_name(name, chosen, error) ||
        !(key = key_generate(algorithm, error)))
        return false;
    written = key->pkey ? write_pair(folder, chosen, key, error)
                        : write_half(folder, chosen, key, false, error);
    key_free(&key);
    return written;
}

bool keyring_import(const char *folder, const char *path, const char *name,
                    enum key_algorithm algorithm, char chosen[64], struct error *error)
{
    struct jwk jwk = {.where = path, .algorithm = algorithm, .error = error};
    char text[KEYFILE_MAX_BYTES];
    size_t bytes;
    struct key *key = NULL;
    bool written = false;

    prepare();
    if (keyfile_check_folder(folder, false, error) && choose_name(name, chosen, error) &&
        keyfile_read_foreign(path, text, &bytes, error))
        key = key_algorithm_is_secret(algorithm) ? key_from_base64url(&jwk, text, bytes)
                                                 : key_from_pem(&jwk, text, bytes);
    sodium_memzero(text, sizeof text);
    if (key)
        written = jwk.is_private ? write_pair(folder, chosen, key, error)
                                 : write_half(folder, chosen, key, false, error);
    key_free(&key);
    return written;
}

void keyring_settle(const char *folder, const char *name)
{
    struct timespec now, pause;
    struct stat status;
    char path[PATH_MAX];
    struct error none;
    int64_t age_ms, left_ms = KEYRING_SETTLE_MS;

    if (!keyfile_path(path, &none, "%s/%s.jwk", folder, name) || stat(path, &status) != 0)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    age_ms = (now.tv_sec - status.st_ctim.tv_sec) * INT64_C(1000) +
             (now.tv_nsec - status.st_ctim.tv_nsec) / 1000000;
    left_ms -= age_ms > 0 ? age_ms : 0; /* a clock that was set back makes nobody wait longer */
    pause = (struct timespec){left_ms / 1000, left_ms % 1000 * 1000000};
    while (left_ms > 0 && nanosleep(&pause, &pause) != 0)
        ;
}

bool keyring_activate(const char *folder, const char *name, struct error *error)
{
    char private[PATH_MAX], path[PATH_MAX];
    struct key *key;
    bool is_private;

    prepare();
    if (!keyfile_check_name(name, error) || !keyfile_check_folder(folder, false, error) ||
        !keyfile_make_private(private, folder, error) ||
        !keyfile_path(path, error, "%s/%s.jwk", private, name))
        return false;
    is_private = access(path, F_OK) == 0;
    key = read_signing(folder, name, is_private, error);
    if (!key)
        return false;
    key_free(&key);
    return keyfile_write_link(folder, name, is_private, error);
}

/* By the time of its inode: a file that was restored keeps its other one. */
bool keyring_signing_since(const char *folder, int64_t *since_s, struct error *error)
{
    char path[PATH_MAX];
    struct stat status;

    if (!keyfile_path(path, error, "%s/private/signing", folder))
        return false;
    if (lstat(path, &status) != 0)
        return error_set(error, "%s: %s", path, strerror(errno));
    *since_s = status.st_ctim.tv_sec;
    return true;
}

bool keyring_can_sign(const char *folder, const struct key *key)
{
    char path[PATH_MAX];
    struct error none;

    return key->algorithm < KEY_RS256 ||
           (keyfile_path(path, &none, "%s/private/%s.jwk", folder, key->id) &&
            access(path, F_OK) == 0);
}

bool keyring_retire(const char *folder, const char *name, struct error *error)
{
    char signing[KEYFILE_NAME_BYTES];
    struct error none;

    if (!keyfile_check_name(name, error) || !keyfile_check_folder(folder, false, error))
        return false;
    if (keyring_signing_name(folder, signing, &none) && strcmp(signing, name) == 0)
        return error_set(error,
                         "%s signs; let another key sign first, with `sallyport key "
                         "activate NAME`",
                         name);
    return keyfile_remove(folder, name, error);
}

uint64_t keyring_stamp(const char *folder)
{
    return keyfile_stamp(folder);
}
