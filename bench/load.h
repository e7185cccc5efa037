/* What the parts of the load generator share; load.c says what it does. */
#ifndef LOAD_H
#define LOAD_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECOND 1000000000ull /* All moments and durations are nanoseconds of CLOCK_MONOTONIC. */
#define NEVER UINT64_MAX

/* ---- options: what the command line says -------------------------------------------------------- */

enum dialect { OPENAI, ANTHROPIC, OLLAMA };

struct options {
    int proxy_port;
    int upstream_port;
    enum dialect dialect;
    const char *path;
    int clients;          /* how many streams are open at a time */
    long tokens;          /* how many a stream has; 0: it has no end */
    double rate;          /* tokens a second and stream; 0: as fast as it goes */
    double warm;          /* seconds before the measurement; clients come during its first half */
    double seconds;       /* how long the measurement takes */
    double delay;         /* seconds from a request to the upstream's first token */
    double tick;          /* seconds between two looks at what is due */
    size_t body;          /* bytes of a request's body, at the least */
    size_t padding;       /* bytes that make each token's text longer */
    bool keepalive;       /* one connection for many requests of a client */
    double cancel_every;  /* seconds between two clients that leave in mid-stream; 0: none does */
    bool stall;           /* clients stop reading after their first token */
    int pids[64];         /* the processes of the proxy */
    int pid_count;
};

extern struct options options;

/* ---- load.c: the event loop --------------------------------------------------------------------- */

/* Whatever has a descriptor in the loop begins with one of these. */
struct endpoint {
    int fd;
    void (*on_events)(struct endpoint *, uint32_t events);
};

void watch(struct endpoint *, uint32_t events);
void watch_again(struct endpoint *, uint32_t events);
int loopback_socket(void);
struct sockaddr_in loopback(int port);
_Noreturn void die(const char *what);

/* ---- measure.c: what has been seen -------------------------------------------------------------- */

/* Durations in steps of less than one percent, whatever their size. */
struct histogram {
    uint64_t count, max;
    double sum;
    uint32_t steps[64 * 128];
};

struct tally {
    bool measuring; /* The warm-up is over. */
    struct histogram latency;      /* each token: sent by the upstream → seen by its client */
    struct histogram last_latency; /* the same, only the last token of each event */
    struct histogram first_token;  /* request → first token seen, less what the upstream itself took */
    struct histogram cancel;       /* client closed → the upstream saw it */
    struct histogram late;         /* token due → token sent: how late this program itself is */
    uint64_t sent, seen, events, reads, bytes;
    uint64_t streams;    /* ended as they should */
    uint64_t broken;     /* ended without their last chunk, or with another status than 200 */
    uint64_t refused;    /* connections that could not be made */
    uint64_t lost;       /* tokens sent, and not seen though the stream ended as it should */
    uint64_t duplicated; /* tokens seen twice or out of order */
    uint64_t repeated;   /* requests that came to the upstream twice */
    uint64_t cancelled;  /* clients that left in mid-stream on purpose */
    uint64_t stalled;    /* clients that stopped reading */
};

extern struct tally tally;

uint64_t clock_now(void);
void record(struct histogram *, uint64_t duration);
double percentile_us(const struct histogram *, double part);

struct usage {
    uint64_t cpu;    /* nanoseconds on a processor, of all threads */
    uint64_t waited; /* nanoseconds ready to run while the processor was another's */
    long rss_kib;
};

struct usage usage_of(const int *pids, int count);

/* ---- streams: what both ends know of one --------------------------------------------------------- */

struct stream {
    uint64_t id;
    long tokens;         /* How many it has; 0: it has no end. */
    uint64_t asked_at;   /* The client sent the request. */
    uint64_t arrived_at; /* The upstream had read all of it; 0: not yet. */
    uint64_t left_at;    /* The client closed in mid-stream; 0: it did not. */
};

struct stream *new_stream(void);
struct stream *find_stream(uint64_t id); /* NULL if there is none (any more) */

/* ---- stamps: a moment as text ------------------------------------------------------------------- */

#define STAMP_DIGITS 16

void write_hex(char *to, uint64_t value); /* STAMP_DIGITS digits, without an end mark */
int hex_digit(char);                      /* -1 for other characters */

/* ---- upstream.c: plays the LLM ------------------------------------------------------------------ */

void upstreams_listen(void);
void upstreams_tick(uint64_t now); /* send what is due */
bool upstreams_rush(void);         /* send a few tokens on every stream that takes them; false: none does */

/* ---- client.c: plays those who ask -------------------------------------------------------------- */

void clients_prepare(uint64_t now);
void clients_tick(uint64_t now);      /* start those whose time has come */
void clients_cancel(uint64_t now);    /* let the next one leave in mid-stream, if it is time */
int clients_unanswered(uint64_t now); /* how many wait for their first token for more than a second */

#endif
