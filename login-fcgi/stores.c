/* Which databases the login service works on: all of them, or it does not start. */
#include "login-fcgi/stores.h"

#include "db/password.h"

#include <limits.h>
#include <stdio.h>

/* Beside the database, as SQLite's own files. */
static struct turnstile *open_turnstile(const struct config *config, struct error *error)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s-hashes", config->login_database) >= (int)sizeof path) {
        error_set(error, "the path %s is too long", config->login_database);
        return NULL;
    }
    return turnstile_open(path, password_places(config), error);
}

bool stores_open(struct stores *stores, const struct config *config, struct recorder *recorder,
                 struct error *error)
{
    *stores = (struct stores){.database = database_open(config->login_database, false, error),
                              .recorder = recorder};
    if (!stores->database)
        return false;
    stores->revocations =
        revocations_open(config->token_revocations, false,
                         (int64_t)(config_longest_lifetime_ms(config) / 1000), error);
    if (!stores->revocations)
        return false;
    stores->turnstile = open_turnstile(config, error);
    return stores->turnstile;
}

void stores_close(struct stores *stores)
{
    turnstile_close(&stores->turnstile);
    revocations_close(&stores->revocations);
    database_close(&stores->database);
}

bool stores_share(struct stores *shared, struct error *error)
{
    return database_share(shared->database, error) && revocations_share(shared->revocations, error);
}

bool stores_borrow(struct stores *stores, const struct stores *shared, const struct config *config,
                   struct error *error)
{
    *stores = *shared;
    stores->turnstile = open_turnstile(config, error);
    return stores->turnstile;
}

void stores_return(struct stores *stores)
{
    turnstile_close(&stores->turnstile);
    *stores = (struct stores){0};
}
