/* The clock, the histograms, the table of streams, and what /proc says of the proxy. */
#include "load.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct tally tally;

uint64_t clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* ---- histograms ---------------------------------------------------------------------------------- */

/* Durations below 128 ns have a step each; above, every doubling has 128 steps. */
static unsigned step_of(uint64_t duration) {
    if (duration < 128) return (unsigned)duration;
    unsigned shift = 56 - (unsigned)__builtin_clzll(duration);
    return shift * 128 + (unsigned)(duration >> shift);
}

static uint64_t start_of(unsigned step) {
    if (step < 256) return step;
    return (uint64_t)(step % 128 + 128) << (step / 128 - 1);
}

void record(struct histogram *h, uint64_t duration) {
    h->count++;
    h->sum += (double)duration;
    if (duration > h->max) h->max = duration;
    h->steps[step_of(duration)]++;
}

double percentile_us(const struct histogram *h, double part) {
    uint64_t wanted = (uint64_t)((double)h->count * part), passed = 0;
    for (unsigned step = 0; step < sizeof h->steps / sizeof *h->steps; step++) {
        passed += h->steps[step];
        if (passed > wanted) return (double)start_of(step) / 1e3;
    }
    return (double)h->max / 1e3;
}

/* ---- streams ------------------------------------------------------------------------------------- */

/* The latest streams only: an older one's place is taken by a newer one. */
static struct stream streams[1 << 17];
static uint64_t last_id;

static struct stream *place_of(uint64_t id) {
    return &streams[id % (sizeof streams / sizeof *streams)];
}

struct stream *new_stream(void) {
    struct stream *stream = place_of(++last_id);
    *stream = (struct stream){.id = last_id};
    return stream;
}

struct stream *find_stream(uint64_t id) {
    struct stream *stream = place_of(id);
    return id != 0 && stream->id == id ? stream : NULL;
}

/* ---- stamps -------------------------------------------------------------------------------------- */

void write_hex(char *to, uint64_t value) {
    for (int i = STAMP_DIGITS - 1; i >= 0; i--, value >>= 4) to[i] = "0123456789abcdef"[value & 15];
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* ---- /proc --------------------------------------------------------------------------------------- */

/* The first number in a file of /proc, or the one after `skip` others; 0 if there is none. */
static uint64_t number_in(const char *path, int skip) {
    FILE *file = fopen(path, "r");
    unsigned long long number = 0;
    if (file == NULL) return 0;
    for (int i = 0; i <= skip; i++)
        if (fscanf(file, "%llu", &number) != 1) number = 0;
    fclose(file);
    return number;
}

/* Add up all threads alive: schedstat counts nanoseconds, stat only ticks of 10 ms. */
static void add_time_of(int pid, struct usage *usage) {
    char path[320];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) return;
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        if (!isdigit((unsigned char)task->d_name[0])) continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
        usage->cpu += number_in(path, 0);
        usage->waited += number_in(path, 1);
    }
    closedir(tasks);
}

struct usage usage_of(const int *pids, int count) {
    struct usage usage = {0};
    for (int i = 0; i < count; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/statm", pids[i]);
        usage.rss_kib += (long)number_in(path, 1) * (sysconf(_SC_PAGESIZE) / 1024);
        add_time_of(pids[i], &usage);
    }
    return usage;
}
