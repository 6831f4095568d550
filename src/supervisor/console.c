#include "supervisor/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define ESCAPE_KEY 0x1d /* Ctrl-] */

/* O_NONBLOCK belongs to the open file, which we share with the shell: a new open of the same terminal or pipe is ours.
 */
static int reopen_nonblocking(int fd)
{
        char path[32];
        struct stat st;

        if (fstat(fd, &st) < 0 || !(S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)))
                return -1;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void console_init(struct console *c)
{
        memset(c, 0, sizeof(*c));
        c->guest_fd = -1;
        c->budget_us = CONSOLE_CPU_BURST_US;
        c->reckoned_us = clock_now_us();
        c->used_us = clock_thread_cpu_us();
        terminal_init(&c->terminal);
        c->in_fd = STDIN_FILENO;
        c->own_out_fd = reopen_nonblocking(STDOUT_FILENO);
        c->out_fd = c->own_out_fd >= 0 ? c->own_out_fd : STDOUT_FILENO;
        /* A background process that reads its terminal is stopped: it has no input. */
        if (isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) != getpgrp())
                c->in_fd = -1;
}

int console_attach(struct console *c, int guest_fd, struct err *e)
{
        int r = terminal_enter_raw(&c->terminal);

        c->guest_fd = guest_fd;
        c->to_guest.start = c->to_guest.end = 0;
        return r < 0 ? err_set(e, r, "put the terminal into raw mode") : 0;
}

static size_t buffered(const struct console_buffer *b)
{
        return b->end - b->start;
}

/* The part of what was read that the guest gets; the escape is taken out. */
static size_t escape_filter(struct console *c, uint8_t *data, size_t len)
{
        size_t out = 0;

        for (size_t i = 0; i < len; i++) {
                if (c->escape) {
                        c->escape = false;
                        if (data[i] == 'q') {
                                c->leave = true;
                                return out;
                        }
                        if (data[i] != ESCAPE_KEY)
                                continue;
                } else if (data[i] == ESCAPE_KEY) {
                        c->escape = true;
                        continue;
                }
                data[out++] = data[i];
        }
        return out;
}

static void read_input(struct console *c)
{
        ssize_t n = read(c->in_fd, c->to_guest.data, sizeof(c->to_guest.data));

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n <= 0) {
                c->in_fd = -1; /* the end of the input is not the end of the guest */
                return;
        }
        c->to_guest.start = 0;
        c->to_guest.end = c->terminal.fd >= 0 ? escape_filter(c, c->to_guest.data, (size_t)n) : (size_t)n;
}

static void read_guest(struct console *c)
{
        ssize_t n = recv(c->guest_fd, c->to_out.data, sizeof(c->to_out.data), MSG_DONTWAIT);

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n <= 0) {
                fd_closep(&c->guest_fd);
                return;
        }
        c->to_out.start = 0;
        c->to_out.end = (size_t)n;
}

static void write_guest(struct console *c)
{
        ssize_t n = send(c->guest_fd, c->to_guest.data + c->to_guest.start, buffered(&c->to_guest),
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0)
                c->to_guest.start += (size_t)n;
        else if (n < 0 && errno != EINTR && errno != EAGAIN)
                c->to_guest.start = c->to_guest.end; /* the guest is gone; its input is too */
}

static void write_out(struct console *c)
{
        ssize_t n = write(c->out_fd, c->to_out.data + c->to_out.start, buffered(&c->to_out));

        if (n > 0)
                c->to_out.start += (size_t)n;
        else if (n < 0 && errno != EINTR && errno != EAGAIN) {
                /* Nobody reads any more (EPIPE), or the file is full: the guest goes on, its output is dropped. */
                c->out_fd = -1;
                c->to_out.start = c->to_out.end;
        }
}

/* Earns what the time since the last reckoning is worth and pays what this thread has used. Returns the milliseconds
 * until the budget is no longer overdrawn. */
static int budget_reckon(struct console *c)
{
        int64_t now = clock_now_us(), used = clock_thread_cpu_us();

        c->budget_us += (now - c->reckoned_us) * CONSOLE_CPU_PERCENT / 100 - (used - c->used_us);
        if (c->budget_us > CONSOLE_CPU_BURST_US)
                c->budget_us = CONSOLE_CPU_BURST_US;
        c->reckoned_us = now;
        c->used_us = used;
        return c->budget_us >= 0 ? 0 : (int)(-c->budget_us * 100 / CONSOLE_CPU_PERCENT / 1000) + 1;
}

int console_prepare(struct console *c, struct pollfd *p)
{
        int wait_ms = buffered(&c->to_out) == 0 ? budget_reckon(c) : 0;
        short events = 0;

        if (buffered(&c->to_out) == 0 && wait_ms == 0)
                events |= POLLIN;
        if (buffered(&c->to_guest) > 0)
                events |= POLLOUT;
        p[0] = (struct pollfd){.fd = events ? c->guest_fd : -1, .events = events};
        p[1] = (struct pollfd){.fd = buffered(&c->to_guest) == 0 && c->guest_fd >= 0 ? c->in_fd : -1, .events = POLLIN};
        p[2] = (struct pollfd){.fd = buffered(&c->to_out) > 0 ? c->out_fd : -1, .events = POLLOUT};
        return wait_ms > 0 ? wait_ms : -1;
}

void console_handle(struct console *c, const struct pollfd *p)
{
        if (p[0].fd >= 0 && (p[0].revents & (POLLIN | POLLHUP | POLLERR)) && buffered(&c->to_out) == 0) {
                read_guest(c);
                /* Our own descriptor never blocks: no need to ask first. */
                if (c->own_out_fd >= 0 && c->out_fd == c->own_out_fd && buffered(&c->to_out) > 0)
                        write_out(c);
        }
        if (p[1].fd >= 0 && p[1].revents)
                read_input(c);
        if (c->guest_fd >= 0 && buffered(&c->to_guest) > 0)
                write_guest(c);
        if (p[2].fd >= 0 && p[2].revents && c->out_fd >= 0 && buffered(&c->to_out) > 0)
                write_out(c);
        if (c->out_fd < 0)
                c->to_out.start = c->to_out.end;
}

void console_detach(struct console *c, int timeout_ms)
{
        int64_t end = clock_now_ms() + timeout_ms;

        c->to_guest.start = c->to_guest.end;
        while (c->guest_fd >= 0 || buffered(&c->to_out) > 0) {
                int64_t left = end - clock_now_ms();
                struct pollfd p[CONSOLE_POLLS];

                if (left <= 0)
                        break;
                c->budget_us = CONSOLE_CPU_BURST_US; /* the guest is dead: there is only so much left */
                (void)console_prepare(c, p);
                p[1].fd = -1;
                if (poll(p, CONSOLE_POLLS, (int)left) < 0 && errno != EINTR)
                        break;
                console_handle(c, p);
        }
        fd_closep(&c->guest_fd);
}

void console_fini(struct console *c)
{
        terminal_restore(&c->terminal);
        fd_closep(&c->guest_fd);
        fd_closep(&c->own_out_fd);
}
