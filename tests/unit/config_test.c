/* The config: what is read, what is shown, and what is said of each mistake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/config.h"
#include "tests/unit/scratch.h"

static struct scratch scratch;

static int open_scratch(void **state)
{
    (void)state;
    scratch_new(&scratch);
    return 0;
}

static int close_scratch(void **state)
{
    (void)state;
    scratch_free(&scratch);
    return 0;
}

static const char *file_with(const char *text)
{
    const char *path = scratch_path(&scratch, "c.conf");

    scratch_write(path, text);
    return path;
}

static struct config *reads(const char *text)
{
    struct error error;
    struct config *config = config_read(file_with(text), &error);

    if (!config)
        fail_msg("%s\n%s", text, error.text);
    return config;
}

/* `said` begins with the line, as "3: keys must …". */
static void refuses(const char *text, const char *said)
{
    const char *path = file_with(text);
    struct error error = {""};
    struct config *config = config_read(path, &error);
    char expected[1200];

    snprintf(expected, sizeof expected, "%s:%s", path, said);
    assert_null(config);
    assert_string_equal(error.text, expected);
}

static size_t row(const char *name)
{
    const struct setting *settings;
    size_t n = config_settings(&settings);

    for (size_t i = 0; i < n; i++)
        if (strcmp(settings[i].name, name) == 0)
            return i;
    fail_msg("%s", name);
    return 0;
}

/* NAME = VALUE as a file has it, in its groups: a: { b: { c = VALUE; }; }; */
static const char *assignment(const char *name, const char *value)
{
    static char text[1024];
    size_t depth = 0, used = 0;

    for (const char *dot; (dot = strchr(name, '.')); name = dot + 1, depth++)
        used += (size_t)sprintf(text + used, "%.*s: { ", (int)(dot - name), name);
    used += (size_t)snprintf(text + used, sizeof text / 2, "%s = %s;", name, value);
    while (depth--)
        used += (size_t)sprintf(text + used, " };");
    return text;
}

static void an_empty_file_is_all_defaults(void **state)
{
    struct config *config = reads("# nothing\n");
    const struct setting *settings;
    size_t n = config_settings(&settings);

    (void)state;
    assert_string_equal(config->keys, "/etc/sallyport/keys");
    assert_string_equal(config->token_audience[0], "sallyport");
    assert_null(config->token_audience[1]);
    assert_int_equal(config->token_lifetime, 5 * 3600 * 1000);
    assert_int_equal(config->login_max_body, 16384);
    assert_int_equal(config->gateway_workers, 0);
    assert_string_equal(config->gateway_client, "");
    assert_string_equal(config->gateway_trusted_proxies[0], "127.0.0.1");
    assert_string_equal(config->gateway_trusted_proxies[1], "::1");
    assert_null(config->gateway_trusted_proxies[2]);
    assert_int_equal(config->gateway_shutdown_spread, 0);
    assert_int_equal(config->limits_max_payload, 1000000);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(config_source(config, i), "default");
    config_free(&config);
    assert_null(config);
    config_free(&config);
}

static void what_is_written_is_read(void **state)
{
    struct config *config = reads("keys = \"/k\";\n"
                                  "token: { issuer = \"https://\" \"example.org\"; // joined\n"
                                  "         audience = (\"a b\", \"c,d\"); };\r\n"
                                  "/* { \" */ login = { threads: 3L, max_body = 2000 }\n"
                                  "gateway: {\n"
                                  "  limits: { per_address = 0; queued_bytes = \"1GiB\"; };\n"
                                  "  ping_timeout = \"500ms\"; path = \"/a-b/~c/\";\n"
                                  "  listen = \"[::1]:0\"; trusted_proxies = [ ];\n"
                                  "};\n");
    char source[128];

    (void)state;
    assert_string_equal(config->keys, "/k");
    assert_string_equal(config->token_issuer, "https://example.org");
    assert_string_equal(config->token_audience[0], "a b");
    assert_string_equal(config->token_audience[1], "c,d");
    assert_null(config->token_audience[2]);
    assert_int_equal(config->login_threads, 3);
    assert_int_equal(config->login_max_body, 2000);
    assert_int_equal(config->limits_per_address, 0);
    assert_int_equal(config->limits_queued_bytes, 1 << 30);
    assert_int_equal(config->gateway_ping_timeout, 500);
    assert_null(config->gateway_trusted_proxies[0]);
    snprintf(source, sizeof source, "%s:6", scratch_path(&scratch, "c.conf"));
    assert_string_equal(config_source(config, row("gateway.limits.per_address")), source);
    assert_string_equal(config_source(config, row("gateway.limits.rooms")), "default");
    config_free(&config);
}

