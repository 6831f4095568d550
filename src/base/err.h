/* One error object: filled once where the failure happens, wrapped on the way up, printed once by main(). */
#pragma once

#include "base/exit_status.h"

#define ERR_TEXT_MAX 768 /* bytes, with the terminating zero; longer texts are cut */

struct err {
        enum exit_status status; /* what the process should exit with */
        char text[ERR_TEXT_MAX]; /* "what was being done, to what: why it failed; what to do next" */
};

#define ERR_INIT ((struct err){.status = STATUS_FAILURE})

/*
 * Records that a system call or an internal step failed: the formatted text followed by ": " and the meaning
 * of r (a negative errno). The status becomes STATUS_FAILURE. e may be NULL. Returns r.
 */
int err_set(struct err *e, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * Records that an input or the host is not as required, with the exit status that says whose fault it is.
 * No errno text is added. e may be NULL. Returns -EINVAL.
 */
int err_bad(struct err *e, enum exit_status status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "formatted text: " before what e already says, and keeps the status. e may be NULL. Returns r. */
int err_wrap(struct err *e, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Adds "; formatted text" (what to do next) after what e already says. e may be NULL. */
void err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Writes "prefix: text\n" to fd as exactly one line: bytes outside printable ASCII become '?', because parts
 * of the text can come from files, guests and other processes.
 */
void err_print(const struct err *e, int fd, const char *prefix);
