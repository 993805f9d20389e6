/* From a token to an identity; what a token may be is in common/token.c, what a socket may do in
 * the rules. */
#include "gateway/gate.h"

#include "common/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a claim's value is in the payload: a payload is shorter than a token. */
struct claim_slot {
    uint16_t at, length;
    uint8_t type; /* enum value_type; VALUE_NONE: the token lacks it */
};

static struct claim_slot *slots(const struct identity *identity)
{
    size_t at = (identity->payload_bytes + _Alignof(struct claim_slot) - 1) &
                ~(_Alignof(struct claim_slot) - 1);

    return (struct claim_slot *)(void *)((char *)(uintptr_t)identity->payload + at);
}

static void fill_slots(struct identity *identity, const struct rules_claim *claim)
{
    struct span payload = {identity->payload, identity->payload_bytes};

    for (uint16_t i = 0; i < identity->n_claims; i++) {
        struct claim_slot *slot = &slots(identity)[i];
        struct json_value value;

        *slot = (struct claim_slot){.type = VALUE_NONE};
        if (!scan_member(payload, claim[i].path, claim[i].n_path, &value))
            continue;
        slot->at = (uint16_t)(value.text.at - identity->payload);
        slot->length = (uint16_t)value.text.length;
        slot->type = (uint8_t)value.type;
    }
}

static struct identity *identity_new(const struct token *token, const struct rules *rules)
{
    static const struct span sub = {"sub", 3};
    size_t n_claims, bytes = token->payload_bytes;
    const struct rules_claim *claim = rules_claims(rules, &n_claims);
    struct identity *identity =
        memory_new(sizeof *identity + bytes + (n_claims + 1) * sizeof(struct claim_slot));
    struct json_value user;

    assert(bytes <= TOKEN_MAX_BYTES && n_claims <= UINT16_MAX);
    identity->references = 1;
    identity->rules = rules;
    identity->expires_s = token->expires_s;
    identity->issued_s = token->issued_s;
    identity->payload_bytes = (uint32_t)bytes;
    identity->n_claims = (uint16_t)n_claims;
    memcpy(identity->payload, token->payload, bytes);
    assert(scan_member((struct span){identity->payload, identity->payload_bytes}, &sub, 1, &user));
    identity->user = user.text;
    fill_slots(identity, claim);
    return identity;
}

gate_result gate_check(const struct snapshot *snapshot, struct span text, int64_t now_s,
                       struct identity **identity)
{
    struct token token;
    enum token_result result;

    *identity = NULL;
    if (!text.length)
        return GATE_NO_TOKEN;
    result =
        token_verify(snapshot->keyring, &snapshot->policy, text.at, text.length, now_s, &token);
    if (result != TOKEN_OK)
        return result;
    *identity = identity_new(&token, snapshot->rules);
    token_fini(&token);
    return TOKEN_OK;
}

struct identity *identity_get(struct identity *identity)
{
    identity->references++;
    return identity;
}

void identity_put(struct identity **identity)
{
    struct identity *i = *identity;

    *identity = NULL;
    if (i && --i->references == 0)
        free(i);
}

void identity_claims(const struct identity *identity, struct json_value *value)
{
    for (uint16_t i = 0; i < identity->n_claims; i++) {
        const struct claim_slot *slot = &slots(identity)[i];

        value[i] = (struct json_value){.text = {identity->payload + slot->at, slot->length},
                                       .type = slot->type};
    }
}

void gate_refusal(const struct snapshot *snapshot, gate_result result, char *message, char *data)
{
    char words[GATE_TEXT_MAX / 4];
    const char *code = "invalid_token", *text = "no token provided";
    json_t *object;
    char *json;

    if (result == GATE_NO_TOKEN)
        code = "credentials_required";
    else
        text = token_message((enum token_result)result, &snapshot->policy, words, sizeof words);
    object =
        json_pack("{s:s, s:s, s:s}", "message", text, "code", code, "type", "UnauthorizedError");
    json = object ? json_dumps(object, JSON_COMPACT) : NULL;
    assert(json);
    snprintf(data, GATE_TEXT_MAX, "%s", json);
    free(json);
    json = json_dumps(json_object_get(object, "message"), JSON_COMPACT | JSON_ENCODE_ANY);
    assert(json);
    snprintf(message, GATE_TEXT_MAX, "%s", json);
    free(json);
    json_decref(object);
}
