/*
 * What a process owes its surroundings: systemd's protocol, core dumps, descriptors.  Signals and
 * the order of starting and stopping belong to the programs.
 */
#include "common/daemon.h"

#include "common/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

void daemon_forbid_core_dumps(void)
{
    const struct rlimit none = {0, 0};
    /* The limit alone does not hold where core_pattern is a pipe. */
    int failed = prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || setrlimit(RLIMIT_CORE, &none);

    assert(!failed);
}

int daemon_activated_socket(struct error *error)
{
    int n = sd_listen_fds(1);
    int fd = SD_LISTEN_FDS_START;

    error->text[0] = '\0';
    if (n == 0)
        return -1;
    if (n < 0) {
        error_set(error, "cannot take the socket systemd passed: %s", strerror(-n));
        return -1;
    }
    if (n > 1) {
        error_set(error, "systemd passed %d sockets; give the socket unit one ListenStream=", n);
        return -1;
    }
    if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0) {
        error_set(error, "what systemd passed is not a listening stream socket; "
                         "the socket unit needs ListenStream= and Accept=no");
        return -1;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
        error_set(error, "cannot use the socket systemd passed: %s", strerror(errno));
        return -1;
    }
    return fd;
}

void daemon_ready(void)
{
    sd_notify(0, "READY=1");
}

/* systemd orders READY=1 after RELOADING=1 by this timestamp, so it is never a frozen one. */
void daemon_reloading(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
               (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

void daemon_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

void daemon_alive(void)
{
    sd_notify(0, "WATCHDOG=1");
}

uint64_t daemon_watchdog_ms(void)
{
    uint64_t usec;

    if (sd_watchdog_enabled(0, &usec) <= 0)
        return 0;
    return usec >= 2000 ? usec / 2000 : 1;
}

uint64_t daemon_raise_descriptor_limit(void)
{
    struct rlimit limit, wanted;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 1024;
    wanted = (struct rlimit){limit.rlim_max, limit.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &wanted) ? limit.rlim_cur : wanted.rlim_cur;
}

#define JOURNAL_FIELDS      8
#define JOURNAL_FIELD_BYTES 512

bool daemon_journal(int priority, const char *text, const struct log_field *fields, size_t n)
{
    static const char message[] = "MESSAGE=";
    char field[JOURNAL_FIELDS][JOURNAL_FIELD_BYTES], whole[4096 + sizeof message];
    struct iovec piece[JOURNAL_FIELDS + 2];
    int used = 0;

    assert(n <= JOURNAL_FIELDS - 1);
    snprintf(whole, sizeof whole, "%s%s", message, text);
    piece[used++] = (struct iovec){whole, strlen(whole)};
    snprintf(field[0], sizeof field[0], "PRIORITY=%d", priority);
    piece[used++] = (struct iovec){field[0], strlen(field[0])};
    for (size_t i = 0; i < n; i++) {
        if (!fields[i].value)
            continue;
        snprintf(field[i + 1], sizeof field[i + 1], "%s=%s", fields[i].name, fields[i].value);
        piece[used++] = (struct iovec){field[i + 1], strlen(field[i + 1])};
    }
    return sd_journal_sendv(piece, used) == 0;
}
