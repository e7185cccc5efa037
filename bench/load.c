/*
 * A load generator that plays both the LLM endpoint and the clients of a streaming proxy, in one process and
 * on one clock: each token carries the moment it was sent in its text, so its way through the proxy is timed
 * whatever format it comes out in. Prints one JSON object.
 *
 *     cc -O2 -Wall -Wextra -o load load.c client.c upstream.c measure.c
 *     ./load --proxy 8080 --upstream 9000 --clients 400 --rate 50 --pid PID
 *
 * Everything is on the loopback interface, bounded in time, and in one thread: what load it can make is what
 * one core can. `late_us` says how late it was itself.
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct options options = {
    .clients = 10,
    .tokens = 400,
    .warm = 2,
    .seconds = 5,
    .tick = 0.0002, /* streams are not in step with each other: a long tick would bring their tokens in bursts */
    .keepalive = true,
};

_Noreturn void die(const char *what) {
    perror(what);
    exit(1);
}

/* ---- the loop ------------------------------------------------------------------------------------ */

static int loop_fd;

static void control(int operation, struct endpoint *endpoint, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = endpoint};
    if (epoll_ctl(loop_fd, operation, endpoint->fd, &event) != 0) die("epoll_ctl");
}

void watch(struct endpoint *endpoint, uint32_t events) {
    control(EPOLL_CTL_ADD, endpoint, events);
}

void watch_again(struct endpoint *endpoint, uint32_t events) {
    control(EPOLL_CTL_MOD, endpoint, events);
}

static void dispatch(int timeout_ms) {
    struct epoll_event ready[512];
    int count = epoll_wait(loop_fd, ready, 512, timeout_ms);
    for (int i = 0; i < count; i++) {
        struct endpoint *endpoint = ready[i].data.ptr;
        endpoint->on_events(endpoint, ready[i].events);
    }
}

int loopback_socket(void) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* what a listener accepts inherits it */
    return fd;
}

struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

/* ---- time ---------------------------------------------------------------------------------------- */

static uint64_t warm_until, end_at;

static uint64_t duration(double seconds) {
    return (uint64_t)(seconds * (double)SECOND);
}

static void on_tick(struct endpoint *timer, uint32_t events) {
    uint64_t expirations, now = clock_now();
    (void)events;
    if (read(timer->fd, &expirations, sizeof expirations) < 0) return;
    upstreams_tick(now);
    clients_tick(now);
    /* The last to leave still have time to be noticed. */
    if (options.cancel_every > 0 && tally.measuring && now + SECOND / 2 < end_at) clients_cancel(now);
}

static void start_ticking(void) {
    static struct endpoint timer = {.on_events = on_tick};
    struct timespec tick = {.tv_nsec = (long)duration(options.tick)};
    struct itimerspec every = {.it_value = tick, .it_interval = tick};
    timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer.fd < 0 || timerfd_settime(timer.fd, 0, &every, NULL) != 0) die("timerfd");
    watch(&timer, EPOLLIN);
}

/* ---- the result ---------------------------------------------------------------------------------- */

struct snapshot {
    uint64_t at;
    struct usage proxy, own;
};

static struct snapshot take_snapshot(void) {
    int own = getpid();
    return (struct snapshot){clock_now(), usage_of(options.pids, options.pid_count), usage_of(&own, 1)};
}

/* How much of the time between two snapshots a sum of nanoseconds has grown by. */
static double share(uint64_t from, uint64_t to, double seconds) {
    return (double)(to - from) / (double)SECOND / seconds;
}

static void print_histogram(const char *name, const struct histogram *h) {
    if (h->count == 0) {
        printf(",\"%s\":null", name);
        return;
    }
    printf(",\"%s\":{\"count\":%llu,\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}", name,
           (unsigned long long)h->count, h->sum / (double)h->count / 1e3, percentile_us(h, .5),
           percentile_us(h, .9), percentile_us(h, .99), (double)h->max / 1e3);
}

static void print_count(const char *name, uint64_t count) {
    printf(",\"%s\":%llu", name, (unsigned long long)count);
}

static double per(double what, uint64_t each) {
    return each == 0 ? 0 : what / (double)each;
}

