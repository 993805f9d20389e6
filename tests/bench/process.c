/*
 * The server's cost as the kernel counts it.  schedstat has nanoseconds where stat has hundredths
 * of a second; it is per thread, and one that ends takes its share along: servers measured here
 * keep theirs.
 */
#include "tests/bench/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void gone(pid_t pid)
{
    fprintf(stderr, "load: process %d cannot be looked at: has the server ended?\n", (int)pid);
    exit(1);
}

uint64_t process_cpu_ns(pid_t pid)
{
    char path[300];
    struct dirent *entry;
    uint64_t sum = 0;
    unsigned long long ns;
    FILE *file;
    DIR *threads;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    threads = opendir(path);
    if (!threads)
        gone(pid);
    while ((entry = readdir(threads))) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", (int)pid, entry->d_name);
        if (entry->d_name[0] == '.' || !(file = fopen(path, "re")))
            continue;
        if (fscanf(file, "%llu", &ns) == 1)
            sum += ns;
        fclose(file);
    }
    closedir(threads);
    return sum;
}

uint64_t process_resident(pid_t pid)
{
    char path[64], line[256];
    unsigned long long kib = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    if (!file)
        gone(pid);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %llu kB", &kib) == 1)
            break;
    fclose(file);
    return kib * 1024;
}

uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void sleep_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&left, NULL);
}
