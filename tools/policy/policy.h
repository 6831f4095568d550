/*
 * A system-call policy: what the files say, before it becomes a BPF program.
 * The compiler is three steps that share only this: parse (parse.c, entry.c, symbols.c), emit (emit.c),
 * verify (verify.c); write.c prints the result.
 */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/err.h"

#define POLICY_RULES_MAX         512 /* entries of one role, with everything included */
#define POLICY_CONDITIONS_MAX    8   /* in one pair of brackets */
#define POLICY_CALL_MAX          32  /* bytes of a call's name, with the zero */
#define POLICY_TEXT_MAX          256 /* bytes of a condition list or a reason, with the zero */
#define POLICY_FILES_MAX         64  /* policy files and headers read for one role */
#define POLICY_PATH_MAX          512 /* bytes, with the zero */
#define POLICY_INCLUDE_DEPTH_MAX 8   /* files open at once */
#define POLICY_FILE_BYTES_MAX    65536
#define POLICY_SYMBOLS_MAX       1024 /* names from --defines headers */
#define POLICY_SYMBOL_MAX        64   /* bytes of a name, with the zero */
#define POLICY_ARGS              6    /* arguments of a Linux system call */

enum condition_op {
        CONDITION_EQ,
        CONDITION_NE,
        CONDITION_LE,
        CONDITION_GE,
        CONDITION_MASKED_EQ,
};

/* One comparison. Unsigned; on the low 32 bits of the argument unless wide. */
struct condition {
        unsigned int arg; /* 0..5 */
        bool wide;        /* all 64 bits */
        enum condition_op op;
        uint64_t value; /* fits 32 bits unless wide */
        uint64_t mask;  /* of CONDITION_MASKED_EQ; value has no bit outside it */
};

/* How often a role makes the call. Whoever compares policies with what programs do (tests/trace) goes by it. */
enum rule_mark {
        MARK_NONE,   /* in the life of any guest */
        MARK_VARIES, /* depends on the host, its kernel, or on which thread is first */
        MARK_ERROR,  /* only when something goes wrong */
};

/* One line: a call and the conditions that must all hold. Lines of the same call are alternatives. */
struct rule {
        int nr; /* x86_64 number */
        char call[POLICY_CALL_MAX];
        unsigned int condition_count; /* 0: any arguments */
        struct condition conditions[POLICY_CONDITIONS_MAX];
        char text[POLICY_TEXT_MAX]; /* the conditions as written, without brackets */
        enum rule_mark mark;
        char reason[POLICY_TEXT_MAX]; /* never empty, without the mark */
        unsigned int file;            /* index into policy.files */
        unsigned int line;            /* from 1 */
};

/* An integer as written: -1 has bits of all ones and is negative, UINT64_MAX has the same bits and is not. */
struct number {
        uint64_t bits;
        bool negative;
};

struct symbol {
        char name[POLICY_SYMBOL_MAX];
        struct number value;
};

/* Rules stand in the order of the files, which is the order in which the program tests a call's alternatives.
 */
struct policy {
        bool require_fd; /* the policy itself, not only a file it includes, says so */
        unsigned int rule_count;
        struct rule rules[POLICY_RULES_MAX];
        unsigned int symbol_count;
        struct symbol symbols[POLICY_SYMBOLS_MAX];
        unsigned int file_count;
        char files[POLICY_FILES_MAX][POLICY_PATH_MAX];
};

/* A classic BPF program. */
struct bpf_program {
        unsigned int len; /* instructions */
        struct sock_filter filter[BPF_MAXINSNS];
        const char *comments[BPF_MAXINSNS]; /* NULL, or the name of the call whose test starts here; borrowed */
};

/* An empty policy, or NULL without memory. Free with free(). */
struct policy *policy_new(void);

/*
 * Reads the `#define NAME INTEGER` lines of a header; every other line is ignored, so a name defined by an
 * expression is unknown. All headers come before policy_parse(). Errors: an unreadable or too large file, too
 * many names, a name already known with another value. Returns 0 or a negative errno; e says "file:line:
 * why".
 */
int policy_read_defines(struct policy *p, const char *path, struct err *e);

/*
 * Reads a policy file and what it includes; the format is in README.md. Errors have the form "file:line:
 * why". Returns 0 or a negative errno, after which p is good only for free().
 */