static void relative_paths_start_at_the_configs_folder(void **state)
{
    const char *text = "keys = \"keys\"; gateway: { rules = \"./../r\"; client = \"\"; };";
    struct config *config = reads(text);
    struct error error;
    char cwd[256];

    (void)state;
    assert_string_equal(config->keys, scratch_path(&scratch, "keys"));
    assert_string_equal(config->gateway_rules, scratch_path(&scratch, "../r"));
    assert_string_equal(config->gateway_client, "");
    config_free(&config);

    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(scratch.folder), 0);
    config = config_read("c.conf", &error);
    assert_non_null(config);
    assert_string_equal(config->keys, scratch_path(&scratch, "keys"));
    assert_string_equal(config_source(config, row("keys")), "c.conf:1");
    config_free(&config);
    assert_int_equal(chdir(cwd), 0);
}

static void every_default_can_be_written_and_read_back(void **state)
{
    struct config *defaults = reads("");
    const struct setting *settings;
    size_t n = config_settings(&settings);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        const char *shown = config_show_value(defaults, i);
        struct config *config = reads(assignment(settings[i].name, shown));

        assert_string_equal(config_show_value(config, i), shown);
        assert_string_not_equal(config_source(config, i), "default");
        config_free(&config);
    }
    config_free(&defaults);
}