/* What a proxy that costs no time at all would carry: a stream's first token comes after the delay, and its
   end one step after its last token. */
static double offered_per_s(void) {
    if (options.rate <= 0 || options.tokens == 0) return options.clients * options.rate;
    double tokens = (double)options.tokens;
    return options.clients * tokens / (options.delay + tokens / options.rate);
}

static void print_result(struct snapshot idle, struct snapshot from, struct snapshot to) {
    double seconds = (double)(to.at - from.at) / (double)SECOND;
    double cpu = (double)(to.proxy.cpu - from.proxy.cpu);
    printf("{\"seconds\":%.3f", seconds);
    printf(",\"tokens_per_s\":%.1f,\"streams_per_s\":%.1f", (double)tally.seen / seconds,
           (double)tally.streams / seconds);
    printf(",\"offered_per_s\":%.1f", offered_per_s());
    printf(",\"cpu_us_per_token\":%.3f,\"cpu_us_per_stream\":%.2f", per(cpu, tally.seen) / 1e3,
           per(cpu, tally.streams) / 1e3);
    printf(",\"cpu_share\":%.3f,\"waited_share\":%.3f", share(from.proxy.cpu, to.proxy.cpu, seconds),
           share(from.proxy.waited, to.proxy.waited, seconds));
    printf(",\"own_share\":%.3f,\"own_waited_share\":%.3f", share(from.own.cpu, to.own.cpu, seconds),
           share(from.own.waited, to.own.waited, seconds));
    printf(",\"rss_kib\":{\"idle\":%ld,\"warm\":%ld,\"end\":%ld}", idle.proxy.rss_kib, from.proxy.rss_kib,
           to.proxy.rss_kib);
    printf(",\"rss_kib_per_client\":%.2f", (double)(to.proxy.rss_kib - idle.proxy.rss_kib) / options.clients);
    printf(",\"tokens_per_event\":%.3f", per((double)tally.seen, tally.events));
    printf(",\"tokens_per_read\":%.3f", per((double)tally.seen, tally.reads));
    printf(",\"bytes_per_token\":%.1f", per((double)tally.bytes, tally.seen));
    print_count("tokens_sent", tally.sent);
    print_count("tokens_seen", tally.seen);
    print_count("streams", tally.streams);
    print_count("broken", tally.broken);
    print_count("refused", tally.refused);
    print_count("lost", tally.lost);
    print_count("duplicated", tally.duplicated);
    print_count("repeated", tally.repeated);
    print_count("unanswered", (uint64_t)clients_unanswered(to.at));
    print_count("cancelled", tally.cancelled);
    print_count("stalled", tally.stalled);
    print_histogram("latency_us", &tally.latency);
    print_histogram("last_latency_us", &tally.last_latency);
    print_histogram("first_token_us", &tally.first_token);
    print_histogram("cancel_us", &tally.cancel);
    print_histogram("late_us", &tally.late);
    printf("}\n");
}

/* ---- the command line ---------------------------------------------------------------------------- */

static const char usage[] =
    "load --proxy PORT --upstream PORT [options]\n"
    "  --dialect openai|anthropic|ollama   what the upstream speaks (openai)\n"
    "  --path PATH            what clients ask for (the dialect's own)\n"
    "  --clients N            streams open at a time (10)\n"
    "  --tokens N             of a stream (400); 0: it has no end\n"
    "  --rate R               tokens a second and stream (0: as fast as it goes)\n"
    "  --warm S --seconds S   before and during the measurement (2, 5)\n"
    "  --delay S              from a request to the upstream's first token (0)\n"
    "  --tick S               between two looks at what is due (0.0002)\n"
    "  --body BYTES           of a request, at the least (about 350)\n"
    "  --padding BYTES        more in the text of each token (0)\n"
    "  --close                a connection for each request\n"
    "  --cancel-every S       let a client leave in mid-stream\n"
    "  --stall                clients stop reading after their first token\n"
    "  --pid PID              a process of the proxy; may be given more than once\n";

static _Noreturn void wrong_usage(void) {
    fputs(usage, stderr);
    exit(2);
}

