#ifndef GATEWAY_RENDER_H
#define GATEWAY_RENDER_H

#include "gateway/program.h"

/*
 * From templates to what they say at this moment: a room's name, or a message in pieces that point
 * into the event, the rules, the variables and a little scratch.  Nothing is allocated or changed.
 */
#define RENDER_NUMBER_BYTES 20
#define RENDER_SPANS        (2 * PROGRAM_PIECES + 2 * SCANNER_MAX_PLACEHOLDERS + 2)
#define RENDER_SCRATCH      (PROGRAM_PIECES * RENDER_NUMBER_BYTES + SCANNER_MAX_PLACEHOLDERS * 4)
#define RENDER_SET_TEXT     1024

/* Attachments that Socket.IO's own parser takes unasked: a message never has more than both this
 * and its event. */
#define RENDER_ATTACHMENTS 10

/* A rule that is being run. */
struct run {
    struct relay_stage *stage;
    const struct rule *rule;
    bool is_checking; /* phase one: counts are not asked for, the longest number stands in */
    bool is_answered;
    uint64_t sent;
    /* Phase one: what each `set` so far will give; text.at NULL when that is too long to be kept.
     */
    struct json_value set[PROGRAM_ACTIONS];
    uint8_t n_sets;
    uint16_t set_bytes;
    uint64_t kept_bytes;
    char set_text[RENDER_SET_TEXT];
};

/* What a piece stands for: its JSON text; for $id and $reason the plain text. */
struct value {
    struct json_value json;
    bool is_plain;
    bool is_own; /* its placeholders stand for attachments of the event */
};

/* A message in the making. */
struct rendering {
    struct span span[RENDER_SPANS];
    size_t n;
    char scratch[RENDER_SCRATCH];
    size_t used;
    const struct attachment *attachments; /* the event's own, or: */
    struct attachment attachment[SCANNER_MAX_PLACEHOLDERS];
    size_t n_attachments;
    bool has_imitation;         /* data of a placeholder's shape that is none */
    char *list[PROGRAM_PIECES]; /* of members, to be freed by render_release */
    size_t n_lists;
};

/* False: there is none.  A number may stand in `scratch`. */
bool render_value(struct run *run, const struct piece *piece, char scratch[RENDER_NUMBER_BYTES],
                  struct value *value);

/*
 * A template as plain text, which may stand in `buffer`.  False: a value is missing, is neither a
 * string nor an integer, or the text would be longer than PROGRAM_ROOM_BYTES.  A room has at least
 * one byte.
 */
bool render_text(struct run *run, const struct template *template, char buffer[PROGRAM_ROOM_BYTES],
                 struct span *text);
bool render_room(struct run *run, const struct template *room, char buffer[PROGRAM_ROOM_BYTES],
                 struct span *name);

/* A template as JSON.  False: a value is missing or of the wrong type, or attachments do not go. */
bool render_json(struct run *run, const struct template *template, struct rendering *rendering);

/* What it says is not needed any more; also after a failure. */
void render_release(struct rendering *rendering);

#endif