static void a_value_is_shown_as_it_would_be_written(void **state)
{
    static const char *const cases[][3] = {
        {"token.issuer", "\"a\\\"b\\\\c\"", "\"a\\\"b\\\\c\""},
        {"token.issuer", "\"\\x41é\"", "\"Aé\""},
        {"token.audience", "( \"a\" , \"b\" )", "[\"a\", \"b\"]"},
        {"gateway.trusted_proxies", "[]", "[]"},
        {"gateway.workers", "+007", "7"},
        {"gateway.limits.max_payload", "65536", "\"64KiB\""},
        {"gateway.limits.max_payload", "65537", "65537"},
        {"gateway.limits.max_payload", "\"65537\"", "65537"},
        {"gateway.limits.max_payload", "\"65537B\"", "65537"},
        {"gateway.limits.max_payload", "\"2048KiB\"", "\"2MiB\""},
        {"gateway.limits.queued_bytes", "1073741824", "\"1GiB\""},
        {"gateway.limits.queued_bytes", "0", "0"},
        {"token.lifetime", "\"86400s\"", "\"1d\""},
        {"token.lifetime", "\"90m\"", "\"90m\""},
        {"token.lifetime", "\"3650d\"", "\"3650d\""},
        {"token.lifetime", "\"1001ms\"", "\"1001ms\""},
        {"gateway.shutdown_spread", "\"0ms\"", "\"0s\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config *config = reads(assignment(cases[i][0], cases[i][1]));

        assert_string_equal(config_show_value(config, row(cases[i][0])), cases[i][2]);
        config_free(&config);
    }
}

static void an_unknown_name_is_refused_with_the_nearest(void **state)
{
    (void)state;
    refuses("gateway: { worker = 1; };",
            "1: gateway.worker is not a setting; did you mean gateway.workers?");
    refuses("login: {\n databse = \"x\"; };",
            "2: login.databse is not a setting; did you mean login.database?");
    refuses("workers = 1;", "1: workers is not a setting; did you mean gateway.workers?");
    refuses("gateway: { per_address = 1; };",
            "1: gateway.per_address is not a setting; did you mean gateway.limits.per_address?");
    refuses("gatway: { workers = 1; };",
            "1: gatway is not a group of settings; did you mean gateway?");
    refuses("gateway: { limit: { }; };",
            "1: gateway.limit is not a group of settings; did you mean gateway.limits?");
    refuses("Keys = \"/\";", "1: Keys is not a setting; did you mean keys?");
    refuses("colour = \"red\";", "1: colour is not a setting");
    refuses("gateway: { workers: { }; };",
            "1: gateway.workers must be a whole number, not a group { … }");
    refuses("gateway = 5;", "1: gateway is a group; name a setting of it, such as gateway.listen");
}

/* One issuer that is in order but for `rest`; the line is the first. */
static void refuses_issuer(const char *rest, const char *error)
{
    char text[600];

    snprintf(text, sizeof text, "issuers = ( { audience = [\"a\"]; %s } );", rest);
    refuses(text, error);
}

static void an_issuer_that_is_not_in_order_is_refused(void **state)
{
#define NAMED  "issuer = \"https://x/\"; jwks = \"https://x/jwks\"; "
#define ISSUER "{ audience = [\"a\"]; " NAMED "prefix = \"x:\"; }"
    (void)state;
    refuses("issuers = 1;", "1: issuers must be a list of groups: issuers = ( { issuer = … } );");
    refuses("issuers = " ISSUER ";",
            "1: issuers must be a list of groups: issuers = ( { issuer = … } );");
    refuses("issuers = (\n 1 );",
            "2: issuers must be a list of groups: issuers = ( { issuer = … } );");
    refuses("gateway: { issuers = (); };", "1: gateway.issuers is not a setting; did you mean "
                                           "token.issuer?");
    refuses_issuer(NAMED, "1: this issuer needs issuers.prefix");
    refuses_issuer("issuer = \"\"; jwks = \"/x\"; prefix = \"x:\";",
                   "1: this issuer needs issuers.issuer");
    refuses_issuer(NAMED "prefix = \"x:\";\n colour = 1;", "2: issuers.colour is not a setting");
    refuses_issuer(NAMED "prefix = \"x:\";\n prefix = \"y:\";",
                   "2: issuers.prefix was set in line 1 already; remove one of the two");
    refuses_issuer(NAMED "prefix = \"x\";",
                   "1: issuers.prefix must be 1 to 32 letters, digits, '.', '_' or '-' and a "
                   "colon, as \"example:\", not \"x\"");
    refuses_issuer(NAMED "algorithms = [\"RS256\", \"HS256\"];",
                   "1: issuers.algorithms must be RS256, RS384, RS512, ES256, ES384 or ES512, "
                   "not \"HS256\"");
    refuses_issuer("jwks = \"http://x/\";",
                   "1: issuers.jwks must be an https:// URL without a user or a fragment, or a "
                   "path, not \"http://x/\"");
    refuses_issuer("jwks = \"https://me@x/\";",
                   "1: issuers.jwks must be an https:// URL without a user or a fragment, or a "
                   "path, not \"https://me@x/\"");
    refuses("issuers = (" ISSUER ",\n" ISSUER ");",
            "1: two issuers have the same issuers.issuer \"https://x/\"");
    refuses("token: { issuer = \"https://x/\"; };\nissuers = (" ISSUER ");",
            "2: issuers.issuer \"https://x/\" is our own, token.issuer");
#undef ISSUER
#undef NAMED
}

static void an_issuer_has_its_settings_and_defaults(void **state)
{
    struct config *config =
        reads("issuers = ( { issuer = \"https://x/\"; audience = [\"a\"]; jwks = \"x.jwks\"; "
              "prefix = \"x:\"; lifetime = \"48h\"; } );");

    (void)state;
    assert_int_equal(config->n_issuers, 1);
    assert_string_equal(config->issuers[0].issuer_name, "https://x/");
    assert_string_equal(config->issuers[0].issuer_user, "sub");
    assert_string_equal(config->issuers[0].issuer_algorithms[1], "ES256");
    assert_int_equal(config->issuers[0].issuer_jwks[0], '/');
    assert_int_equal(config_longest_lifetime_ms(config), 48 * 3600 * 1000);
    assert_ptr_equal(config_issuer_of_user(config, "x:ann"), &config->issuers[0]);
    assert_null(config_issuer_of_user(config, "ann"));
    config_free(&config);
    config = reads("issuers = ();");
    assert_int_equal(config->n_issuers, 0);
    config_free(&config);
}

static void a_name_longer_than_any_is_unknown(void **state)
{
    char text[2000];

    (void)state;
    memset(text, 'a', sizeof text);
    strcpy(text + 1000, " = 1;");
    assert_null(config_read(file_with(text), &(struct error){""}));
    memcpy(text, "gateway: { workers", 18);
    strcpy(text + 1000, " = 1; };");
    assert_null(config_read(file_with(text), &(struct error){""}));
}

static void a_repeated_name_is_refused_with_both_lines(void **state)
{
    (void)state;
    refuses("gateway: { workers = 1;\n limits: { rooms = 5; };\n\n workers = 2; };",
            "4: gateway.workers was set in line 1 already; remove one of the two");
    refuses("gateway: {\n limits: { rooms = 5;\n per_user = 1; rooms = 6; }; };",
            "3: gateway.limits.rooms was set in line 2 already; remove one of the two");
    refuses("token: { };\ngateway: { };\n gateway: { };",
            "3: gateway was set in line 2 already; remove one of the two");
    refuses("keys = \"/a\"; keys = \"/b\";",
            "1: keys was set in line 1 already; remove one of the two");
}

static void a_wrong_type_or_unit_is_refused(void **state)
{
    (void)state;
    refuses("keys = 5;", "1: keys must be a path in quotes, not 5");
    refuses("keys = [\"/a\"];", "1: keys must be a path in quotes, not a list of something else");
    refuses("token: { issuer = true; };", "1: token.issuer must be a text in quotes, not true");
    refuses("token: { audience = \"a\"; };",
            "1: token.audience must be a list of texts such as [\"a\", \"b\"], not the text \"a\"");
    refuses("token: { audience = (\"a\", 5); };",
            "1: token.audience must be a list of texts such as [\"a\", \"b\"], not a list of "
            "something else");
    refuses("gateway: { workers = \"4\"; };",
            "1: gateway.workers must be a whole number, not the text \"4\"");
    refuses("gateway: { workers = 4.0; };",
            "1: gateway.workers must be a whole number, not a number with a fraction");
    refuses("gateway: { workers = 0x4; };",
            "1: gateway.workers must be a whole number, not a hexadecimal number");
#define BYTES "must be a number of bytes such as 65536 or \"64KiB\" (units: B, KiB, MiB, GiB), not "
    refuses("login: { max_body = \"64KB\"; };", "1: login.max_body " BYTES "\"64KB\"");
    refuses("login: { max_body = \"64 KiB\"; };", "1: login.max_body " BYTES "\"64 KiB\"");
    refuses("login: { max_body = \"KiB\"; };", "1: login.max_body " BYTES "\"KiB\"");
    refuses("login: { max_body = \"\"; };", "1: login.max_body " BYTES "\"\"");
    refuses("login: { max_body = false; };", "1: login.max_body " BYTES "false");
#define DURATION "must be a duration such as \"25s\" (units: ms, s, m, h, d), not "
    refuses("login: { timeout = 25; };", "1: login.timeout " DURATION "25");
    refuses("login: { timeout = \"25\"; };", "1: login.timeout " DURATION "\"25\"");
    refuses("login: { timeout = \"1.5h\"; };", "1: login.timeout " DURATION "\"1.5h\"");
    refuses("login: { timeout = \"5H\"; };", "1: login.timeout " DURATION "\"5H\"");
    refuses("login: { timeout = \"+5h\"; };", "1: login.timeout " DURATION "\"+5h\"");
}

static void a_number_out_of_range_is_refused(void **state)
{
    (void)state;
    refuses("gateway: { workers = 65; };", "1: gateway.workers must be from 0 to 64, not 65");
    refuses("gateway: { workers = -1; };", "1: gateway.workers cannot be negative (-1)");
    refuses("login: { timeout = \"-1s\"; };", "1: login.timeout cannot be negative (-1s)");
    refuses("login: { threads = 0; };", "1: login.threads must be from 1 to 256, not 0");
    refuses("login: { threads = 257; };", "1: login.threads must be from 1 to 256, not 257");
    refuses("gateway: { limits: { attachments = 257; }; };",
            "1: gateway.limits.attachments must be from 0 to 256, not 257");
    refuses("gateway: { limits: { max_payload = 1023; }; };",
            "1: gateway.limits.max_payload must be from \"1KiB\" to \"64MiB\", not 1023");
    refuses("gateway: { limits: { max_payload = \"65MiB\"; }; };",
            "1: gateway.limits.max_payload must be from \"1KiB\" to \"64MiB\", not \"65MiB\"");
    refuses("gateway: { ping_interval = \"0s\"; };",
            "1: gateway.ping_interval must be from \"1ms\" to \"10d\", not \"0s\"");
    refuses("token: { lifetime = \"999ms\"; };",
            "1: token.lifetime must be from \"1s\" to \"3650d\", not \"999ms\"");
    refuses("token: { lifetime = \"3651d\"; };",
            "1: token.lifetime must be from \"1s\" to \"3650d\", not \"3651d\"");
}

/* libconfig 1.5 would read the first as 1. */
static void a_number_never_wraps(void **state)
{
    (void)state;
    refuses("gateway: { workers = 4294967297; };", "1: 4294967297 is more than any setting takes");
    refuses("gateway: {\n workers = -4294967295; };",
            "2: 4294967295 is more than any setting takes");
    refuses("gateway: { workers = 99999999999999999999999999L; };",
            "1: 99999999999999999999999999 is more than any setting takes");
    refuses("gateway: { workers = 0x100000001; };",
            "1: gateway.workers must be a whole number, not a hexadecimal number");
    refuses("gateway: { ping_timeout = \"213503982335d\"; };", /* 2^64 ms and a little */
            "1: gateway.ping_timeout must be from \"1ms\" to \"10d\", not \"213503982335d\"");
    refuses("gateway: { ping_timeout = \"18446744073709551617ms\"; };",
            "1: gateway.ping_timeout must be from \"1ms\" to \"10d\", not "
            "\"18446744073709551617ms\"");
}

static void a_text_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    refuses("keys = \"\";", "1: keys must not be empty");
    refuses("token: { issuer = \"\"; };", "1: token.issuer must not be empty");
    refuses("token: { audience = []; };", "1: token.audience must name at least one");
    refuses("token: { audience = [\"a\", \"\"]; };",
            "1: token.audience must not hold an empty text");
    refuses("token: { issuer = \"a\\nb\"; };",
            "1: token.issuer holds a control character or is not UTF-8");
    refuses("token: { issuer = \"a\\xff\"; };",
            "1: token.issuer holds a control character or is not UTF-8");
    refuses("keys = \"/\x80\";", "1: keys holds a control character or is not UTF-8");
    refuses("gateway: { path = \"/a\"; };",
            "1: gateway.path must begin and end with \"/\", as \"/socket.io/\" does: \"/a\"");
    refuses("gateway: { path = \"a/\"; };",
            "1: gateway.path must begin and end with \"/\", as \"/socket.io/\" does: \"a/\"");
    refuses("gateway: { path = \"/a b/\"; };",
            "1: gateway.path takes letters, digits and -._~ between single \"/\": \"/a b/\"");
    refuses("gateway: { path = \"/a//b/\"; };",
            "1: gateway.path takes letters, digits and -._~ between single \"/\": \"/a//b/\"");
    refuses("gateway: { path = \"/a/../\"; };",
            "1: gateway.path takes letters, digits and -._~ between single \"/\": \"/a/../\"");
    refuses("login: { listen = \"login.sock\"; };",
            "1: login.listen: cannot listen on \"login.sock\"; write 127.0.0.1:9000, 0.0.0.0:9000 "
            "(every IPv4 address), [::1]:9000 or a path beginning with \"/\"");
    refuses("gateway: { listen = \"127.0.0.1:70000\"; };",
            "1: gateway.listen: \"127.0.0.1:70000\": the port must be a number from 0 to 65535");
    refuses("gateway: { trusted_proxies = [\"::1\", \"10.0.0.1/8\"]; };",
            "1: gateway.trusted_proxies: \"10.0.0.1/8\" has bits beyond its prefix; did you mean "
            "10.0.0.0/8?");
}

