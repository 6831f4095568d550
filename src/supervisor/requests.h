/*
 * Requests of the operator's commands (spec/request.h), while the guest runs: one after the other, each with a
 * deadline. Who connects is the guest's owner; what comes is bounded and checked all the same, and never waited for.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define REQUESTS_POLLS      2
#define REQUESTS_TIMEOUT_MS 10000 /* from the connection to the answer */

struct devices;
struct device;

struct requests {
        int listen_fd; /* -1: this guest takes none */
        int client_fd; /* -1: nobody is there */
        int64_t deadline_ms;
        const struct device *awaited; /* the device whose answer the client waits for; NULL: nothing asked yet */
};

#define REQUESTS_INIT ((struct requests){.listen_fd = -1, .client_fd = -1})

/* Opens the socket in the guest's directory. Returns 0 or a negative errno. */
int requests_open(struct requests *q, int guest_dir_fd, struct err *e);
void requests_close(struct requests *q);

/* Fills p, REQUESTS_POLLS entries; returns milliseconds until the deadline, or -1. */
int requests_prepare(const struct requests *q, struct pollfd *p, int64_t now_ms);

/* Handles what poll(2) has said. */
void requests_handle(struct requests *q, const struct pollfd *p, struct devices *d);

/* The device has answered: result is 0 or a negative errno. */
void requests_answered(struct requests *q, const struct device *dv, int result);
