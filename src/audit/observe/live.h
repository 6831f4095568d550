/* Between the files of the live back end: one handler per verb, and what they share. */
#pragma once

#include "audit/observe/observe.h"

struct live;

/* Answers "VERB subject". Fills ret->bytes/len, or returns a negative errno. */
typedef int live_handler(struct live *l, const char *subject, struct answer *ret);

struct live_verb {
        const char *verb;
        live_handler *answer;
};

/* Each ends with an empty entry. */
extern const struct live_verb live_file_verbs[], live_process_verbs[], live_kvm_verbs[], live_unix_verbs[],
        live_program_verbs[], live_elf_verbs[];
extern const struct live_verb live_link_verbs[], live_listener_verbs[], live_nft_verbs[], live_namespace_verbs[];
extern const struct live_verb live_kernel_verbs[], live_dm_verbs[], live_kernel_log_verbs[];

struct arena *live_arena(struct live *l);

/*
 * A path split into a directory descriptor and the rest: /proc/PID/... is opened once and kept, so that a pid that is
 * used again answers -ESRCH. *ret_rest points into path; "." when nothing is left. Returns 0 or a negative errno; the
 * descriptor stays the callee's.
 */
int live_resolve(struct live *l, const char *path, int *ret_dirfd, const char **ret_rest);

/* Opens a regular file or directory for reading; anything else is -ENXIO, since opening can wait or have effects. What
 * is below /proc/PID/root is reached without following links. Returns the descriptor, which is the caller's, or a
 * negative errno. */
int live_open_read(struct live *l, const char *path);

/* The kept descriptor of /proc/PID, opened when it is not yet. */
int live_process_dir(struct live *l, pid_t pid);

/* 0 when the process of live_process_dir(pid) has not ended: what was just learned by number is about it. */
int live_process_still(struct live *l, pid_t pid);

/* A netlink socket of that protocol in the network namespace of the process; this process stays in its own. Returns the
 * descriptor, which is the caller's, or a negative errno. */
int live_netlink_open(struct live *l, pid_t pid, int protocol);

/* Sets the answer to a formatted text. Returns 0. */
int live_answer(struct live *l, struct answer *ret, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* An answer of lines, one added after the other; it fails with -EFBIG past OBSERVE_FILE_MAX. */
struct live_lines {
        struct live *l;
        char *text;
        size_t len, room;
        int error;
};

/* Adds what the format prints, which ends with a newline. */
void live_line(struct live_lines *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Makes the lines the answer. Returns error, or that of the lines. */
int live_lines_answer(struct live_lines *out, int error, struct answer *ret);
