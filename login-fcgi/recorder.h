#ifndef LOGIN_RECORDER_H
#define LOGIN_RECORDER_H

#include "common/log.h"
#include "db/audit.h"

/*
 * What happened, told to the log at once and to the audit a little later: nobody waits for the
 * audit's disk, so that time does not tell one refusal from another; a crash loses of the audit,
 * not of the log, what was gathered in the last 10 ms.  What cannot be written, or is more than
 * AUDIT_MOST_AT_ONCE at a time, is counted; how many that were is said in the log, once a minute at
 * most, and stands in the audit as soon as it can be written again.
 */
struct recorder;

/* With `background` a thread of its own writes; else recorder_close does.  NULL: error. */
struct recorder *recorder_open(const struct config *config, bool background, struct error *error);
/* Write what is left. */
void recorder_close(struct recorder **recorder);

/*
 * A line in the log (its form: sallyport-login(8)) and an event, which happens now; `result` NULL:
 * "ok".  Thread-safe; nothing of `event` is kept.
 */
void recorder_note(struct recorder *recorder, enum log_level level,
                   const struct audit_event *event);

#endif