static void the_gates_words_are_few(void **state)
{
    (void)state;
    refuses("gateway: { token_sources = [\"auth\", \"body\"]; };",
            "1: gateway.token_sources must be auth, header or query, not \"body\"");
    refuses("gateway: { reject = \"silently\"; };",
            "1: gateway.reject must be connect_error or upgrade, not \"silently\"");
    refuses("gateway: { token_cookie = \"a=b\"; };",
            "1: gateway.token_cookie must be a cookie's name, not \"a=b\"");
}

static void an_origin_is_written_as_browsers_send_it(void **state)
{
    static const char *const good[] = {"*",
                                       "null",
                                       "https://Example.org",
                                       "http://localhost:8080",
                                       "https://[2001:db8::1]:8443",
                                       "capacitor://localhost"};
    static const char *const bad[] = {"example.org",
                                      "https://example.org/",

                                      "https://*.example.org",
                                      "https://",
                                      "://x",
                                      "https://a b",
                                      "https://u@example.org",
                                      "https://a?b"};
    static const char *const settings[][2] = {{"gateway.origins", ", or \"*\""},
                                              {"login.origins", ""}};
    char out[64], said[256];
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!config_render_assignment("gateway.origins", good[i], out, sizeof out, &error))
            fail_msg("%s", error.text);
    assert_false(config_render_assignment("login.origins", "*", out, sizeof out, &error));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t k = 0; k < 2; k++) {
            snprintf(out, sizeof out, "[\"%s\"]", bad[i]);
            snprintf(said, sizeof said,
                     "1: %s: \"%s\" is no origin; write one like \"https://example.org\", "
                     "without a path%s",
                     settings[k][0], bad[i], settings[k][1]);
            refuses(assignment(settings[k][0], out), said);
        }
}

