#include "cli/duration.h"

#include <inttypes.h>
#include <stdio.h>

void duration_print(char *buf, size_t size, int64_t seconds)
{
        int64_t s = seconds < 0 ? 0 : seconds, minutes = s / 60, hours = s / 3600, days = s / 86400;

        if (days > 0)
                snprintf(buf, size, "%" PRId64 "d %" PRId64 "h", days, hours % 24);
        else if (hours > 0)
                snprintf(buf, size, "%" PRId64 "h %" PRId64 "m", hours, minutes % 60);
        else if (minutes > 0)
                snprintf(buf, size, "%" PRId64 "m %" PRId64 "s", minutes, s % 60);
        else
                snprintf(buf, size, "%" PRId64 "s", s);
}
