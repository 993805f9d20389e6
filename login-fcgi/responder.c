/*
 * The FastCGI service from its listening socket to its end: signals, reload, stop.  Connections and
 * threads are the business of fcgi.c.
 */
#include "login-fcgi/responder.h"

#include "common/daemon.h"
#include "common/log.h"
#include "common/net.h"
#include "login-fcgi/fcgi.h"
#include "login-fcgi/service.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static bool is_listening(int fd)
{
    int listens = 0;
    socklen_t size = sizeof listens;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens;
}

/* systemd's socket, else the web server's, else one of ours. */
static int find_listener(const struct config *config, bool *is_ours, struct error *error)
{
    int fd = daemon_activated_socket(error);

    *is_ours = false;
    if (fd >= 0 || error->text[0])
        return fd;
    if (is_listening(STDIN_FILENO)) {
        fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
        return STDIN_FILENO;
    }
    *is_ours = true;
    return net_listen(config->login_listen, error);
}

/* A bad file changes nothing; what only a restart changes is said. */
static void reload(const char *path, const struct config *running)
{
    struct error error;
    struct service *fresh = service_read(path, &error);
    char names[512];

    if (!fresh) {
        log_error("reload: %s; nothing is changed", error.text);
        return;
    }
    if (config_frozen_differences(running, fresh->config, names, sizeof names) > 0)
        log_warning("reload: only a restart changes %s", names);
    service_install(fresh);
    log_info("reload: %s is read", path);
}

/* Late peers are looked for four times in their time. */
static struct timespec pause_time(void)
{
    struct service *service = service_get();
    uint64_t alive_ms = daemon_watchdog_ms();
    uint64_t ms = service->config->login_timeout / 4;

    service_put(&service);
    ms = ms < 1000 ? ms : 1000;
    ms = alive_ms > 0 && alive_ms < ms ? alive_ms : ms;
    return (struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
}

/* The config may be half written meanwhile: it is not looked at. */
static void look_at_keys(uint64_t *stamp)
{
    struct service *service = service_get(), *fresh;
    uint64_t now = keyring_stamp(service->config->keys);
    struct error error;

    if (now != *stamp) {
        *stamp = now; /* what is wrong with them is said once */
        fresh = service_with_new_keys(service, &error);
        if (fresh) {
            service_install(fresh);
            log_info("the keys are read anew");
        } else {
            log_error("the keys stay as they were: %s", error.text);
        }
    }
    service_put(&service);
}

/* Until a signal says stop.  Changed keys need none to be read anew. */
static void supervise(struct fcgi *fcgi, const char *path, const sigset_t *signals)
{
    struct service *running = service_get();
    uint64_t stamp = running->keys_stamp;
    int signal_number = -1;

    while (signal_number != SIGTERM && signal_number != SIGINT) {
        const struct timespec pause = pause_time();

        signal_number = sigtimedwait(signals, NULL, &pause);
        if (signal_number == SIGHUP) {
            daemon_reloading();
            reload(path, running->config);
            daemon_ready();
        }
        look_at_keys(&stamp);
        fcgi_look_after(fcgi);
        daemon_alive();
    }
    service_put(&running);
}

/* Before the threads start, which inherit it: only supervise sees them. */
static void block_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
}

bool responder_run(const char *path, struct error *error)
{
    struct service *service = service_get();
    const struct config *config = service->config;
    struct fcgi *fcgi = NULL;
    sigset_t signals;
    char where[256];
    bool is_ours, started;
    int listener;

    block_signals(&signals);
    daemon_raise_descriptor_limit();
    listener = find_listener(config, &is_ours, error);
    if (listener >= 0)
        fcgi = fcgi_start(listener, config, error);
    started = fcgi != NULL;
    if (started) {
        net_listen_text(listener, where, sizeof where);
        log_info("listening on %s", where);
        daemon_ready();
        supervise(fcgi, path, &signals);
        daemon_stopping();
    }
    if (listener >= 0 && is_ours)
        net_unlisten(config->login_listen);
    if (started) {
        fcgi_stop(&fcgi, is_ours);
        log_info("stopped");
    }
    if (listener >= 0)
        close(listener);
    service_put(&service);
    return started;
}
