/* A back end in this process, brought into any state by the messages that lead there, and what is sent to it by hand.
 */
#pragma once

#include "vu_world.h"

enum bench_state {
        BENCH_FRESH,
        BENCH_FEATURES, /* and protocol features, and the channel */
        BENCH_MEMORY,
        BENCH_RUNNING,
        BENCH_STOPPED,
        BENCH_STATES,
};

struct bench {
        struct vu_backend b;
        struct echo echo;
        struct driver *d;
        int front;   /* the front end's end */
        int channel; /* the same of the back end's own channel; -1: none yet */
};

/* Anything that can come over the wire. */
struct wire {
        struct vu_header head;
        uint8_t payload[512];
        uint32_t payload_bytes; /* sent; head.size_bytes is what is said */
        int fds[10];
        unsigned int fd_count;
        unsigned int fds_at; /* the byte that they come with */
};

#define SLACK_MS 3000 /* what a loaded machine or a sanitizer adds to a bounded wait */

/* The guest of all tests of a program, and cmocka's functions that make and end it. */
extern struct driver driver;
int world_open(void **state);
int world_close(void **state);

void bench_init(struct bench *x, struct driver *d, enum bench_state state);
void bench_fini(struct bench *x);

/* What a front end would rightly say in BENCH_STOPPED. Descriptors stay those of d and of the wire's maker:
 * wire_fini(). */
void wire_init(struct wire *w, const struct driver *d, uint32_t request, uint32_t flags);
void wire_fini(struct wire *w);

/* Sends the first len_bytes of w. Returns what sendmsg(2) says, 0 or a negative errno. */
int wire_send(int fd, const struct wire *w, uint32_t len_bytes);

/* Sends it and lets the back end handle it: what that returns. */
int bench_say(struct bench *x, const struct wire *w, struct err *e);

/* The answer that lies there. Returns false when there is none; fails when it is not one to that request. */
bool bench_answer(struct bench *x, uint32_t request, struct vu_message *ret);

/* Says it with NEED_REPLY, which must not end the connection. Returns the u64, 0 for what has an answer of its own. */
uint64_t bench_ask(struct bench *x, struct wire *w, struct vu_message *ret);

/* Holds at any time: queues run in device and back end alike, in memory that is there. */
void bench_check(struct bench *x);
