/*
 * CGI: one process, one request, everything opened for it.  Whoever stalls costs this process,
 * which the alarm ends.
 */
#include "login-fcgi/cgi.h"

#include "common/clock.h"
#include "common/log.h"
#include "login-fcgi/answer.h"
#include "login-fcgi/request.h"
#include "login-fcgi/routes.h"
#include "login-fcgi/service.h"
#include "login-fcgi/stores.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_WITHOUT_CONFIG_S 10

/*
 * Standard input need not end where the body does (RFC 3875 §4.2): never read past that.  Apache
 * names no length for a chunked body, but ends it.
 */
static size_t input_length(const struct request *request)
{
    if (request->state == REQUEST_BODY_NO_LENGTH && strcmp(request->method, "POST") == 0)
        return SIZE_MAX;
    return request->content_length;
}

static ssize_t input_read(void *source, char *buffer, size_t size)
{
    size_t *left = source;
    ssize_t n;

    do
        n = read(STDIN_FILENO, buffer, size < *left ? size : *left);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        *left -= (size_t)n;
    return n;
}

static bool output_write(const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(STDOUT_FILENO, text, bytes);

        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            text += n;
            bytes -= (size_t)n;
        }
    }
    return true;
}

static bool send_answer(const struct answer *answer, bool with_body)
{
    char head[ANSWER_HEAD_SIZE];

    return output_write(head, answer_head(answer, head)) &&
           (!with_body || output_write(answer->body, answer->body_bytes));
}

static void serve(const struct service *service, struct recorder *recorder, struct request *request,
                  struct answer *answer)
{
    struct error error;
    struct stores stores;

    if (stores_open(&stores, service->config, recorder, &error)) {
        routes_answer(service, &stores, request, answer);
    } else {
        log_error("%s", error.text);
        answer_unavailable(answer);
    }
    stores_close(&stores);
}

static struct service *read_service(const char *path, struct recorder **recorder,
                                    struct answer *answer)
{
    struct service *service = NULL;
    struct error error;

    if (!path) {
        answer_error(answer, 400, "the query is not of the form name=value");
    } else if (!(service = service_read(path, &error)) ||
               !(*recorder = recorder_open(service->config, false, &error))) {
        service_put(&service);
        log_error("%s", error.text);
        answer_error(answer, 500, "the login service is not configured");
    }
    return service;
}

bool cgi_is_started(void)
{
    return getenv("REQUEST_METHOD") != NULL;
}

bool cgi_arguments_are_foreign(void)
{
    const char *query = getenv("QUERY_STRING");

    return query && *query && !strchr(query, '=');
}

int cgi_run(const char *path)
{
    struct answer answer;
    struct request request;
    struct recorder *recorder = NULL;
    struct service *service = read_service(path, &recorder, &answer);
    uint64_t timeout_s =
        service ? (service->config->login_timeout + 999) / 1000 : TIMEOUT_WITHOUT_CONFIG_S;
    size_t left;
    bool sent;

    request_init(&request, environ);
    left = input_length(&request);
    alarm((unsigned)timeout_s);
    if (!request_read_body(&request, service ? service->config->login_max_body : 0, input_read,
                           &left)) {
        log_error("cannot read the request: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    alarm(0);
    request.arrived_ms = clock_monotonic_ms();
    if (service)
        serve(service, recorder, &request, &answer);
    alarm((unsigned)timeout_s);
    sent = send_answer(&answer, strcmp(request.method, "HEAD") != 0);
    answer_wipe(&answer);
    request_fini(&request);
    close(STDOUT_FILENO); /* the answer ends here, and need not wait for the audit */
    recorder_close(&recorder);
    service_put(&service);
    return sent ? EXIT_SUCCESS : EXIT_FAILURE;
}
