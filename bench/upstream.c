/* The LLM: takes requests, answers each with a stream of tokens, one send() a token as a model server does. */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of a request, only so much is looked at; the rest is counted. */
#define IN_BYTES 4096
/* What a client that stopped reading can make the kernel keep on our side. */
#define SEND_BUFFER_BYTES (64 << 10)

struct upstream {
    struct endpoint endpoint;
    uint64_t due;   /* when the next token is to leave; NEVER between streams */
    bool blocked;   /* the proxy takes no more for now */
    int place;      /* in the list of all */
    long sent;      /* tokens of this stream */
    long tokens;    /* how many it has; 0: it has no end */
    uint64_t id;    /* of the stream; 0 if the request did not say it */

    char in[IN_BYTES + 1]; /* the head of the request and the beginning of its body */
    size_t in_size;
    bool has_head, chunked;
    long body_left;    /* bytes, unless chunked */
    char body_end[5];  /* the latest bytes of a chunked body */

    size_t out_size, out_sent;
    char out[]; /* room for an opening, or for a token and an ending */
};

static struct upstream **all;
static int count, capacity;

/* ---- what is sent, made ready once --------------------------------------------------------------- */

struct piece {
    char *bytes;
    size_t size;
    size_t stamp_at;
};

static struct piece opening, token, ending;

/* Marks the place of the stamp in a token's text. */
#define STAMP "@0000000000000000"

#define OPENAI_CHUNK(choices, rest)                                                             \
    "data: {\"id\":\"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012\",\"object\":\"chat.completion.chunk\"," \
    "\"created\":1763800000,\"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\","      \
    "\"system_fingerprint\":\"fp_0123456789\",\"choices\":[" choices "]" rest "}\n\n"
#define OPENAI_CHOICE(delta, finish) \
    "{\"index\":0,\"delta\":{" delta "},\"logprobs\":null,\"finish_reason\":" finish "}"
#define ANTHROPIC_EVENT(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"" rest "}\n\n"
#define OLLAMA_LINE(text, rest)                                                  \
    "{\"model\":\"llama3.2\",\"created_at\":\"2025-11-22T10:00:00.000000Z\"," \
    "\"message\":{\"role\":\"assistant\",\"content\":\"" text "\"}," rest "}\n"

static const struct {
    const char *content_type, *opening, *token, *ending;
} answers[] = {
    [OPENAI] =
        {"text/event-stream",
         OPENAI_CHUNK(OPENAI_CHOICE("\"role\":\"assistant\",\"content\":\"\",\"refusal\":null", "null"), ""),
         OPENAI_CHUNK(OPENAI_CHOICE("\"content\":\" " STAMP "\"", "null"), ""),
         OPENAI_CHUNK(OPENAI_CHOICE("", "\"stop\""), "")
         OPENAI_CHUNK("", ",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":30}")
         "data: [DONE]\n\n"},
    [ANTHROPIC] =
        {"text/event-stream",
         ANTHROPIC_EVENT("message_start",
             ",\"message\":{\"id\":\"msg_01AbCdEfGhIjKlMnOpQrStUv\",\"type\":\"message\",\"role\":\"assistant\","
             "\"content\":[],\"model\":\"claude-sonnet-4-5\",\"stop_reason\":null,\"stop_sequence\":null,"
             "\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}")
         ANTHROPIC_EVENT("content_block_start",
             ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}"),
         ANTHROPIC_EVENT("content_block_delta",
             ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" " STAMP "\"}"),
         ANTHROPIC_EVENT("content_block_stop", ",\"index\":0")
         ANTHROPIC_EVENT("message_delta",
             ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":20}")
         ANTHROPIC_EVENT("message_stop", "")},
    [OLLAMA] =
        {"application/x-ndjson",
         "",
         OLLAMA_LINE(" " STAMP, "\"done\":false"),
         OLLAMA_LINE("", "\"done\":true,\"done_reason\":\"stop\",\"total_duration\":1,"
                         "\"prompt_eval_count\":10,\"eval_count\":20")},
};

static void add(struct piece *piece, const char *bytes, size_t size) {
    piece->bytes = realloc(piece->bytes, piece->size + size);
    if (piece->bytes == NULL) die("realloc");
    memcpy(piece->bytes + piece->size, bytes, size);
    piece->size += size;
}

