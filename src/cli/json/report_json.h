/*
 * Lines of typed values as one JSON text: how programs that cannot print JSON themselves hand over a report.
 *
 *     TYPE TAB PATH TAB VALUE NEWLINE
 *
 * TYPE     s string, i integer, b true or false, n null (no value), a empty array, o empty object (no value)
 * PATH     components separated by '/'; one of digits only is an index into an array, others are keys. A path
 *          may be empty for a and o: the whole report. Containers come into being with their first member.
 * VALUE    as text; of a string, \t \n \\ stand for tab, newline and backslash. A NUL or a byte that is not
 *          part of UTF-8 becomes '?', in paths too: a report with an odd byte beats none.
 *
 * No line gives "{}". Values keep the order of the lines.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

#define REPORT_JSON_MAX  (16U << 20) /* bytes of input; the caller does not read more */
#define REPORT_DEPTH_MAX 64          /* components of a path */

/*
 * Builds the JSON of len bytes of lines. A value that is set twice, an index that skips one, a path through a
 * value that is no container, and everything that is not as above is an error that names the line
 * (STATUS_FAILURE: the fault is in the program that wrote it). lines is changed in place. *ret_text is for
 * free(3). Returns 0, -EINVAL or -ENOMEM.
 */
int report_json_build(char *lines, size_t len, char **ret_text, struct err *e);
