/*
 * Text of strangers. Names, command lines and paths of guests are hostile bytes: before they enter a finding they
 * become printable UTF-8 here, once, so that no report has to think of terminals, newlines or broken encodings again.
 * (HTML and JSON still quote their own special characters.)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "audit/arena.h"

#define TEXT_NAME_MAX     96  /* bytes of a guest's or a thread's name in reports; longer ones are cut */
#define TEXT_EVIDENCE_MAX 512 /* bytes of raw evidence per item */

/*
 * A printable copy of len bytes: control characters, bytes that are not part of UTF-8, bidirectional controls and other
 * invisible formatting characters become \xNN (\n, \t and \\ keep their short form). More than max bytes of result are
 * cut, with "..." at the end. newlines: keep '\n' (for evidence of several lines).
 */
char *text_printable(struct arena *a, const void *bytes, size_t len, size_t max, bool newlines);

/*
 * The same for a text that was made printable before, and comes out unchanged then: backslashes stay. The last line of
 * defence of every report.
 */
char *text_harmless(struct arena *a, const void *bytes, size_t len, bool newlines);

/* Columns that a printable text takes on a terminal. */
unsigned int text_columns(const char *text);

/* Bytes at the start of text that fit into that many columns: whole characters, and at least one. */
size_t text_fitting(const char *text, unsigned int columns);

/* A text that grows; items ends with a zero once something was appended. */
struct text_buffer {
        char *items;
        size_t count, room;
};

void text_append(struct arena *a, struct text_buffer *b, const char *bytes, size_t len);
void text_appendf(struct arena *a, struct text_buffer *b, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * Reversible, one line: backslash, control characters and bytes from 0x7f up become \n, \t, \\ or \xNN. For file names
 * in lists and for fixtures.
 */
char *text_escape(struct arena *a, const void *bytes, size_t len);

/* Undoes text_escape(); *ret_len is the number of bytes (a zero follows). Returns NULL when text is malformed. */
char *text_unescape(struct arena *a, const char *text, size_t len, size_t *ret_len);

/* The next line of *rest, terminated in place (its newline becomes 0), or NULL at the end. */
char *text_next_line(char **rest);

/*
 * The value of "Name:<blanks>value" in text, up to the end of its line, as a copy; NULL when there is no such line.
 * name includes the colon, if the file has one.
 */
char *text_field(struct arena *a, const char *text, const char *name);

bool text_has_prefix(const char *text, const char *prefix);
bool text_has_suffix(const char *text, const char *suffix);
