/* `sallyport key`: what signs tokens, and what verifies them. */
#include "common/keyring.h"

#include "common/clock.h"
#include "common/keyfile.h"
#include "db/admin/columns.h"
#include "db/admin/instance.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A login service that is slow to notice may have signed by the old key until then. */
#define LATE_S 60
#define NEVER  INT64_MAX

/*
 * The config, and the keys' owner: root would make files that the services cannot read.  NULL: the
 * reason has been said, and is in `status`.
 */
static struct config *open_keys(const struct request *request, enum command_status *status)
{
    struct error error;
    struct config *config = config_read(request->config, &error);

    *status = COMMAND_DONE;
    if (config && instance_become_owner(config->keys, &error))
        return config;
    *status = command_refuse(COMMAND_FAILED, "%s", error.text);
    if (config)
        config_free(&config);
    return NULL;
}

/* Whatever is wrong with it, and not what is no name at all. */
static bool is_there(const struct config *config, const char *name)
{
    char path[PATH_MAX];
    struct error error;

    return keyfile_check_name(name, &error) &&
           keyfile_path(path, &error, "%s/%s.jwk", config->keys, name) && access(path, F_OK) == 0;
}

static enum command_status refuse_unknown(const char *name)
{
    return command_refuse(COMMAND_NOT_FOUND, "there is no key \"%s\"", name);
}

static bool read_algorithm(const struct request *request, enum key_algorithm *algorithm)
{
    const char *name = request_value(request, OPTION_ALGORITHM);

    *algorithm = name ? key_algorithm_find(name, strlen(name)) : KEY_HS256;
    if (*algorithm != KEY_ALGORITHMS)
        return true;
    command_misused(
        request,
        "--algorithm \"%s\" is none of HS256, HS384, HS512, RS256, RS384, RS512, ES256, "
        "ES384, ES512",
        name);
    return false;
}

/* Where a key signed until now, services may be at work that have to know the new one first. */
static bool activate(const struct config *config, const char *name, struct error *error)
{
    struct key *before = keyring_read_signing(config->keys, error);
    bool is_signing = before && strcmp(before->id, name) == 0;

    if (before && !is_signing)
        keyring_settle(config->keys, name);
    key_free(&before);
    return is_signing || keyring_activate(config->keys, name, error); /* it signs since it did */
}

/* A key is there now: say its name, and let it sign where that was asked for. */
static enum command_status made(const struct request *request, const struct config *config,
                                const char *name)
{
    bool signs = request_has(request, OPTION_ACTIVATE);
    struct error error;

    if (signs && !activate(config, name, &error))
        return command_refuse(COMMAND_FAILED, "the key %s is there, but does not sign: %s", name,
                              error.text);
    if (request_has(request, OPTION_JSON))
        command_print_json(json_pack("{s:s, s:b}", "kid", name, "signing", signs));
    else
        puts(name);
    return COMMAND_DONE;
}

/* `generate`, and `import`, whose operand is a file. */
static enum command_status key_make_command(const struct request *request)
{
    const char *wanted = request_value(request, OPTION_NAME);
    enum key_algorithm algorithm;
    enum command_status status;
    struct config *config;
    struct error error;
    char name[64];
    bool is_made;

    if (!read_algorithm(request, &algorithm))
        return COMMAND_USAGE;
    config = open_keys(request, &status);
    if (!config)
        return status;
    if (wanted && is_there(config, wanted)) {
        config_free(&config);
        return command_refuse(COMMAND_EXISTS, "there is a key \"%s\" already", wanted);
    }
    if (request->operand)
        is_made = keyring_import(config->keys, request->operand, wanted, algorithm, name, &error);
    else
        is_made = keyring_generate(config->keys, algorithm, wanted, name, &error);
    status =
        is_made ? made(request, config, name) : command_refuse(COMMAND_FAILED, "%s", error.text);
    config_free(&config);
    return status;
}

