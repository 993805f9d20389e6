/*
 * Passwords from people.  While echo is off the signals that would end or stop us are blocked and
 * read as input: the terminal is set right first, and then they are let through.
 */
#include "db/admin/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

struct terminal {
    int fd, signals; /* signals -1: not looked at */
};

enum answer { ANSWERED, REFUSED, INTERRUPTED };

enum { END = -1, SIGNAL = -2 };

/* The next byte, END, or SIGNAL. */
static int next_byte(const struct terminal *terminal)
{
    struct pollfd polled[2] = {{.fd = terminal->fd, .events = POLLIN},
                               {.fd = terminal->signals, .events = POLLIN}};
    unsigned char byte;
    ssize_t n;

    do {
        while (poll(polled, 2, -1) < 0)
            if (errno != EINTR)
                return END;
        if (polled[1].revents)
            return SIGNAL;
        n = read(terminal->fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
    return n == 1 ? byte : END;
}

/* As the login service takes it: of another nobody could be let in. */
static bool is_text(const char *bytes, size_t length)
{
    json_t *copy = json_stringn(bytes, length); /* NULL where it is not UTF-8 */
    bool is_one = copy && !memchr(bytes, '\0', length);

    if (copy)
        sodium_memzero((char *)(uintptr_t)json_string_value(copy), length);
    json_decref(copy);
    return is_one;
}

static enum answer read_line(const struct terminal *terminal, struct terminal_password *password,
                             struct error *error)
{
    enum answer answer = REFUSED;
    size_t length = 0;
    int byte;

    while ((byte = next_byte(terminal)) >= 0 && byte != '\n') {
        if (length < sizeof password->bytes)
            password->bytes[length] = (char)byte;
        length++;
    }
    if (byte == SIGNAL)
        return INTERRUPTED;
    if (length == 0)
        error_set(error, "there is no password");
    else if (length > sizeof password->bytes)
        error_set(error, "the password is longer than %d bytes", PASSWORD_MAX_BYTES);
    else if (!is_text(password->bytes, length))
        error_set(error, "the password is not UTF-8, or has a NUL: nobody could log in with it");
    else
        answer = ANSWERED;
    password->length = length;
    return answer;
}

/* Its newline is not echoed either. */
static enum answer ask(const struct terminal *terminal, const char *before, const char *name,
                       struct terminal_password *password, struct error *error)
{
    enum answer answer;

    dprintf(terminal->fd, "%s%s: ", before, name);
    answer = read_line(terminal, password, error);
    dprintf(terminal->fd, "\n");
    return answer;
}

static enum answer ask_twice(const struct terminal *terminal, const char *name,
                             struct terminal_password *password, struct error *error)
{
    struct terminal_password again;
    enum answer answer = ask(terminal, "New password for ", name, password, error);

    if (answer == ANSWERED)
        answer = ask(terminal, "Again, the password for ", name, &again, error);
    if (answer == ANSWERED && (again.length != password->length ||
                               sodium_memcmp(again.bytes, password->bytes, again.length))) {
        error_set(error, "the two passwords differ; nothing was changed");
        answer = REFUSED;
    }
    terminal_wipe(&again);
    return answer;
}

/* What is typed before echo is off, and after an interruption, is thrown away. */
static enum answer ask_hidden(struct terminal *terminal, const char *name,
                              struct terminal_password *password, struct error *error)
{
    static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    enum answer answer = REFUSED;
    struct termios shown, hidden;
    sigset_t blocked, before;

    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        sigaddset(&blocked, caught[i]);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    terminal->signals = signalfd(-1, &blocked, SFD_CLOEXEC);
    if (terminal->signals < 0 || tcgetattr(terminal->fd, &shown) < 0)
        error_set(error, "cannot ask on the terminal: %s", strerror(errno));
    else {
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
        hidden.c_lflag |= ICANON | ISIG;
        if (tcsetattr(terminal->fd, TCSAFLUSH, &hidden) < 0)
            error_set(error, "cannot turn off the terminal's echo: %s", strerror(errno));
        else
            answer = ask_twice(terminal, name, password, error);
        tcsetattr(terminal->fd, TCSAFLUSH, &shown);
    }
    close(terminal->signals);
    sigprocmask(SIG_SETMASK, &before, NULL); /* what was caught ends or stops us here */
    return answer;
}

bool terminal_ask(const char *name, struct terminal_password *password, struct error *error)
{
    struct terminal terminal = {.fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)};
    enum answer answer;

    if (terminal.fd < 0)
        return error_set(error, "there is no terminal to ask for the password on; give it with "
                                "--password-stdin");
    do
        answer = ask_hidden(&terminal, name, password, error);
    while (answer == INTERRUPTED);
    close(terminal.fd);
    return answer == ANSWERED;
}

bool terminal_read_stdin(struct terminal_password *password, struct error *error)
{
    struct terminal input = {.fd = STDIN_FILENO, .signals = -1};

    return read_line(&input, password, error) == ANSWERED;
}

void terminal_wipe(struct terminal_password *password)
{
    sodium_memzero(password, sizeof *password);
}