int policy_parse(struct policy *p, const char *path, struct err *e);

/*
 * Does the policy, by its own words, allow this call? Written apart from the code generator so that the one
 * can be tested against the other.
 */
bool policy_allows(const struct policy *p, const struct seccomp_data *d);

/* The rule that decides this call: the first that allows it. NULL when the call is killed. */
const struct rule *policy_match(const struct policy *p, const struct seccomp_data *d);

/* "error", "varies", or "" for no mark. */
const char *rule_mark_name(enum rule_mark mark);

/* Does one condition hold for the six arguments? */
bool condition_holds(const struct condition *c, const uint64_t args[POLICY_ARGS]);

/*
 * Makes the program of a policy that policy_parse() accepted, which has an entry at least. Fails with -E2BIG
 * when it would be longer than BPF_MAXINSNS; *ret is then undefined.
 */
int policy_emit(const struct policy *p, struct bpf_program *ret, struct err *e);

/*
 * Interprets the program on every case that decides something (see verify.c) and compares with what the
 * policy says. Returns 0, or -EINVAL when the program is wrong or an entry can never match.
 */
int policy_verify(const struct policy *p, const struct bpf_program *prog, struct err *e);

/*
 * Runs the program to see that it keeps what policies promise whatever their entries are: no ioctl passes with a
 * request that no entry names, on any descriptor; in a policy that says `require fd` no call that takes a descriptor
 * passes with one that no entry of that call names. policy_verify() compares with the entries; this knows nothing of
 * how they are compared. Returns 0 or -EINVAL.
 */
int policy_keep_promises(const struct policy *p, const struct bpf_program *prog, struct err *e);

/* Prints the program as a C file that defines `const struct jail_policy policy_<name>` (src/jail/policy.h).
 */
void policy_write_c(const struct bpf_program *prog, const char *name, FILE *f);

/* Prints what the policy allows, for people: counts, then each call with its conditions and reasons. */
void policy_write_list(const struct policy *p, const struct bpf_program *prog, const char *name, FILE *f);

/* Is rule i the first of its call? */
bool policy_rule_is_first(const struct policy *p, unsigned int i);

/* --- between the files of the parser --- */

/* Which arguments of this call are descriptors, as bits; 0 for none. */
unsigned int fd_arguments(const char *call);

/* The entry must say which descriptors its call takes. Returns 0 or -EINVAL. */
int fd_check(const struct rule *rule, struct err *e);

/* A value for each argument with which the entry's conditions hold. Returns 0, or -EINVAL when none is found. */
int rule_solve(const struct rule *rule, uint64_t args[POLICY_ARGS], struct err *e);

/* The value of a name the compiler knows by itself (constants.c). Returns 0 or -ENOENT. */
int constant_find(const char *name, struct number *ret);

/* The low half of the i-th of those values, whatever it is for; false past the last. */
bool constant_at(size_t i, uint32_t *ret_low);

/* The value of a constant or of a name from a header. Returns 0 or -ENOENT. */
int policy_symbol_find(const struct policy *p, const char *name, struct number *ret);

/* Notes a file that is being read. *ret is its index. Returns 0, or -E2BIG / -ENAMETOOLONG with e set. */
int policy_add_file(struct policy *p, const char *path, unsigned int *ret, struct err *e);

/*
 * Reads a whole text file, for the caller to free. Returns 0, -EFBIG beyond POLICY_FILE_BYTES_MAX, -EINVAL
 * with a zero byte inside, or another negative errno.
 */
int policy_read_text(const char *path, char **ret, struct err *e);

/* Cuts the next line off *cursor, which becomes NULL after the last one. Returns NULL when there is none. */
char *policy_next_line(char **cursor);

/* Is c a character of a C identifier? */
bool policy_name_char(char c);

/*
 * Parses an integer: decimal or 0x hex, an optional minus, no suffix. *ret_end is the first character after
 * it. Returns 0, -EINVAL (no digits) or -ERANGE (beyond 64 bits).
 */
int number_literal_parse(const char *text, struct number *ret, const char **ret_end);

/*
 * Parses one entry ("call [conditions] : reason") into *ret, whose file and line the caller fills in. text is
 * cut into pieces. Errors carry no position. Returns 0 or -EINVAL; *ret is undefined on failure.
 */
int policy_entry_parse(const struct policy *p, char *text, struct rule *ret, struct err *e);