static void a_cut_or_garbled_file_is_refused(void **state)
{
    (void)state;
    refuses("\ngateway: { workers = 1;\n limits: { rooms = 5; };\n",
            "2: the group that begins here is never closed");
    refuses("keys = \"/a\";\n/* token: { issuer = \"b\"; };\n",
            "2: the comment that begins here is never closed");
    refuses("\n\nkeys = \"/a;\n", "3: the text that begins here is never closed");
    refuses("keys = \"/a\\\"", "1: the text that begins here is never closed");
    refuses("keys = ", "1: syntax error, here or just before");
    refuses("keys = \"/a\"; }", "1: syntax error, here or just before");
    refuses("token: {};\n\x01", "2: syntax error, here or just before");
    refuses("token: { audience = [\"a\", 5]; };",
            "1: mismatched element type in array, here or just before");
    refuses("gateway.workers = 1;", "1: a setting stands inside its group, without dots: "
                                    "gateway: { limits: { rooms = 5; }; };");
}

static void the_config_is_one_file(void **state)
{
    struct config *config;

    (void)state;
    scratch_write(scratch_path(&scratch, "more.conf"), "keys = \"/a\";");
    refuses("\n  @include \"more.conf\"\n", "2: @include is not supported: the config is one file");
    config = reads("# @include \"more.conf\"\n/*\n@include \"more.conf\" 4294967297\n*/\n"
                   "keys = \"/@include 4294967297 {\"; // {\n");
    assert_string_equal(config->keys, "/@include 4294967297 {");
    config_free(&config);
}

