/*
 * sallyport-login: options, and how we were started.
 */
#include "common/daemon.h"
#include "common/log.h"
#include "common/net.h"
#include "common/scratch.h"
#include "login-fcgi/cgi.h"
#include "login-fcgi/responder.h"
#include "login-fcgi/service.h"
#include "login-fcgi/stores.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define PROGRAM "sallyport-login"

static const char usage[] =
    "Usage: " PROGRAM " [-c FILE] [--check]\n"
    "Log users in: POST /login with a name and a password gives a token.\n"
    "\n"
    "  -c FILE    the config (default /etc/sallyport/sallyport.conf)\n"
    "  --check    read the config, the signing key and the databases, say what is wrong, and end\n"
    "  --help     this text\n"
    "  --version  the version\n"
    "\n"
    "Started by a web server it serves as FastCGI on standard input, or one request as CGI; else\n"
    "as FastCGI on systemd's socket or on login.listen.\n";

struct options {
    const char *config;
    bool check;
};

static int fail(const struct error *error)
{
    log_error("%s", error->text);
    return EXIT_FAILURE;
}

static int refuse_usage(const char *word)
{
    fprintf(stderr, PROGRAM ": cannot make sense of '%s'; see " PROGRAM " --help\n", word);
    return 2;
}

/* -1: go on; else the exit status. */
static int read_options(int argc, char **argv, struct options *options)
{
    static const struct option long_options[] = {{"check", no_argument, NULL, 'k'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {"version", no_argument, NULL, 'v'},
                                                 {0}};
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "c:", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->config = optarg;
            break;
        case 'k':
            options->check = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        case 'v':
            puts(PROGRAM " " VERSION);
            return EXIT_SUCCESS;
        default:
            return refuse_usage(argv[optind - 1]);
        }
    }
    return optind < argc ? refuse_usage(argv[optind]) : -1;
}

static int check(const struct config *config, const char *path)
{
    struct error error;
    struct stores stores;
    bool is_sound = stores_open(&stores, config, NULL, &error) &&
                    net_listen_check(config->login_listen, &error);

    stores_close(&stores);
    if (!is_sound)
        return fail(&error);
    printf(PROGRAM ": %s: OK\n", path);
    return EXIT_SUCCESS;
}

static int run(const char *path)
{
    struct error error;

    return responder_run(path, &error) ? EXIT_SUCCESS : fail(&error);
}

int main(int argc, char **argv)
{
    struct options options = {"/etc/sallyport/sallyport.conf", false};
    struct service *service;
    struct error error;
    int status;

    log_open(PROGRAM);
    daemon_forbid_core_dumps();
    /* Passwords and tokens: nothing of them is freed unwiped.  No header of our own before each,
     * for libraries hand jansson's texts to free(). */
    scratch_install();
    if (cgi_is_started() && cgi_arguments_are_foreign())
        return cgi_run(NULL);
    status = read_options(argc, argv, &options);
    if (status >= 0)
        return status;
    if (cgi_is_started())
        return cgi_run(options.config);
    service = service_read(options.config, &error);
    if (!service)
        return fail(&error);
    service_install(service);
    status = options.check ? check(service->config, options.config) : run(options.config);
    service_install(NULL);
    return status;
}
