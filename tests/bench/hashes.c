/*
 * hashes: as many Argon2id hashes as the machine makes, with the config's standard memory and
 * passes, by one thread a core.  What a login service on this machine may hope for.
 *
 *   hashes SECONDS
 */
#include "tests/bench/process.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MEMORY_BYTES ((size_t)7 << 20)
#define PASSES       5
#define THREADS_MAX  256

struct thread {
    pthread_t id;
    uint64_t end_ns, hashes;
};

static void *run(void *argument)
{
    static const unsigned char salt[crypto_pwhash_SALTBYTES];
    struct thread *thread = argument;
    unsigned char digest[32];

    while (now_ns() < thread->end_ns) {
        if (crypto_pwhash(digest, sizeof digest, "correct horse", 13, salt, PASSES, MEMORY_BYTES,
                          crypto_pwhash_ALG_ARGON2ID13) != 0)
            abort();
        thread->hashes++;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN), n = cores < THREADS_MAX ? cores : THREADS_MAX;
    struct thread thread[THREADS_MAX] = {0};
    uint64_t start_ns = now_ns(), hashes = 0;
    struct timespec cpu;
    double took_s, cpu_s;

    if (argc != 2 || strtod(argv[1], NULL) <= 0 || sodium_init() < 0) {
        fprintf(stderr, "usage: hashes SECONDS\n");
        return 2;
    }
    for (long i = 0; i < n; i++) {
        thread[i].end_ns = start_ns + (uint64_t)(strtod(argv[1], NULL) * 1e9);
        if (pthread_create(&thread[i].id, NULL, run, &thread[i]) != 0)
            return 1;
    }
    for (long i = 0; i < n; i++) {
        pthread_join(thread[i].id, NULL);
        hashes += thread[i].hashes;
    }
    took_s = (double)(now_ns() - start_ns) / 1e9;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    cpu_s = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
    printf("{\"answers\": %llu, \"answers_per_cpu_s\": %.1f, \"answers_per_s\": %.1f}\n",
           (unsigned long long)hashes, (double)hashes / cpu_s, (double)hashes / took_s);
    return 0;
}