static void says(const char *path, const char *reason)
{
    struct error error = {""};

    assert_null(config_read(path, &error));
    if (!strstr(error.text, path) || !strstr(error.text, reason))
        fail_msg("%s", error.text);
}

static void what_is_no_readable_text_is_refused(void **state)
{
    const char *path = scratch_path(&scratch, "other.conf");
    FILE *file;

    (void)state;
    says(path, "No such file");
    says(scratch.folder, "is a folder, not a file");
    says("/dev/null", "is a device or a pipe, not a file");
    assert_int_equal(mkfifo(path, 0600), 0);
    says(path, "is a device or a pipe, not a file");
    unlink(path);

    file = fopen(path, "w");
    fwrite("keys = \"/a\";\n\0\n", 1, 15, file);
    fclose(file);
    says(path, "it holds a NUL byte");

    file = fopen(path, "w");
    for (int i = 0; i < 1 << 20; i++)
        fputc('\n', file);
    fclose(file);
    struct config *config = config_read(path, &(struct error){""});
    assert_non_null(config); /* 1 MiB is just not too large */
    config_free(&config);
    file = fopen(path, "a");
    fputc('\n', file);
    fclose(file);
    says(path, "is larger than 1 MiB");
}

static void deep_nesting_is_an_error(void **state)
{
    enum { DEPTH = 100000 };
    char *text = malloc(DEPTH * 6 + 1);

    (void)state;
    for (int i = 0; i < DEPTH; i++) {
        memcpy(text + i * 4, "a: {", 4);
        memcpy(text + DEPTH * 4 + i * 2, "};", 2);
    }
    text[DEPTH * 6] = '\0';
    assert_null(config_read(file_with(text), &(struct error){""}));
    memset(text, '(', DEPTH);
    memcpy(text, "keys = ", 7);
    text[DEPTH] = '\0';
    assert_null(config_read(file_with(text), &(struct error){""}));
    free(text);
}