static const char *const dialect_names[] = {[OPENAI] = "openai", [ANTHROPIC] = "anthropic", [OLLAMA] = "ollama"};
static const char *const paths[] = {
    [OPENAI] = "/v1/chat/completions", [ANTHROPIC] = "/v1/messages", [OLLAMA] = "/api/chat"};

static enum dialect dialect_named(const char *name) {
    for (int i = 0; i < 3; i++)
        if (strcmp(name, dialect_names[i]) == 0) return (enum dialect)i;
    wrong_usage();
}

static void add_pid(int pid) {
    if (options.pid_count == sizeof options.pids / sizeof *options.pids) wrong_usage();
    options.pids[options.pid_count++] = pid;
}

static void take_option(int option, const char *value) {
    switch (option) {
    case 'p': options.proxy_port = atoi(value); break;
    case 'u': options.upstream_port = atoi(value); break;
    case 'd': options.dialect = dialect_named(value); break;
    case 'P': options.path = value; break;
    case 'c': options.clients = atoi(value); break;
    case 'n': options.tokens = atol(value); break;
    case 'r': options.rate = atof(value); break;
    case 'w': options.warm = atof(value); break;
    case 's': options.seconds = atof(value); break;
    case 'D': options.delay = atof(value); break;
    case 't': options.tick = atof(value); break;
    case 'b': options.body = (size_t)atol(value); break;
    case 'g': options.padding = (size_t)atol(value); break;
    case 'k': options.keepalive = false; break;
    case 'C': options.cancel_every = atof(value); break;
    case 'S': options.stall = true; break;
    case 'm': add_pid(atoi(value)); break;
    default: wrong_usage();
    }
}

static void read_options(int argc, char **argv) {
    static const struct option known[] = {
        {"proxy", required_argument, NULL, 'p'},   {"upstream", required_argument, NULL, 'u'},
        {"dialect", required_argument, NULL, 'd'}, {"path", required_argument, NULL, 'P'},
        {"clients", required_argument, NULL, 'c'}, {"tokens", required_argument, NULL, 'n'},
        {"rate", required_argument, NULL, 'r'},    {"warm", required_argument, NULL, 'w'},
        {"seconds", required_argument, NULL, 's'}, {"delay", required_argument, NULL, 'D'},
        {"tick", required_argument, NULL, 't'},    {"body", required_argument, NULL, 'b'},
        {"padding", required_argument, NULL, 'g'}, {"close", no_argument, NULL, 'k'},
        {"stall", no_argument, NULL, 'S'},         {"cancel-every", required_argument, NULL, 'C'},
        {"pid", required_argument, NULL, 'm'},     {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) take_option(option, optarg);
    if (options.path == NULL) options.path = paths[options.dialect];
    bool sane = options.proxy_port > 0 && options.upstream_port > 0 && options.clients > 0 && optind == argc &&
                options.tick > 0 && options.tick < 1 && options.warm >= 0 && options.seconds > 0 &&
                options.warm + options.seconds <= 600;
    if (!sane) wrong_usage();
}

/* Each stream takes a descriptor at either end. */
static void raise_descriptors(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < (rlim_t)options.clients * 2 + 20) {
        fprintf(stderr, "load: %d clients need %d descriptors, the limit is %llu (ulimit -Hn)\n", options.clients,
                options.clients * 2 + 20, (unsigned long long)limit.rlim_max);
        exit(1);
    }
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    raise_descriptors();
    alarm((unsigned)(options.warm + options.seconds) + 30); /* whatever happens, it ends */
    loop_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop_fd < 0) die("epoll");
    upstreams_listen();

    struct snapshot idle = take_snapshot(), from = idle;
    warm_until = idle.at + duration(options.warm);
    end_at = warm_until + duration(options.seconds);
    clients_prepare(idle.at);
    start_ticking();
    for (uint64_t now; (now = clock_now()) < end_at;) {
        if (!tally.measuring && now >= warm_until) {
            from = take_snapshot();
            tally.measuring = true;
        }
        dispatch(upstreams_rush() ? 0 : -1);
    }
    print_result(idle, from, take_snapshot());
    return 0;
}
