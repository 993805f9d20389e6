/* Where values are inside an object, noted once. */
#include "gateway/slots.h"

#include "common/memory.h"

static bool find(struct span object, const struct rules_path *path, struct json_value *value)
{
    return path->n_path > 0 ? scan_member(object, path->path, path->n_path, value)
                            : scan_value(object.at, object.length, value);
}

struct slot *slots_new(struct span object, const struct rules_path *path, size_t n)
{
    struct slot *slot = n ? memory_zeroed(n, sizeof *slot) : NULL;
    struct json_value value;

    for (size_t i = 0; i < n; i++)
        if (find(object, &path[i], &value))
            slot[i] = (struct slot){.at = (uint32_t)(value.text.at - object.at),
                                    .length = value.text.length,
                                    .type = (uint8_t)value.type,
                                    .is_marked = value.placeholders > 0};
    return slot;
}

void slots_read(const char *object, const struct slot *slot, size_t n, struct json_value *value)
{
    for (size_t i = 0; i < n; i++)
        value[i] = (struct json_value){.text = {object + slot[i].at, slot[i].length},
                                       .type = slot[i].type,
                                       .placeholders = slot[i].is_marked};
}
