#ifndef LOGIN_STORES_H
#define LOGIN_STORES_H

#include "common/config.h"
#include "db/database.h"
#include "db/revocations.h"
#include "login-fcgi/recorder.h"
#include "login-fcgi/turnstile.h"

/* The databases a request works on, and the turnstile before the hashes.  Each thread has its own;
 * the recorder, which is borrowed, is one for all. */
struct stores {
    struct database *database;
    struct revocations *revocations;
    struct turnstile *turnstile;
    struct recorder *recorder;
};

/* `recorder` may be NULL where nothing is answered.  False: error.  stores_close in either case. */
bool stores_open(struct stores *stores, const struct config *config, struct recorder *recorder,
                 struct error *error);
void stores_close(struct stores *stores);

#endif
