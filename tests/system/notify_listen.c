/*
 * systemd's end of sd_notify, which node cannot hold: bind the datagram socket argv[1] and print
 * each message on a line, its own lines joined by spaces.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    char message[4096];
    ssize_t n;

    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path)
        errx(2, "usage: notify_listen SOCKET");
    strcpy(address.sun_path, argv[1]);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address))
        err(1, "%s", argv[1]);
    puts("bound");
    fflush(stdout);
    while ((n = recv(fd, message, sizeof message - 1, 0)) >= 0) {
        message[n] = '\0';
        for (char *newline = message; (newline = strchr(newline, '\n'));)
            *newline = ' ';
        puts(message);
        fflush(stdout);
    }
    err(1, "recv");
}
