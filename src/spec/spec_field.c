#include "spec/spec_field.h"

#include <assert.h>
#include <string.h>

#include "spec/guest_spec.h"

void spec_field_set_text(char *field, size_t size, const char *text)
{
        size_t len = strlen(text);

        assert(len < size);
        memcpy(field, text, len);
        memset(field + len, 0, size - len);
}

int spec_field_check_id(const char *id, struct err *e)
{
        if (strnlen(id, SPEC_ID_MAX) < SPEC_ID_MAX && guest_name_valid(id) && strcmp(id, SPEC_RNG_ID) != 0)
                return 0;
        return err_bad(e, STATUS_USAGE,
                       "id must be 1 to %d of A-Z a-z 0-9 . _ -, start with a letter or digit, and not be " SPEC_RNG_ID,
                       SPEC_ID_MAX - 1);
}
