/* Which databases the login service works on: all of them, or it does not start. */
#include "login-fcgi/stores.h"

bool stores_open(struct stores *stores, const struct config *config, struct error *error)
{
    *stores = (struct stores){.database = database_open(config->login_database, false, error)};
    if (!stores->database)
        return false;
    stores->revocations = revocations_open(config->token_revocations, false,
                                           (int64_t)(config->token_lifetime / 1000), error);
    return stores->revocations;
}

void stores_close(struct stores *stores)
{
    revocations_close(&stores->revocations);
    database_close(&stores->database);
}
