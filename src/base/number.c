#include "base/number.h"

#include <errno.h>
#include <stddef.h>

/* Parses leading digits; *end is the first character after them. */
static int digits_parse(const char *text, uint64_t *ret, const char **end)
{
        uint64_t v = 0;
        const char *p = text;

        if (*p < '0' || *p > '9')
                return -EINVAL;
        for (; *p >= '0' && *p <= '9'; p++)
                if (__builtin_mul_overflow(v, 10U, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v)) {
                        while (*p >= '0' && *p <= '9')
                                p++;
                        *end = p;
                        return -ERANGE;
                }
        *ret = v;
        *end = p;
        return 0;
}

int number_parse(const char *text, uint64_t max, uint64_t *ret)
{
        const char *end;
        uint64_t v;
        int r = digits_parse(text, &v, &end);

        if (r == -EINVAL || *end != '\0')
                return -EINVAL;
        if (r < 0 || v > max)
                return -ERANGE;
        *ret = v;
        return 0;
}

int size_parse(const char *text, uint64_t *ret_bytes)
{
        static const char suffixes[] = "KMGTP";
        const char *end;
        uint64_t v = 0;
        unsigned int shift = 0;
        int r = digits_parse(text, &v, &end);

        if (r == -EINVAL)
                return r;
        for (size_t i = 0; *end && suffixes[i]; i++)
                if (*end == suffixes[i]) {
                        shift = 10 * ((unsigned int)i + 1);
                        end++;
                        break;
                }
        if (*end != '\0')
                return -EINVAL;
        if (r < 0 || (shift && v >> (64 - shift)))
                return -ERANGE;
        *ret_bytes = v << shift;
        return 0;
}
