/* A configuration file, as bulkhead-json parses it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/json/spec_json.h"
#include "spec_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct guest_spec s, untouched;
        struct err e = ERR_INIT;
        int r;

        memset(&s, 0x5a, sizeof(s));
        memset(&untouched, 0x5a, sizeof(s));
        target_runs = true;
        r = spec_json_parse((const char *)data, len, &s, &e);
        target_runs = false;
        if (r == 0) {
                spec_must_be_good(&s);
                return 0;
        }
        MUST(r == -EINVAL);
        must_be_error(&e, r, SPEC_STATUSES);
        MUST(memcmp(&s, &untouched, sizeof(s)) == 0);
        return 0;
}
