/* A device of a guest that is somebody else's process, behind vhost-user: its fields, as flags and JSON set them. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "spec/guest_spec.h"

/*
 * Setters: each checks its own value and names the field, by its JSON key, in the error (STATUS_USAGE). A failed setter
 * changes nothing. They return 0 or -EINVAL. A back end starts as all zeros.
 */
int backend_spec_set_protocol(struct backend_spec *b, const char *word, struct err *e); /* "vhost-user" */
int backend_spec_set_type(struct backend_spec *b, const char *word, struct err *e);     /* "blk" | "rng" */
int backend_spec_set_socket(struct backend_spec *b, const char *path, struct err *e);
int backend_spec_set_id(struct backend_spec *b, const char *id, struct err *e);

/* Checks every field of every back end of s, and that no id is there twice, also among its disks. Returns 0 or -EINVAL
 * (STATUS_USAGE). */
int backend_specs_check(const struct guest_spec *s, struct err *e);

/* The word for printing; "unknown" for a value outside the enum. */
const char *backend_type_name(uint32_t type);
