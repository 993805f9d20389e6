/* One thread is enough: what is measured is CPU time of the server. */
#include "tests/bench/post.h"

#include "tests/bench/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define ANSWER_BYTES 8192
#define FORM_BYTES   2048
#define PATIENCE_MS  10000

struct client {
    int fd;
    char form[FORM_BYTES];
    char answer[ANSWER_BYTES + 1];
    size_t bytes;
};

struct poster {
    const struct post_job *job;
    struct client *clients;
    int epoll;
    unsigned waiting; /* for answers */
    uint64_t answers, others;
};

_Noreturn static void give_up(const char *what, const char *text)
{
    fprintf(stderr, "load: %s: %s\n", what, text);
    exit(1);
}

static void post(struct poster *poster, struct client *client)
{
    char request[FORM_BYTES + 512];
    int bytes = snprintf(request, sizeof request,
                         "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                         "Content-Type: application/x-www-form-urlencoded\r\n"
                         "Content-Length: %zu\r\n\r\n%s",
                         poster->job->path, poster->job->port, strlen(client->form), client->form);

    client->bytes = 0;
    poster->waiting++;
    if (send(client->fd, request, (size_t)bytes, MSG_NOSIGNAL) != bytes)
        give_up("cannot post", strerror(errno));
}

/* The answer's bytes once it is whole, else 0. */
static size_t whole(const struct client *client)
{
    const char *end = strstr(client->answer, "\r\n\r\n");
    const char *length = end ? strcasestr(client->answer, "\r\nContent-Length:") : NULL;
    size_t bytes;

    if (!end)
        return 0;
    if (!length || length > end)
        give_up("an answer without a length", client->answer);
    bytes = (size_t)(end + 4 - client->answer) + strtoul(length + 17, NULL, 10);
    if (bytes > ANSWER_BYTES)
        give_up("an answer is too long", client->answer);
    return client->bytes >= bytes ? bytes : 0;
}

static void keep_refresh_token(struct client *client)
{
    static const char name[] = "\"refresh_token\":\"";
    const char *token = strstr(client->answer, name);

    if (!token || strncmp(client->form, "grant_type=", 11) != 0)
        return;
    token += sizeof name - 1;
    snprintf(client->form, sizeof client->form, "grant_type=refresh_token&refresh_token=%.*s",
             (int)strcspn(token, "\""), token);
}

static void read_answer(struct poster *poster, struct client *client)
{
    ssize_t n = recv(client->fd, client->answer + client->bytes, ANSWER_BYTES - client->bytes, 0);

    if (n <= 0)
        give_up("a connection ended", n < 0 ? strerror(errno) : client->answer);
    client->bytes += (size_t)n;
    client->answer[client->bytes] = '\0';
    if (whole(client) == 0)
        return;
    poster->waiting--;
    poster->answers++;
    if (strtoul(client->answer + strcspn(client->answer, " "), NULL, 10) != poster->job->status &&
        ++poster->others > 2 + poster->answers / 100)
        give_up("an answer of another status", client->answer);
    keep_refresh_token(client);
}

static void open_client(struct poster *poster, struct client *client, FILE *forms)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(poster->job->port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    int on = 1;

    if (!fgets(client->form, sizeof client->form, forms)) {
        rewind(forms);
        if (!fgets(client->form, sizeof client->form, forms))
            give_up("there is no form in", poster->job->forms);
    }
    client->form[strcspn(client->form, "\n")] = '\0';
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        epoll_ctl(poster->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0)
        give_up("cannot connect", strerror(errno));
}

struct poster *post_open(const struct post_job *job)
{
    struct poster *poster = calloc(1, sizeof *poster);
    FILE *forms = fopen(job->forms, "re");

    if (!forms)
        give_up(job->forms, strerror(errno));
    poster->job = job;
    poster->epoll = epoll_create1(EPOLL_CLOEXEC);
    poster->clients = calloc(job->clients, sizeof *poster->clients);
    for (unsigned i = 0; i < job->clients; i++)
        open_client(poster, &poster->clients[i], forms);
    fclose(forms);
    return poster;
}

uint64_t post_play(struct poster *poster, double for_s)
{
    uint64_t end_ns = now_ns() + (uint64_t)(for_s * 1e9), before = poster->answers;
    struct epoll_event events[64];

    for (unsigned i = 0; i < poster->job->clients; i++)
        post(poster, &poster->clients[i]);
    while (poster->waiting > 0) {
        int n = epoll_wait(poster->epoll, events, 64, PATIENCE_MS);

        if (n == 0)
            give_up("no answer came", poster->job->path);
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            uint64_t answered = poster->answers;

            read_answer(poster, client);
            if (poster->answers > answered && now_ns() < end_ns)
                post(poster, client);
        }
    }
    return poster->answers - before;
}
