#ifndef LOGIN_STORES_H
#define LOGIN_STORES_H

#include "common/config.h"
#include "db/database.h"
#include "db/revocations.h"
#include "login-fcgi/recorder.h"
#include "login-fcgi/turnstile.h"

/* The databases a request works on, and the turnstile before the hashes. */
struct stores {
    struct database *database;
    struct revocations *revocations;
    struct turnstile *turnstile;
    struct recorder *recorder; /* borrowed */
};

/* `recorder` may be NULL where nothing is answered.  False: error.  stores_close in either case. */
bool stores_open(struct stores *stores, const struct config *config, struct recorder *recorder,
                 struct error *error);
void stores_close(struct stores *stores);

/* The same for one of several threads: with a turnstile of its own, and the databases of `shared`,
 * which was made ready for that by stores_share.  False: error. */
bool stores_share(struct stores *shared, struct error *error);
bool stores_borrow(struct stores *stores, const struct stores *shared, const struct config *config,
                   struct error *error);
void stores_return(struct stores *stores);

#endif
