/*
 * The settings as sallyport.conf(5) lists them, in mdoc(7): a section for each group, in the order
 * of the table that the programs check the file with.
 */
#include "common/config.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *type, *shown;
} types[] = {
    {"TEXT", "text"},          {"FILE", "path"},          {"TEXTS", "list"},
    {"FLAG", "true or false"}, {"COUNT", "whole number"}, {"BYTES", "bytes"},
    {"DURATION", "duration"},
};

static const char *type_shown(const char *type)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].type, type) == 0)
            return types[i].shown;
    return type;
}

/* Nothing that roff would obey; `words` of the help go into quotes. */
static void print_text(const char *text)
{
    bool is_open = false;

    printf("\\&");
    for (; *text; text++) {
        if (*text == '\\')
            printf("\\e");
        else if (*text == '"')
            printf("\\(dq");
        else if (*text != '`')
            putchar(*text);
        else
            printf((is_open = !is_open) ? "\\(lq" : "\\(rq");
    }
    putchar('\n');
}

/* "duration; a change takes a restart; default", and the default as it would be written. */
static void print_setting(const struct setting *setting)
{
    char rendered[4096];
    struct error error;

    printf(".It Ic %s\n", setting->name);
    print_text(setting->help);
    printf(".br\n%s%s; default\n", type_shown(setting->type),
           setting->reloadable ? "" : "; a change takes a restart");
    if (!config_render_assignment(setting->name, setting->standard, rendered, sizeof rendered,
                                  &error))
        strcpy(rendered, "none");
    printf(".Li ");
    print_text(rendered);
}

static size_t group_length(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot ? (size_t)(dot - name) : 0;
}

static void print_settings(const struct setting *settings, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = settings[i].name, *last = i > 0 ? settings[i - 1].name : NULL;
        size_t length = group_length(name);

        if (!last || length != group_length(last) || strncmp(name, last, length) != 0) {
            printf("%s.Ss %.*s\n.Bl -tag -width Ds\n", last ? ".El\n" : "",
                   length ? (int)length : 7, length ? name : "General");
        }
        print_setting(&settings[i]);
    }
    puts(".El");
}

int main(void)
{
    const struct setting *settings;
    size_t n = config_settings(&settings);

    print_settings(settings, n);
    n = config_issuer_settings(&settings);
    print_settings(settings, n);
    return 0;
}
