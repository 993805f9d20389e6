/* The config file.  What was taken is, written as `config show` shows it, taken as the same. */
#include "common/config.h"
#include "tests/fuzz/folder.h"

#include <stdio.h>

/* "a.b.c" and its value as a file of its own: a: { b: { c = value; }; }; */
static void write_setting(const char *path, const char *name, const char *value)
{
    char *text = malloc(strlen(name) * 4 + strlen(value) + 16), *at = text;
    size_t length;
    int groups = 0;

    assert(text);
    for (; name[length = strcspn(name, ".")]; name += length + 1, groups++)
        at += sprintf(at, "%.*s: { ", (int)length, name);
    at += sprintf(at, "%s = %s; ", name, value);
    while (groups--)
        at += sprintf(at, "}; ");
    folder_write(path, text, (size_t)(at - text), 0600);
    free(text);
}

static void demand_same(const char *path, const struct config *config, size_t setting)
{
    const struct setting *rows;
    const char *value = config_show_value(config, setting);
    struct config *again;
    struct error error;

    config_settings(&rows);
    write_setting(path, rows[setting].name, value);
    again = config_read(path, &error);
    assert(again && strcmp(config_show_value(again, setting), value) == 0);
    config_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {.text = ""};
    const struct setting *rows;
    struct config *config;
    const char *path;

    folder_make();
    path = scratch_path(&folder, "sallyport.conf");
    folder_write(path, data, size, 0600);
    config = config_read(path, &error);
    if (!config)
        assert(strstr(error.text, path));
    for (size_t i = 0; config && i < config_settings(&rows); i++)
        if (strcmp(config_source(config, i), "default") != 0)
            demand_same(path, config, i);
    config_free(&config);
    return 0;
}