/* 110,000 of them took libconfig 50 seconds. */
static void a_crowd_of_names_is_refused_before_it_is_read(void **state)
{
    char *text = malloc(16000), *end = text;

    (void)state;
    for (int i = 0; i < 1001; i++)
        end += sprintf(end, "a%d = 1;\n", i);
    refuses(text, "1001: there are more than 1000 settings in this file");
    *strstr(text, "a1000") = '\0';
    refuses(text, "1: a0 is not a setting");
    free(text);
}

static void an_assignment_is_rendered_for_the_file(void **state)
{
    static const char *const cases[][3] = {
        {"gateway.workers", "1", "1"},
        {"gateway.ping_timeout", "25s", "\"25s\""},
        {"gateway.limits.max_payload", "64KiB", "\"64KiB\""},
        {"gateway.limits.max_payload", "5000", "5000"},
        {"keys", "keys/here", "\"keys/here\""},
        {"gateway.client", "", "\"\""},
        {"token.issuer", "a \"b\" \\", "\"a \\\"b\\\" \\\\\""},
        {"token.audience", "a,b, c", "[\"a\", \"b\", \"c\"]"},
        {"token.audience", "a", "[\"a\"]"},
        {"gateway.trusted_proxies", "", "[]"},
    };
    char out[128];
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!config_render_assignment(cases[i][0], cases[i][1], out, sizeof out, &error))
            fail_msg("%s", error.text);
        assert_string_equal(out, cases[i][2]);
        struct config *config = reads(assignment(cases[i][0], out));
        config_free(&config);
    }
}

