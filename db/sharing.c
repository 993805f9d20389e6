/*
 * One connection for many threads, who take turns at it: so its cache stays good, and nobody waits
 * for a lock of SQLite's by asking again.  They wait for the disk together: a commit goes into the
 * log, and counts when the log was synced after it, which one does for all who wait by then.
 */
#include "common/memory.h"
#include "db/connection.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sharing {
    pthread_mutex_t turn; /* of the connection, and of what follows */
    sqlite3_stmt *look, *end_look;
    bool looks, is_relaxed;

    int log; /* -1: a commit waits for the disk by itself */
    pthread_mutex_t lock;
    pthread_cond_t synced;
    uint64_t written, safe, lost; /* commits: up to which they are so */
    bool is_syncing, is_doubtful;
};

/* One goes to the disk; who comes meanwhile may have been too late for that, and waits for the
 * next.  What a failed sync was for does not reach the disk with a later one (fsync(2)), nor does
 * what follows it in the log count there. */
static bool wait_for_disk(struct sharing *sharing, uint64_t mine)
{
    while (sharing->safe < mine && sharing->lost < mine) {
        uint64_t upto = sharing->written;
        bool is_synced;

        if (sharing->is_syncing) {
            pthread_cond_wait(&sharing->synced, &sharing->lock);
            continue;
        }
        sharing->is_syncing = true;
        pthread_mutex_unlock(&sharing->lock);
        is_synced = fdatasync(sharing->log) == 0;
        pthread_mutex_lock(&sharing->lock);
        sharing->is_syncing = false;
        if (is_synced)
            sharing->safe = upto;
        else
            sharing->lost = sharing->written;
        sharing->is_doubtful |= !is_synced;
        pthread_cond_broadcast(&sharing->synced);
    }
    return sharing->lost < mine;
}

static void end_look(struct database *database)
{
    struct sharing *sharing = database->sharing;

    if (!sharing->looks)
        return;
    sqlite3_step(sharing->end_look);
    sqlite3_reset(sharing->end_look);
    sharing->looks = false;
}

/* After a failed sync: all of the log into the database, and a new log. */
static enum db_result begin_log_anew(struct database *database)
{
    struct sharing *sharing = database->sharing;

    if (sqlite3_wal_checkpoint_v2(database->sqlite, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                  NULL) != SQLITE_OK)
        return database_fail(database);
    pthread_mutex_lock(&sharing->lock);
    sharing->is_doubtful = false;
    pthread_mutex_unlock(&sharing->lock);
    return DB_OK;
}

enum db_result sharing_settle(struct database *database)
{
    struct sharing *sharing = database->sharing;
    bool is_safe;

    if (!sharing || sharing->log < 0 || sharing->is_relaxed)
        return DB_OK;
    pthread_mutex_lock(&sharing->lock);
    if (sharing->is_doubtful) {
        pthread_mutex_unlock(&sharing->lock);
        return begin_log_anew(database);
    }
    sharing->written++;
    pthread_mutex_unlock(&sharing->turn);
    is_safe = wait_for_disk(sharing, sharing->written);
    pthread_mutex_unlock(&sharing->lock);
    pthread_mutex_lock(&sharing->turn);
    if (!is_safe)
        error_set(&database->error, "cannot sync the write-ahead log");
    return is_safe ? DB_OK : DB_FAILED;
}

void sharing_begin(struct database *database)
{
    if (database->sharing)
        end_look(database);
}

bool sharing_relax(struct database *database, bool relaxed)
{
    if (database->sharing)
        database->sharing->is_relaxed = relaxed;
    return database->sharing;
}

void sharing_free(struct sharing **freed)
{
    struct sharing *sharing = *freed;

    if (!sharing)
        return;
    sqlite3_finalize(sharing->look);
    sqlite3_finalize(sharing->end_look);
    if (sharing->log >= 0)
        close(sharing->log);
    pthread_cond_destroy(&sharing->synced);
    pthread_mutex_destroy(&sharing->lock);
    pthread_mutex_destroy(&sharing->turn);
    free(sharing);
    *freed = NULL;
}

/* ---- what others call ----------------------------------------------------------------------- */

bool database_share(struct database *database, struct error *error)
{
    sqlite3 *sqlite = database->sqlite;
    const char *log = sqlite3_filename_wal(sqlite3_db_filename(sqlite, "main"));
    struct sharing *sharing = memory_zeroed(1, sizeof *sharing);

    pthread_mutex_init(&sharing->turn, NULL);
    pthread_mutex_init(&sharing->lock, NULL);
    pthread_cond_init(&sharing->synced, NULL);
    database->sharing = sharing;
    sharing->log = -1;
    if (sqlite3_prepare_v2(sqlite, "BEGIN", -1, &sharing->look, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(sqlite, "COMMIT", -1, &sharing->end_look, NULL) != SQLITE_OK)
        return error_set(error, "%s", sqlite3_errmsg(sqlite));
    if (!database->schema->writes_ahead)
        return true;
    sharing->log = open(log, O_RDONLY | O_CLOEXEC);
    if (sharing->log < 0)
        return error_set(error, "cannot open %s: %s", log, strerror(errno));
    return sqlite3_exec(sqlite, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL) == SQLITE_OK ||
           error_set(error, "%s", sqlite3_errmsg(sqlite));
}

void database_enter(struct database *database)
{
    if (database->sharing)
        pthread_mutex_lock(&database->sharing->turn);
}

void database_look(struct database *database)
{
    struct sharing *sharing = database->sharing;

    if (!sharing)
        return;
    assert(!sharing->looks);
    sharing->looks = sqlite3_step(sharing->look) == SQLITE_DONE;
    sqlite3_reset(sharing->look);
}

void database_leave(struct database *database)
{
    if (!database->sharing)
        return;
    end_look(database);
    pthread_mutex_unlock(&database->sharing->turn);
}
