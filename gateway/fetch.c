/*
 * Documents by HTTPS: a libcurl handle of its own for each, turned by whoever wants it.  What they
 * are good for is issuers.c's business.
 */
#include "gateway/fetch.h"

#include "common/memory.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FRESH_MAX_S UINT64_C(31536000)

struct fetch {
    CURLM *multi;
    CURL *easy;
    char *text;
    size_t bytes;
    char reason[CURL_ERROR_SIZE];
};

static size_t take(char *bytes, size_t one, size_t n, void *context)
{
    struct fetch *fetch = context;

    (void)one; /* is 1 */
    if (n > FETCH_MAX_BYTES - fetch->bytes)
        return 0;
    fetch->text = memory_resize(fetch->text, fetch->bytes + n + 1, 1);
    memcpy(fetch->text + fetch->bytes, bytes, n);
    fetch->bytes += n;
    return n;
}

/*
 * QUICK_EXIT: where a fetch is given up while its name is looked up, libcurl would otherwise wait
 * for the thread that does it, as long as the name server pleases.
 */
static bool set_up(struct fetch *fetch, const char *url, const char *ca)
{
    CURL *easy = fetch->easy;

    return curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           (!*ca || (curl_easy_setopt(easy, CURLOPT_CAINFO, ca) == CURLE_OK &&
                     curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK)) &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERAGENT, "sallyport-gateway/" VERSION) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)FETCH_TIMEOUT_MS) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_MAXFILESIZE, (long)FETCH_MAX_BYTES) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, fetch->reason) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch) == CURLE_OK &&
           curl_multi_add_handle(fetch->multi, easy) == CURLM_OK;
}

static enum fetch_state judge(const struct fetch *fetch, CURLcode result, struct error *error)
{
    long status = 0;

    curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &status);
    if (result == CURLE_WRITE_ERROR || result == CURLE_FILESIZE_EXCEEDED)
        error_set(error, "the answer is larger than %zu KiB", FETCH_MAX_BYTES / 1024);
    else if (result != CURLE_OK)
        error_set(error, "%s", *fetch->reason ? fetch->reason : curl_easy_strerror(result));
    else if (status >= 300 && status < 400)
        error_set(error,
                  "the answer is a redirect (%ld), which is not followed: name the URL where "
                  "the keys are",
                  status);
    else if (status != 200)
        error_set(error, "the answer is %ld", status);
    else
        return FETCH_DONE;
    return FETCH_FAILED;
}

/* Of one header line, NAME=SECONDS among the directives. */
static bool read_directive(const char *line, const char *name, uint64_t *seconds)
{
    size_t length = strlen(name);

    while (*line) {
        line += strspn(line, ", \t");
        if (strncasecmp(line, name, length) == 0 &&
            (line[length] == '=' || !line[length + strcspn(line + length, ", \t")])) {
            line += length + (line[length] == '=');
            line += *line == '"';
            *seconds = *line == '-' ? 0 : strtoull(line, NULL, 10);
            if (*seconds > FRESH_MAX_S)
                *seconds = FRESH_MAX_S;
            return true;
        }
        line += strcspn(line, ",");
    }
    return false;
}

struct fetch *fetch_start(const char *url, const char *ca, struct error *error)
{
    static bool is_ready;
    struct fetch *fetch = memory_zeroed(1, sizeof *fetch);

    if (!is_ready)
        is_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    if (is_ready) {
        fetch->multi = curl_multi_init();
        fetch->easy = curl_easy_init();
    }
    if (fetch->multi && fetch->easy && set_up(fetch, url, ca))
        return fetch;
    error_set(error, "libcurl cannot be set up for %s", url);
    fetch_free(&fetch);
    return NULL;
}

enum fetch_state fetch_turn(struct fetch *fetch, struct error *error)
{
    CURLMsg *message;
    int running, left;

    if (curl_multi_perform(fetch->multi, &running) != CURLM_OK) {
        error_set(error, "libcurl gives up");
        return FETCH_FAILED;
    }
    message = curl_multi_info_read(fetch->multi, &left);
    if (message && message->msg == CURLMSG_DONE)
        return judge(fetch, message->data.result, error);
    return FETCH_RUNNING;
}

const char *fetch_text(const struct fetch *fetch, size_t *bytes)
{
    *bytes = fetch->bytes;
    return fetch->text ? fetch->text : "";
}

uint64_t fetch_fresh_s(const struct fetch *fetch, uint64_t standard)
{
    struct curl_header *header;
    uint64_t fresh_s = standard, age_s = 0, none;

    for (size_t i = 0;
         curl_easy_header(fetch->easy, "Cache-Control", i, CURLH_HEADER, -1, &header) == CURLHE_OK;
         i++) {
        if (read_directive(header->value, "no-store", &none) ||
            read_directive(header->value, "no-cache", &none))
            return 0;
        read_directive(header->value, "max-age", &fresh_s);
    }
    if (curl_easy_header(fetch->easy, "Age", 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
        age_s = strtoull(header->value, NULL, 10);
    return fresh_s > age_s ? fresh_s - age_s : 0;
}

void fetch_free(struct fetch **fetch)
{
    struct fetch *f = *fetch;

    *fetch = NULL;
    if (!f)
        return;
    if (f->multi && f->easy)
        curl_multi_remove_handle(f->multi, f->easy);
    curl_easy_cleanup(f->easy);
    curl_multi_cleanup(f->multi);
    free(f->text);
    free(f);
}
