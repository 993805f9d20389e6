/* The token of a handshake.  Whether it is a good one is gate.c's business. */
#include "gateway/sources.h"

#include "gateway/http.h"
#include "gateway/origin.h"
#include "gateway/worker.h"

#include <string.h>
#include <strings.h>

static bool is_given(const char *text)
{
    return text && *text;
}

/* Two words, the first of them `Bearer`; two others are somebody else's, such as a web server's
 * that asks for a password. */
static gate_result read_bearer(const char *header, const char **token)
{
    const char *space = strchr(header, ' ');

    if (!space || space == header || !space[1] || strchr(space + 1, ' '))
        return GATE_BAD_FORMAT;
    if (space - header == 6 && strncasecmp(header, "bearer", 6) == 0)
        *token = space + 1;
    return TOKEN_OK;
}

static unsigned source_of(const char *word)
{
    return strcmp(word, "auth") == 0     ? SOURCE_AUTH
           : strcmp(word, "header") == 0 ? SOURCE_HEADER
                                         : SOURCE_QUERY;
}

unsigned sources_of(const struct config *config)
{
    unsigned sources = *config->gateway_token_cookie ? SOURCE_COOKIE : 0;

    for (config_texts each = config->gateway_token_sources; *each; each++)
        sources |= source_of(*each);
    return config->gateway_require_header ? SOURCE_HEADER : sources;
}

gate_result sources_token(const struct request *request, struct span *token)
{
    const struct snapshot *snapshot = request_worker(request)->snapshot;
    const char *header = request_header(request, "Authorization"), *found = NULL;

    if (snapshot->sources & SOURCE_HEADER && is_given(header) &&
        read_bearer(header, &found) != TOKEN_OK)
        return GATE_BAD_FORMAT;
    if (!found && snapshot->config->gateway_require_header)
        return GATE_NO_HEADER;
    if (!found && snapshot->sources & SOURCE_COOKIE && origin_vouches(request))
        found = request_cookie_value(request, snapshot->config->gateway_token_cookie);
    if (!is_given(found) && snapshot->sources & SOURCE_QUERY)
        found = request_query(request, "token");
    if (!is_given(found))
        return GATE_NO_TOKEN;
    *token = (struct span){found, (uint32_t)strlen(found)};
    return TOKEN_OK;
}
