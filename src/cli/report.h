/*
 * A report for programs: typed lines in memory (json/report_json.h has their format), printed as JSON by the
 * helper. Memory that runs short is remembered and told once, by report_print().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

struct report {
        FILE *stream;
        char *text;
        size_t len_bytes;
        char prefix[32]; /* of every path */
};

/* Starts an empty report, which prints as {}. Returns 0 or -ENOMEM. */
int report_open(struct report *ret, struct err *e);
void report_close(struct report *r);

/*
 * Each adds one value at the path that path_fmt and what follows give: components separated by '/', numbers
 * being indices. Text may hold any bytes.
 */
void report_text(struct report *r, const char *value, const char *path_fmt, ...) __attribute__((format(printf, 3, 4)));
void report_integer(struct report *r, int64_t value, const char *path_fmt, ...) __attribute__((format(printf, 3, 4)));
void report_boolean(struct report *r, bool value, const char *path_fmt, ...) __attribute__((format(printf, 3, 4)));
void report_null(struct report *r, const char *path_fmt, ...) __attribute__((format(printf, 2, 3)));
void report_array(struct report *r, const char *path_fmt, ...) __attribute__((format(printf, 2, 3)));

/* What is added from now on is below this path, which ends in '/' ("": below none). */
void report_under(struct report *r, const char *path_fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints it as JSON on standard output and closes it. Returns 0 or a negative errno. */
int report_print(struct report *r, struct err *e);
