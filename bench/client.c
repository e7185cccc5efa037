/* The clients: each asks, reads its stream to the end, looks at every stamp in it, and asks again. */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 4096
#define RECEIVE_BUFFER_BYTES (64 << 10) /* of clients that will stop reading */

#define PATIENCE (SECOND / 10)          /* before a client tries again what has failed */

/*
 * AWAY ─start_at─► CONNECTING ─► ASKING ─request sent─► HEAD ─► SIZE ⇄ PIECE … TRAILER ─► ASKING, or AWAY
 *                                                         └───► PIECE ─► the same, for a body with a length
 */
enum state { AWAY, CONNECTING, ASKING, HEAD, SIZE, PIECE, TRAILER };

struct client {
    struct endpoint endpoint;
    enum state state;
    uint64_t start_at;
    long first_tokens;  /* of its first stream; 0: as many as of any other */
    size_t request_sent;

    struct stream stream; /* a copy: the table may forget it before we do */
    long seen;            /* tokens of this stream */
    uint64_t last_stamp;

    char head[HEAD_BYTES + 1];
    size_t head_size;
    int status;
    bool chunked;
    long left;          /* bytes of this chunk, or of the whole body */
    int line_size;      /* of the chunk's own line so far */

    int digits;         /* of the stamp that is being read; -1: none is */
    uint64_t stamp;
    uint64_t waiting;   /* latency of the stamp that may turn out to be the last of its event; 0: none */
};

static struct client *clients;
static int away;

/* ---- the request, made ready once ---------------------------------------------------------------- */

static char *request;
static size_t request_size;
static char *id_in_request;

