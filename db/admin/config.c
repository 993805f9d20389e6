/* `sallyport config`: what is in force, and where it comes from. */
#include "common/config.h"

#include "common/spelling.h"
#include "db/admin/columns.h"
#include "db/admin/command.h"

#include <string.h>

static void print_table(const struct config *config, const struct setting *settings, size_t n)
{
    struct columns columns = COLUMNS("SETTING", "VALUE", "FROM");

    for (size_t i = 0; i < n; i++) {
        columns_add(&columns, settings[i].name);
        columns_add(&columns, config_show_value(config, i));
        columns_add(&columns, config_source(config, i));
    }
    for (size_t k = 0; k < config->n_issuers; k++)
        for (size_t i = 0, m = config_issuer_settings(&settings); i < m; i++) {
            columns_add(&columns, settings[i].name);
            columns_add(&columns, config_show_issuer(config, k, i));
            columns_add(&columns, config_issuer_source(config, k, i));
        }
    columns_print(&columns);
}

/* Values as the file would have them: what can be written there can be read here. */
static void print_json(const struct config *config, const struct setting *settings, size_t n)
{
    json_t *all = json_object();

    for (size_t i = 0; i < n; i++)
        json_object_set_new(all, settings[i].name,
                            json_pack("{s:s, s:s, s:b}", "value", config_show_value(config, i),
                                      "from", config_source(config, i), "reloadable",
                                      settings[i].reloadable));
    for (size_t k = 0; k < config->n_issuers; k++) {
        json_t *issuer = json_object();

        n = config_issuer_settings(&settings);
        for (size_t i = 0; i < n; i++)
            json_object_set_new(issuer, strchr(settings[i].name, '.') + 1,
                                json_pack("{s:s, s:s}", "value", config_show_issuer(config, k, i),
                                          "from", config_issuer_source(config, k, i)));
        if (k == 0)
            json_object_set_new(all, "issuers", json_array());
        json_array_append_new(json_object_get(all, "issuers"), issuer);
    }
    command_print_json(all);
}

static size_t find(const struct setting *settings, size_t n, const char *name)
{
    size_t i = 0;

    while (i < n && strcmp(settings[i].name, name) != 0)
        i++;
    return i;
}

static enum command_status refuse_unknown(const struct setting *settings, size_t n,
                                          const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (spelling_is_near(name, settings[i].name))
            return command_refuse(COMMAND_NOT_FOUND,
                                  "there is no setting \"%s\"; did you mean \"%s\"?", name,
                                  settings[i].name);
    return command_refuse(COMMAND_NOT_FOUND,
                          "there is no setting \"%s\"; `sallyport config show` lists them", name);
}

static enum command_status config_show_command(const struct request *request)
{
    const struct setting *settings;
    struct error error;
    struct config *config = config_read(request->config, &error);
    size_t n = config_settings(&settings), i;
    enum command_status status = COMMAND_DONE;

    if (!config)
        return command_refuse(COMMAND_FAILED, "%s", error.text);
    i = request->operand ? find(settings, n, request->operand) : 0;
    if (i == n)
        status = refuse_unknown(settings, n, request->operand);
    else if (request_has(request, OPTION_JSON) && !request->operand)
        print_json(config, settings, n);
    else if (request_has(request, OPTION_JSON))
        command_print_json(json_string(config_show_value(config, i)));
    else if (request->operand)
        puts(config_show_value(config, i));
    else
        print_table(config, settings, n);
    config_free(&config);
    return status;
}

const struct command config_commands[] = {
    {"config", "show", "[SETTING]", TAKES(OPTION_JSON), 0,
     "every setting with its value and where it comes from; or the value of one",
     config_show_command},
    {.noun = NULL},
};
