/* What holds of every description of a guest that a parser has let through. */
#pragma once

#include "fuzz.h"
#include "spec/guest_spec.h"

/*
 * s came out of a parser: it is one that the supervisor's own check takes (as a draft: name and kernel may be missing),
 * texts end and equal specs are equal bytes, and printed as JSON and parsed again it is the same, unless a text is not
 * UTF-8.
 */
void spec_must_be_good(const struct guest_spec *s);

/* Every error of the parsers. */
#define SPEC_STATUSES (STATUS_BIT(STATUS_USAGE) | STATUS_BIT(STATUS_IMAGE))

/*
 * stat(2) as the parsers call it for the device of an I/O limit, by -Wl,--wrap: the host's files are no part of an
 * input. There is one block device, /dev/a (8:1), and one other file, /f.
 */
