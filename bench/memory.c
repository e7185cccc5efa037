/*
 * How long this machine takes to fetch memory: reads in random order, each of which says where the next one is.
 * Prints `KIB NANOSECONDS` for sizes from 256 KiB to 64 MiB.
 *
 *     cc -O2 -o memory memory.c && ./memory
 *
 * Caches are shared with whatever else runs on the processor, other virtual machines too: what a proxy costs
 * cannot be judged without knowing how much of them was left.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LINE 64 /* bytes that are fetched at once */
#define READS 500000

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

/* Has each line of `memory` point to another one, all of them in one circle in random order. */
static void chain(char *memory, size_t lines) {
    size_t *order = malloc(lines * sizeof *order);
    if (order == NULL) exit(1);
    for (size_t at = 0; at < lines; at++) order[at] = at;
    for (size_t at = lines - 1; at > 0; at--) {
        size_t other = (size_t)rand() % (at + 1), kept = order[at];
        order[at] = order[other];
        order[other] = kept;
    }
    for (size_t at = 0; at < lines; at++)
        *(void **)(memory + order[at] * LINE) = memory + order[(at + 1) % lines] * LINE;
    free(order);
}

static void *follow(void **at, size_t reads) {
    while (reads-- > 0) at = *at;
    return at;
}

int main(void) {
    for (size_t kib = 256; kib <= 64 << 10; kib *= 4) {
        size_t lines = kib * 1024 / LINE;
        char *memory = malloc(lines * LINE);
        if (memory == NULL) return 1;
        chain(memory, lines);
        void *at = follow((void **)memory, lines);
        double began = now();
        at = follow(at, READS);
        double took = now() - began;
        if (at == NULL) return 1; /* so that the reads are not left out */
        printf("%zu %.1f\n", kib, took / READS);
        free(memory);
    }
    return 0;
}