static void a_bad_assignment_is_refused_in_the_files_words(void **state)
{
    static const char *const cases[][3] = {
        {"gateway.worker", "1", "gateway.worker is not a setting; did you mean gateway.workers?"},
        {"gateway.limit.rooms", "1",
         "gateway.limit.rooms is not a setting; did you mean gateway.limits.rooms?"},
        {"", "1", " is not a setting"},
        {"gateway.", "1", "gateway. is not a setting"},
        {"gateway.limits", "1",
         "gateway.limits is a group; name a setting of it, such as gateway.limits.connections"},
        {"gateway.workers", "x", "gateway.workers must be a whole number, not \"x\""},
        {"gateway.workers", "", "gateway.workers must be a whole number, not \"\""},
        {"gateway.workers", "65", "gateway.workers must be from 0 to 64, not 65"},
        {"token.issuer", "", "token.issuer must not be empty"},
        {"token.issuer", "a\nb", "token.issuer holds a control character or is not UTF-8"},
        {"token.audience", " ,", "token.audience must name at least one"},
        {"token.issuer", "0123456789012345678901234567890", "token.issuer: the value is too long"},
    };
    char out[32];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error = {""};

        assert_false(config_render_assignment(cases[i][0], cases[i][1], out, sizeof out, &error));
        assert_string_equal(error.text, cases[i][2]);
    }
}

static void what_cannot_be_reloaded_is_named(void **state)
{
    struct config *running = reads("gateway: { workers = 2; limits: { rooms = 5; }; };");
    struct config *fresh = reads("token: { lifetime = \"300m\"; };"
                                 "login: { timeout = \"3s\"; database = \"x\"; };"
                                 "gateway: { workers = 4; limits: { rooms = 6; }; };");
    char names[64], few[10];

    (void)state;
    assert_int_equal(config_frozen_differences(running, fresh, names, sizeof names), 2);
    assert_string_equal(names, "login.database, gateway.workers");
    assert_int_equal(config_frozen_differences(running, fresh, few, sizeof few), 2);
    assert_string_equal(few, "login.dat");
    assert_int_equal(config_frozen_differences(fresh, fresh, names, sizeof names), 0);
    assert_string_equal(names, "");
    config_free(&running);
    config_free(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_is_all_defaults),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(relative_paths_start_at_the_configs_folder),
        cmocka_unit_test(every_default_can_be_written_and_read_back),
        cmocka_unit_test(a_value_is_shown_as_it_would_be_written),
        cmocka_unit_test(an_unknown_name_is_refused_with_the_nearest),
        cmocka_unit_test(an_issuer_that_is_not_in_order_is_refused),
        cmocka_unit_test(an_issuer_has_its_settings_and_defaults),
        cmocka_unit_test(a_name_longer_than_any_is_unknown),
        cmocka_unit_test(a_repeated_name_is_refused_with_both_lines),
        cmocka_unit_test(a_wrong_type_or_unit_is_refused),
        cmocka_unit_test(a_number_out_of_range_is_refused),
        cmocka_unit_test(a_number_never_wraps),
        cmocka_unit_test(a_text_that_makes_no_sense_is_refused),
        cmocka_unit_test(the_gates_words_are_few),
        cmocka_unit_test(an_origin_is_written_as_browsers_send_it),
        cmocka_unit_test(a_cut_or_garbled_file_is_refused),
        cmocka_unit_test(the_config_is_one_file),
        cmocka_unit_test(what_is_no_readable_text_is_refused),
        cmocka_unit_test(deep_nesting_is_an_error),
        cmocka_unit_test(a_crowd_of_names_is_refused_before_it_is_read),
        cmocka_unit_test(an_assignment_is_rendered_for_the_file),
        cmocka_unit_test(a_bad_assignment_is_refused_in_the_files_words),
        cmocka_unit_test(what_cannot_be_reloaded_is_named),
    };
    return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