static enum command_status key_activate_command(const struct request *request)
{
    enum command_status status;
    struct config *config = open_keys(request, &status);
    struct error error;

    if (!config)
        return status;
    if (!is_there(config, request->operand))
        status = refuse_unknown(request->operand);
    else if (!activate(config, request->operand, &error))
        status = command_refuse(COMMAND_FAILED, "%s", error.text);
    config_free(&config);
    return status;
}

/*
 * Until when tokens may be alive that a key signed which signs no more: it stopped at the latest
 * when the one that signs now began, or a little later, and no token lives longer than was ever
 * announced.
 */
static bool find_last_end(const struct config *config, int64_t *end_s, struct error *error)
{
    struct revocations *revocations = revocations_open_reader(config->token_revocations, error);
    int64_t lifetime_s = 0, configured_s = (int64_t)(config->token_lifetime / 1000);
    bool is_known = revocations && revocations_longest(revocations, &lifetime_s, error) &&
                    keyring_signing_since(config->keys, end_s, error);

    revocations_close(&revocations);
    *end_s += LATE_S + (lifetime_s > configured_s ? lifetime_s : configured_s);
    return is_known;
}

static void add_row(struct columns *columns, const struct key *key, bool signs, int64_t end_s)
{
    columns_add(columns, key->id);
    columns_add(columns, key_algorithm_name(key->algorithm));
    columns_add(columns, signs ? "signs and verifies" : "verifies");
    if (signs)
        columns_add(columns, "it is signing");
    else if (end_s == NEVER)
        columns_add(columns, "unknown");
    else
        columns_add_time(columns, end_s);
}

static json_t *key_json(const struct key *key, bool signs, int64_t end_s)
{
    return json_pack("{s:s, s:s, s:b, s:o}", "kid", key->id, "alg",
                     key_algorithm_name(key->algorithm), "signing", signs, "tokens_until",
                     signs || end_s == NEVER ? json_null() : json_integer(end_s));
}

static void print_list(const struct request *request, const struct config *config,
                       const struct keyring *keyring, const char *signing)
{
    struct columns columns = COLUMNS("KEY", "ALGORITHM", "USE", "TOKENS UNTIL");
    json_t *list = request_has(request, OPTION_JSON) ? json_array() : NULL;
    const struct key *key;
    struct error error;
    int64_t last_s = 0;
    bool is_known = find_last_end(config, &last_s, &error);

    for (size_t i = 0; (key = keyring_at(keyring, i)) != NULL; i++) {
        bool signs = strcmp(key->id, signing) == 0;
        int64_t end_s = is_known && keyring_can_sign(config->keys, key) ? last_s : NEVER;

        if (list)
            json_array_append_new(list, key_json(key, signs, end_s));
        else
            add_row(&columns, key, signs, end_s);
    }
    if (list)
        command_print_json(list);
    else
        columns_print(&columns);
}

static enum command_status key_list_command(const struct request *request)
{
    enum command_status status;
    struct config *config = open_keys(request, &status);
    struct keyring *keyring;
    struct error error;
    char signing[64];

    if (!config)
        return status;
    keyring = keyring_read(config->keys, &error);
    if (!keyring)
        status = command_refuse(COMMAND_FAILED, "%s", error.text);
    else if (!keyring_signing_name(config->keys, signing, &error))
        signing[0] = '\0'; /* where another machine signs, there is none */
    if (keyring) {
        print_list(request, config, keyring, signing);
        keyring_put(&keyring);
    }
    config_free(&config);
    return status;
}