/* Add text as one HTTP chunk, with padding before the place given. */
static void add_padded_chunk(struct piece *piece, const char *text, size_t padding, size_t place) {
    char size[20];
    add(piece, size, (size_t)sprintf(size, "%zx\r\n", strlen(text) + padding));
    add(piece, text, place);
    for (size_t i = 0; i < padding; i++) add(piece, ".", 1);
    add(piece, text + place, strlen(text) - place);
    add(piece, "\r\n", 2);
}

static void add_chunk(struct piece *piece, const char *text) {
    if (*text != '\0') add_padded_chunk(piece, text, 0, 0); /* an empty chunk would be the end */
}

static void prepare_pieces(void) {
    char head[200];
    int size = sprintf(head,
                       "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nCache-Control: no-cache\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n",
                       answers[options.dialect].content_type);
    add(&opening, head, (size_t)size);
    add_chunk(&opening, answers[options.dialect].opening);
    const char *text = answers[options.dialect].token;
    add_padded_chunk(&token, text, options.padding, (size_t)(strstr(text, STAMP) - text));
    char *stamp = memmem(token.bytes, token.size, STAMP, strlen(STAMP));
    token.stamp_at = (size_t)(stamp - token.bytes) + 1;
    add_chunk(&ending, answers[options.dialect].ending);
    add(&ending, "0\r\n\r\n", 5);
}

/* ---- sending ------------------------------------------------------------------------------------- */

/* Close a connection; if its client had left on purpose, this is the moment its leaving got here. */
static void hang_up(struct upstream *u) {
    struct stream *stream = find_stream(u->id);
    if (u->due != NEVER && stream != NULL && stream->left_at != 0)
        record(&tally.cancel, clock_now() - stream->left_at);
    close(u->endpoint.fd);
    all[u->place] = all[--count];
    all[u->place]->place = u->place;
    free(u);
}

/* Send what is in `out`; false: the connection was lost, and u with it. */
static bool flush(struct upstream *u) {
    while (u->out_sent < u->out_size) {
        ssize_t sent = send(u->endpoint.fd, u->out + u->out_sent, u->out_size - u->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            if (!u->blocked) watch_again(&u->endpoint, EPOLLIN | EPOLLOUT);
            u->blocked = true;
            return true;
        }
        if (sent < 0) {
            hang_up(u);
            return false;
        }
        u->out_sent += (size_t)sent;
    }
    u->out_sent = u->out_size = 0;
    if (u->blocked) watch_again(&u->endpoint, EPOLLIN);
    u->blocked = false;
    return true;
}

static void put(struct upstream *u, const struct piece *piece) {
    memcpy(u->out + u->out_size, piece->bytes, piece->size);
    u->out_size += piece->size;
}

/* Send the stream's next token, or its ending; false: the connection was lost, and u with it. */
static bool advance(struct upstream *u) {
    if (u->tokens != 0 && u->sent == u->tokens) {
        put(u, &ending);
        u->due = NEVER;
        return flush(u);
    }
    size_t begin = u->out_size;
    put(u, &token);
    write_hex(u->out + begin + token.stamp_at, clock_now());
    u->sent++;
    if (tally.measuring) tally.sent++;
    return flush(u);
}

void upstreams_tick(uint64_t now) {
    if (options.rate <= 0) return;
    uint64_t period = (uint64_t)((double)SECOND / options.rate);
    /* Backwards: one that is lost is replaced by the last, which has been looked at already. */
    for (int i = count - 1; i >= 0; i--) {
        struct upstream *u = all[i];
        while (u->due <= now && !u->blocked) {
            if (tally.measuring) record(&tally.late, now - u->due);
            u->due += period;
            if (!advance(u)) break;
        }
    }
}

bool upstreams_rush(void) {
    bool any = false;
    if (options.rate > 0) return false;
    for (int i = count - 1; i >= 0; i--) {
        struct upstream *u = all[i];
        if (u->due > clock_now()) continue;
        bool alive = true;
        for (int burst = 0; burst < 8 && alive && !u->blocked && u->due != NEVER; burst++) alive = advance(u);
        any |= alive && !u->blocked && u->due != NEVER;
    }
    return any;
}

/* ---- requests ------------------------------------------------------------------------------------ */

