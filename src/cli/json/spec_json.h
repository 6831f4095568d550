/* The description of a guest as JSON: docs/configuration.md, docs/guest.schema.json. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "spec/guest_spec.h"

#define SPEC_JSON_MAX (1U << 20) /* bytes of a configuration; the caller does not read more */

/*
 * Reads len bytes of JSON. Fields without a key are at their defaults, name and kernel may be missing.
 * Errors have STATUS_USAGE (STATUS_IMAGE for a command line that is too long) and name the key or the line.
 * Returns 0 or -EINVAL, or -ENOMEM.
 */
int spec_json_parse(const char *text, size_t len, struct guest_spec *ret, struct err *e);

/*
 * Writes a validated spec as JSON, in ASCII, with a newline at the end; parsed again it gives the same spec.
 * A field that is not set has no key. *ret_text is for free(3). Fails with -EINVAL (STATUS_USAGE) when a
 * path or the command line is not UTF-8, which JSON cannot express, or with -ENOMEM.
 */
int spec_json_print(const struct guest_spec *s, char **ret_text, struct err *e);