/* May tokens that it signed still be alive?  Then the reason has been said. */
static bool is_in_use(const struct config *config, const struct key *key)
{
    struct error error;
    int64_t end_s = 0;

    if (!keyring_can_sign(config->keys, key))
        command_refuse(COMMAND_FAILED,
                       "the key %s signs elsewhere, and nobody here knows when it did last; "
                       "--force retires it all the same",
                       key->id);
    else if (!find_last_end(config, &end_s, &error))
        command_refuse(COMMAND_FAILED,
                       "until when tokens of the key %s are alive cannot be said: %s; --force "
                       "retires it all the same",
                       key->id, error.text);
    else if (end_s > clock_wall_s())
        command_refuse(COMMAND_FAILED,
                       "tokens of the key %s may be alive for another %lld s; --force retires it "
                       "all the same, and they are refused",
                       key->id, (long long)(end_s - clock_wall_s()));
    else
        return false;
    return true;
}

static enum command_status retire(const struct request *request, const struct config *config,
                                  const struct keyring *keyring)
{
    const struct key *key = keyring_find(keyring, request->operand);
    struct error error;
    char signing[64];
    bool signs;

    if (!key)
        return refuse_unknown(request->operand);
    /* That it signs is the better reason, and no --force helps against it. */
    signs = keyring_signing_name(config->keys, signing, &error) && strcmp(signing, key->id) == 0;
    if (!signs && !request_has(request, OPTION_FORCE) && is_in_use(config, key))
        return COMMAND_FAILED;
    if (request_has(request, OPTION_FORCE) &&
        !command_is_confirmed(request, "Remove the key %s, and refuse what it signed", key->id))
        return COMMAND_FAILED;
    if (!signs && request_has(request, OPTION_DRY_RUN)) {
        printf("the key %s would be removed\n", key->id);
        return COMMAND_DONE;
    }
    if (!keyring_retire(config->keys, key->id, &error))
        return command_refuse(COMMAND_FAILED, "%s", error.text);
    return COMMAND_DONE;
}

static enum command_status key_retire_command(const struct request *request)
{
    enum command_status status;
    struct config *config = open_keys(request, &status);
    struct keyring *keyring;
    struct error error;

    if (!config)
        return status;
    keyring = keyring_read(config->keys, &error);
    status = keyring ? retire(request, config, keyring)
                     : command_refuse(COMMAND_FAILED, "%s", error.text);
    keyring_put(&keyring);
    config_free(&config);
    return status;
}

static enum command_status key_show_command(const struct request *request)
{
    enum command_status status;
    struct config *config = open_keys(request, &status);
    struct error error;
    json_t *jwk;

    if (!config)
        return status;
    if (!is_there(config, request->operand))
        status = refuse_unknown(request->operand);
    else if ((jwk = keyring_public_jwk(config->keys, request->operand, &error)))
        command_print_json(jwk);
    else
        status = command_refuse(COMMAND_FAILED, "%s", error.text);
    config_free(&config);
    return status;
}

/* clang-format off */
const struct command key_commands[] = {
    {"key", "generate", NULL,   ACTS | TAKES(OPTION_ALGORITHM) | TAKES(OPTION_NAME) | TAKES(OPTION_ACTIVATE) | TAKES(OPTION_JSON), 0,
     "make a key and print its name; it verifies at once, and signs once it is activated", key_make_command},
    {"key", "import",   "FILE", ACTS | TAKES(OPTION_ALGORITHM) | TAKES(OPTION_NAME) | TAKES(OPTION_ACTIVATE) | TAKES(OPTION_JSON), TAKES(OPTION_ALGORITHM),
     "take a key from a PEM file, both halves or the public one alone, or for HS a secret in base64url", key_make_command},
    {"key", "activate", "NAME", ACTS, 0, "let this key sign from now on", key_activate_command},
    {"key", "retire",   "NAME", ACTS | TAKES(OPTION_FORCE) | TAKES(OPTION_DRY_RUN) | TAKES(OPTION_YES), 0, "remove a key that signs no more, once its tokens have ended", key_retire_command},
    {"key", "list",     NULL,   TAKES(OPTION_JSON), 0, "the keys, and which of them signs", key_list_command},
    {"key", "show",     "NAME", TAKES(OPTION_JSON), 0, "the key as a JWK, without what is secret", key_show_command},
    {.noun = NULL},
};
/* clang-format on */
