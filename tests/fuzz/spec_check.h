/* What holds of every description of a guest that a parser has let through. */
#pragma once

#include "fuzz.h"
#include "spec/guest_spec.h"

/* Every field has a value that docs/configuration.md allows, whoever has checked it; name and kernel may be missing. */
void spec_must_be_in_range(const struct guest_spec *s);

/*
 * s came out of a parser: its fields are in range, it is one that the supervisor's own check takes, behind a text there
 * are zeros, and printed as JSON and parsed again it is the same, unless a text is not UTF-8.
 */
void spec_must_be_good(const struct guest_spec *s);

/* Every error of the parsers. */
#define SPEC_STATUSES (STATUS_BIT(STATUS_USAGE) | STATUS_BIT(STATUS_IMAGE))

/*
 * stat(2) as the parsers call it for the device of an I/O limit is replaced by -Wl,--wrap=stat64 (what it is called
 * with 64-bit file offsets): the host's files are no part of an input. There is one block device, /dev/a (8:1), and one
 * other file, /f.
 */
