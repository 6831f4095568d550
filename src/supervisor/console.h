/*
 * The guest's console: bytes between the socket to the VMM and the operator's standard input and output, unchanged both
 * ways. When they are a terminal, Ctrl-] is an escape: Ctrl-] q leaves, Ctrl-] Ctrl-] sends one Ctrl-].
 * Nothing here blocks: a reader that does not read stops the guest's UART, not the supervisor. Neither does a guest
 * that floods its console keep the supervisor busy: see CONSOLE_CPU_PERCENT.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "supervisor/terminal.h"

#define CONSOLE_BUFFER \
        4096 /* bytes per direction; also what one write to a pipe may take without blocking (PIPE_BUF) */
#define CONSOLE_POLLS 3

/*
 * What the supervisor, which is outside the guest's cgroup, may spend: in the long run this share of one CPU; at once
 * the burst. Beyond that the guest's output waits in its socket, and then in its UART.
 */
#define CONSOLE_CPU_PERCENT  5
#define CONSOLE_CPU_BURST_US 50000

struct console_buffer {
        uint8_t data[CONSOLE_BUFFER];
        size_t start, end;
};

struct console {
        struct terminal terminal;
        int guest_fd;      /* -1: no guest at the moment */
        int in_fd, out_fd; /* -1: at its end */
        int own_out_fd;    /* a reopened, non-blocking standard output; -1: none */
        struct console_buffer to_guest, to_out;
        /* Processor time left to spend, and when that was reckoned: by the clock, and in time this thread has used. */
        int64_t budget_us, reckoned_us, used_us;
        bool escape; /* Ctrl-] seen */
        bool leave;  /* Ctrl-] q seen */
};

/* Looks at standard input and output; the terminal stays as it is until the first guest is attached. */
void console_init(struct console *c);

/* Connects a guest's console socket (non-blocking, owned by the console from here on). */
int console_attach(struct console *c, int guest_fd, struct err *e);

/* Takes what the dead guest still had to say, waiting for the reader at most timeout_ms; then disconnects. */
void console_detach(struct console *c, int timeout_ms);

/* Fills CONSOLE_POLLS entries for poll(2); unused ones get fd -1. Returns how many milliseconds it may wait at most, -1
 * when there is no limit. */
int console_prepare(struct console *c, struct pollfd *p);

/* Moves bytes according to what poll(2) said. Sets c->leave on the escape. */
void console_handle(struct console *c, const struct pollfd *p);

/* Restores the terminal and closes what is the console's own. Can be called twice. */
void console_fini(struct console *c);
