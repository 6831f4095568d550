/* Fields that more than one of the descriptions have; private to src/spec. */
#pragma once

#include <stddef.h>

#include "base/err.h"

/* Sets a field to text, which fits, and every byte after it to zero: equal specs are equal bytes. */
void spec_field_set_text(char *field, size_t size, const char *text);

/*
 * The id of a device: the alphabet of a guest's name, shorter, and not SPEC_RNG_ID, which is the entropy device. Reads
 * at most SPEC_ID_MAX bytes. Returns 0 or -EINVAL (STATUS_USAGE).
 */
int spec_field_check_id(const char *id, struct err *e);
