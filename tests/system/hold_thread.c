/* A thread that hangs: hold the one whose id is argv[1] by ptrace until it is killed, or we are. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
    pid_t thread = argc == 2 ? atoi(argv[1]) : 0;
    int status;

    if (thread <= 0)
        errx(2, "usage: hold_thread THREAD");
    if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) || ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) ||
        waitpid(thread, &status, __WALL) != thread)
        err(1, "thread %d", thread);
    puts("held");
    fflush(stdout);
    while (waitpid(thread, &status, __WALL) == thread && WIFSTOPPED(status))
        ;
    return 0;
}