#define BODY_START                                                                                       \
    "{\"model\":\"gpt-4o\",\"user\":\"stream-0000000000000000\",\"stream\":true,\"max_tokens\":4096,"     \
    "\"stream_options\":{\"include_usage\":true},"                                                       \
    "\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"},"                  \
    "{\"role\":\"user\",\"content\":\"Write a short story about a robot who learns to paint. "
#define BODY_END "\"}]}"

static void prepare_request(void) {
    size_t bare = strlen(BODY_START BODY_END);
    size_t padding = options.body > bare ? options.body - bare : 0;
    request = malloc(padding + bare + 1000);
    if (request == NULL) die("malloc");
    char *end = request + sprintf(request,
                                  "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                                  "Accept: text/event-stream\r\nAuthorization: Bearer sk-bench-0123456789\r\n"
                                  "%sContent-Length: %zu\r\n\r\n" BODY_START,
                                  options.path, options.proxy_port,
                                  options.keepalive ? "" : "Connection: close\r\n", bare + padding);
    for (size_t i = 0; i < padding; i++) *end++ = "All work and no play makes a dull robot. "[i % 41];
    memcpy(end, BODY_END, strlen(BODY_END));
    request_size = (size_t)(end - request) + strlen(BODY_END);
    id_in_request = strstr(request, "stream-0") + strlen("stream-");
}

/* ---- coming and going ---------------------------------------------------------------------------- */

static void on_client_events(struct endpoint *, uint32_t events);

static void leave(struct client *c, uint64_t back_at) {
    close(c->endpoint.fd);
    c->state = AWAY;
    c->start_at = back_at;
    away++;
}

static void connect_client(struct client *c) {
    struct sockaddr_in address = loopback(options.proxy_port);
    int receive_buffer = RECEIVE_BUFFER_BYTES;
    c->endpoint = (struct endpoint){loopback_socket(), on_client_events};
    if (options.stall)
        setsockopt(c->endpoint.fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    c->state = CONNECTING;
    away--;
    if (connect(c->endpoint.fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        die("connect to the proxy");
    watch(&c->endpoint, EPOLLIN | EPOLLOUT);
}

/* Send the request, or the rest of it; false: the connection was lost. */
static bool send_request(struct client *c) {
    if (c->request_sent == 0) write_hex(id_in_request, c->stream.id);
    /* The id stands in the first bytes, so only they are this client's own. */
    while (c->request_sent < request_size) {
        ssize_t sent = send(c->endpoint.fd, request + c->request_sent, request_size - c->request_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            watch_again(&c->endpoint, EPOLLIN | EPOLLOUT);
            return true;
        }
        if (sent < 0) return false;
        c->request_sent += (size_t)sent;
    }
    c->state = HEAD;
    watch_again(&c->endpoint, EPOLLIN);
    return true;
}

static bool ask(struct client *c) {
    struct stream *stream = new_stream();
    stream->tokens = c->first_tokens > 0 ? c->first_tokens : options.tokens;
    stream->asked_at = clock_now();
    c->first_tokens = 0;
    c->stream = *stream;
    c->state = ASKING;
    c->request_sent = c->head_size = 0;
    c->seen = 0;
    c->last_stamp = c->waiting = 0;
    c->digits = -1;
    return send_request(c);
}

/* ---- stamps -------------------------------------------------------------------------------------- */

static void see_first(struct client *c, uint64_t now) {
    struct stream *stream = find_stream(c->stream.id);
    if (!tally.measuring || stream == NULL || stream->arrived_at == 0) return;
    /* On the way to the upstream, and back: what the upstream itself took is none of the proxy's. */
    record(&tally.first_token, (stream->arrived_at - stream->asked_at) + (now - c->stamp));
}

static void see_token(struct client *c, uint64_t now) {
    if (c->stamp <= c->last_stamp) tally.duplicated++;
    c->last_stamp = c->stamp;
    if (c->seen++ == 0) see_first(c, now);
    if (!tally.measuring) return;
    tally.seen++;
    c->waiting = now - c->stamp + 1;
    record(&tally.latency, now - c->stamp);
}

/* Tokens that were joined stand side by side in one text; whatever else follows, the event ends here. */
static void see_last(struct client *c, char next) {
    if (next != ' ') {
        tally.events++;
        record(&tally.last_latency, c->waiting - 1);
    }
    c->waiting = 0;
}

/* Look for stamps: a @ and sixteen digits, wherever the format has put them. */
static void scan(struct client *c, const char *bytes, size_t size, uint64_t now) {
    const char *end = bytes + size;
    for (const char *at = bytes; at < end; at++) {
        if (c->waiting != 0) see_last(c, *at);
        if (c->digits < 0) {
            at = memchr(at, '@', (size_t)(end - at));
            if (at == NULL) return;
            c->digits = 0;
            c->stamp = 0;
            continue;
        }
        int digit = hex_digit(*at);
        if (digit < 0) {
            c->digits = *at == '@' ? 0 : -1;
            c->stamp = 0;
            continue;
        }
        c->stamp = c->stamp << 4 | (uint64_t)digit;
        if (++c->digits == STAMP_DIGITS) {
            c->digits = -1;
            see_token(c, now);
        }
    }
}

/* ---- answers ------------------------------------------------------------------------------------- */

/* Read the head; returns how many of the bytes were part of it. */
static size_t read_head(struct client *c, const char *bytes, size_t size) {
    size_t before = c->head_size, taken = size < HEAD_BYTES - before ? size : HEAD_BYTES - before;
    memcpy(c->head + before, bytes, taken);
    c->head_size += taken;
    c->head[c->head_size] = '\0';
    char *end = strstr(c->head, "\r\n\r\n");
    if (end == NULL) return size;
    *end = '\0';
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->status = atoi(c->head + strlen("HTTP/1.1 "));
    c->chunked = strcasestr(c->head, "\r\ntransfer-encoding: chunked") != NULL;
    c->left = length != NULL && !c->chunked ? atol(length + strlen("\r\ncontent-length:")) : 0;
    c->line_size = 0;
    c->state = c->chunked ? SIZE : PIECE;
    return (size_t)(end - c->head) + 4 - before;
}

/* Read the line before a chunk: its size in hexadecimal; the line break of the chunk before comes first. */
static void read_size(struct client *c, char next) {
    int digit = hex_digit((char)(next | 0x20));
    if (digit >= 0) {
        c->left = c->left * 16 + digit;
        c->line_size++;
    } else if (next == '\n' && c->line_size > 0) {
        c->state = c->left > 0 ? PIECE : TRAILER;
        c->line_size = 0;
    }
}

/* Take bytes of the answer; true: it is complete. */
static bool read_answer(struct client *c, const char *bytes, size_t size, uint64_t now) {
    while (size > 0) {
        size_t taken = 1;
        switch (c->state) {
        case HEAD:
            taken = read_head(c, bytes, size);
            break;
        case SIZE:
            read_size(c, *bytes);
            break;
        case TRAILER:
            if (*bytes == '\n') return true; /* nobody sends trailers here */
            break;
        default:
            taken = size > (size_t)c->left ? (size_t)c->left : size;
            scan(c, bytes, taken, now);
            c->left -= (long)taken;
            if (c->left == 0 && c->chunked) c->state = SIZE;
        }
        bytes += taken;
        size -= taken;
        if (c->state == PIECE && c->left == 0) return true;
    }
    return false;
}

static void count_stream(struct client *c) {
    if (c->status != 200) {
        tally.broken++;
        return;
    }
    if (c->seen < c->stream.tokens) tally.lost += (uint64_t)(c->stream.tokens - c->seen);
    if (tally.measuring) tally.streams++;
}

/* Go on after an answer. */
static void next_stream(struct client *c) {
    if (c->status != 200) {
        leave(c, clock_now() + PATIENCE);
    } else if (!options.keepalive) {
        leave(c, 0);
        connect_client(c);
    } else if (!ask(c)) {
        leave(c, 0);
    }
}

/* The proxy has closed the connection, or it failed. */
static void on_lost(struct client *c) {
    tally.broken++;
    leave(c, clock_now() + PATIENCE);
}

static void on_connected(struct client *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->endpoint.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0 || !ask(c)) {
        tally.refused++;
        leave(c, clock_now() + PATIENCE);
    }
}

static void on_client_events(struct endpoint *endpoint, uint32_t events) {
    static char bytes[256 << 10];
    struct client *c = (struct client *)endpoint;
    if (c->state == CONNECTING) {
        on_connected(c);
        return;
    }
    if (c->state == ASKING && (events & EPOLLOUT) && !send_request(c)) {
        on_lost(c);
        return;
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t size = recv(c->endpoint.fd, bytes, sizeof bytes, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
        on_lost(c);
        return;
    }
    if (tally.measuring) {
        tally.reads++;
        tally.bytes += (uint64_t)size;
    }
    if (read_answer(c, bytes, (size_t)size, clock_now())) {
        count_stream(c);
        next_stream(c);
    } else if (options.stall && c->seen > 0) {
        watch_again(&c->endpoint, 0);
        tally.stalled++;
    }
}

/* ---- what time brings ---------------------------------------------------------------------------- */

void clients_prepare(uint64_t now) {
    prepare_request();
    clients = calloc((size_t)options.clients, sizeof *clients);
    if (clients == NULL) die("calloc");
    away = options.clients;
    /* Clients come during the first half of the warm-up. Steps of the golden ratio spread evenly what must not
       coincide: when their tokens come within the period, and when their first streams end. */
    double ramp = options.warm * 0.5, period = options.rate > 0 ? 1 / options.rate : 0, spread = 0;
    for (int i = 0; i < options.clients; i++) {
        double wait = ramp * i / options.clients + period * spread;
        clients[i].start_at = now + (uint64_t)(wait * (double)SECOND);
        if (options.rate > 0 && options.tokens > 0) clients[i].first_tokens = 1 + (long)(spread * options.tokens);
        spread += 0.6180339887;
        spread -= spread >= 1;
    }
}

void clients_tick(uint64_t now) {
    if (away == 0) return;
    for (int i = 0; i < options.clients; i++)
        if (clients[i].state == AWAY && clients[i].start_at <= now) connect_client(&clients[i]);
}

void clients_cancel(uint64_t now) {
    static uint64_t due;
    static int next;
    if (now < due) return;
    due = now + (uint64_t)(options.cancel_every * (double)SECOND);
    for (int tried = 0; tried < options.clients; tried++) {
        struct client *c = &clients[next++ % options.clients];
        struct stream *stream = find_stream(c->stream.id);
        if (c->state < HEAD || c->seen == 0 || stream == NULL) continue;
        stream->left_at = clock_now();
        tally.cancelled++;
        leave(c, 0);
        return;
    }
}

int clients_unanswered(uint64_t now) {
    uint64_t patience = SECOND + (uint64_t)(options.delay * (double)SECOND);
    int unanswered = 0;
    for (int i = 0; i < options.clients; i++) {
        struct client *c = &clients[i];
        unanswered += c->state >= ASKING && c->seen == 0 && c->stream.asked_at + patience < now;
    }
    return unanswered;
}