/* Answer the request that has been read; false: the connection was lost, and u with it. */
static bool answer(struct upstream *u) {
    uint64_t now = clock_now();
    char *mark = strstr(u->in, "stream-");
    u->id = mark == NULL ? 0 : strtoull(mark + strlen("stream-"), NULL, 16);
    struct stream *stream = find_stream(u->id);
    u->tokens = stream != NULL ? stream->tokens : options.tokens;
    if (stream != NULL) {
        tally.repeated += stream->arrived_at != 0;
        stream->arrived_at = now;
    }
    u->in_size = 0;
    u->has_head = false;
    u->sent = 0;
    u->due = now + (uint64_t)(options.delay * (double)SECOND);
    put(u, &opening);
    return flush(u);
}

static void read_head(struct upstream *u, const char *end) {
    const char *length = strcasestr(u->in, "\r\ncontent-length:");
    const char *encoding = strcasestr(u->in, "\r\ntransfer-encoding:");
    u->has_head = true;
    u->chunked = encoding != NULL && encoding < end;
    u->body_left = length != NULL && length < end ? atol(length + strlen("\r\ncontent-length:")) : 0;
    memset(u->body_end, 0, sizeof u->body_end);
}

/* Count bytes of the body; true: it is complete. */
static bool read_body(struct upstream *u, const char *bytes, size_t size) {
    if (!u->chunked) return (u->body_left -= (long)size) <= 0;
    size_t kept = sizeof u->body_end;
    for (size_t i = size > kept ? size - kept : 0; i < size; i++) {
        memmove(u->body_end, u->body_end + 1, kept - 1);
        u->body_end[kept - 1] = bytes[i];
    }
    return memcmp(u->body_end, "0\r\n\r\n", kept) == 0;
}

/* Take the next bytes of a request; true: it is complete. */
static bool read_request(struct upstream *u, const char *bytes, size_t size) {
    size_t before = u->in_size, room = IN_BYTES - u->in_size, looked_at = size < room ? size : room;
    memcpy(u->in + before, bytes, looked_at);
    u->in_size += looked_at;
    u->in[u->in_size] = '\0';
    if (u->has_head) return read_body(u, bytes, size);
    char *end = strstr(u->in, "\r\n\r\n");
    if (end == NULL) return false;
    read_head(u, end);
    size_t in_head = (size_t)(end - u->in) + 4 - before;
    return read_body(u, bytes + in_head, size - in_head);
}

static void on_upstream_events(struct endpoint *endpoint, uint32_t events) {
    static char bytes[64 << 10];
    struct upstream *u = (struct upstream *)endpoint;
    if ((events & EPOLLOUT) && !flush(u)) return;
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t size = recv(u->endpoint.fd, bytes, sizeof bytes, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
        hang_up(u);
        return;
    }
    if (read_request(u, bytes, (size_t)size)) answer(u);
}

/* ---- listening ----------------------------------------------------------------------------------- */

static void welcome(int fd) {
    struct upstream *u = calloc(1, sizeof *u + opening.size + token.size + ending.size);
    if (u == NULL) die("calloc");
    u->endpoint = (struct endpoint){fd, on_upstream_events};
    u->due = NEVER;
    if (count == capacity) {
        capacity = capacity * 2 + 64;
        all = realloc(all, (size_t)capacity * sizeof(struct upstream *));
        if (all == NULL) die("realloc");
    }
    u->place = count;
    all[count++] = u;
    watch(&u->endpoint, EPOLLIN);
}

static void on_listener_events(struct endpoint *listener, uint32_t events) {
    (void)events;
    for (int fd; (fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) welcome(fd);
}

void upstreams_listen(void) {
    static struct endpoint listener = {.on_events = on_listener_events};
    struct sockaddr_in address = loopback(options.upstream_port);
    int one = 1, send_buffer = SEND_BUFFER_BYTES;
    prepare_pieces();
    listener.fd = loopback_socket();
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    /* What is accepted inherits it. */
    if (options.stall) setsockopt(listener.fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    if (bind(listener.fd, (struct sockaddr *)&address, sizeof address) != 0) die("bind the upstream's port");
    if (listen(listener.fd, 4096) != 0) die("listen");
    watch(&listener, EPOLLIN);
}
