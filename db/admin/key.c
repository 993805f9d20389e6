/* `sallyport key`: what signs tokens, and what verifies them. */
#include "common/keyring.h"

#include "db/admin/columns.h"
#include "db/admin/instance.h"

#include <string.h>

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

/* A key is there now: say its name, and let it sign where that was asked for. */
static enum command_status made(const struct request *request, const struct config *config,
                                const char *name)
{
    bool activate = request_has(request, OPTION_ACTIVATE);
    struct error error;

    if (activate && !keyring_activate(config->keys, name, &error))
        return command_refuse(COMMAND_FAILED, "the key %s is there, but does not sign: %s", name,
                              error.text);
    if (request_has(request, OPTION_JSON))
        command_print_json(json_pack("{s:s, s:b}", "kid", name, "signing", activate));
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
    if (request->operand)
        is_made =
            keyring_import_pem(config->keys, request->operand, wanted, algorithm, name, &error);
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
    if (!keyring_activate(config->keys, request->operand, &error))
        status = command_refuse(COMMAND_FAILED, "%s", error.text);
    config_free(&config);
    return status;
}

static void print_list(const struct request *request, const struct keyring *keyring,
                       const char *signing)
{
    struct columns columns = {.n_columns = 3};
    json_t *list = json_array();
    const struct key *key;

    columns_add(&columns, "KEY");
    columns_add(&columns, "ALGORITHM");
    columns_add(&columns, "USE");
    for (size_t i = 0; (key = keyring_at(keyring, i)) != NULL; i++) {
        bool signs = strcmp(key->id, signing) == 0;

        columns_add(&columns, key->id);
        columns_add(&columns, key_algorithm_name(key->algorithm));
        columns_add(&columns, signs ? "signs and verifies" : "verifies");
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:b}", "kid", key->id, "alg",
                                        key_algorithm_name(key->algorithm), "signing", signs));
    }
    if (request_has(request, OPTION_JSON))
        command_print_json(json_incref(list));
    else
        columns_print(&columns);
    json_decref(list);
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
        print_list(request, keyring, signing);
        keyring_put(&keyring);
    }
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
    jwk = keyring_public_jwk(config->keys, request->operand, &error);
    if (jwk)
        command_print_json(jwk);
    else
        status = command_refuse(COMMAND_NOT_FOUND, "%s", error.text);
    config_free(&config);
    return status;
}

/* clang-format off */
const struct command key_commands[] = {
    {"key", "generate", NULL,   TAKES(OPTION_ALGORITHM) | TAKES(OPTION_NAME) | TAKES(OPTION_ACTIVATE) | TAKES(OPTION_JSON), 0,
     "make a key and print its name; it verifies at once, and signs once it is activated", key_make_command},
    {"key", "import",   "FILE", TAKES(OPTION_ALGORITHM) | TAKES(OPTION_NAME) | TAKES(OPTION_ACTIVATE) | TAKES(OPTION_JSON), TAKES(OPTION_ALGORITHM),
     "take a key from a PEM file: both halves, or the public one alone", key_make_command},
    {"key", "activate", "NAME", 0, 0, "let this key sign from now on", key_activate_command},
    {"key", "list",     NULL,   TAKES(OPTION_JSON), 0, "the keys, and which of them signs", key_list_command},
    {"key", "show",     "NAME", TAKES(OPTION_JSON), 0, "the key as a JWK, without what is secret", key_show_command},
    {.noun = NULL},
};
/* clang-format on */
