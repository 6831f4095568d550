/* jansson as the rest of the code likes it: errors as struct err, cleanup by scope, one way of printing. */
#pragma once

#include <jansson.h>

#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

static inline void json_decrefpp(json_t **v)
{
        json_decref(*v);
        *v = NULL;
}

#define _cleanup_json_ _cleanup_(json_decrefpp)

/* Sets key of object, which must not be NULL, to v and takes v over. A NULL v, or object, is -ENOMEM. */
int json_add(json_t *object, const char *key, json_t *v, struct err *e);

/*
 * The length in bytes, 1 to 4, of the UTF-8 sequence that text (len bytes, at least 1) starts with; 0 when it
 * starts with none (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
 */
size_t utf8_sequence_len(const char *text, size_t len);

/*
 * root as indented text in ASCII, with a newline at the end, for free(3). ASCII, since the text often goes to
 * a terminal and its strings can come from a guest. Returns 0 or -ENOMEM.
 */
int json_text_new(const json_t *root, char **ret_text, struct err *e);
