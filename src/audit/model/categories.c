#include "audit/model/categories.h"

#include <stdlib.h>

bool categories_parse(const char *text, struct categories *ret)
{
        struct categories c = {0};

        while (*text == 'c') {
                char *end;
                unsigned long first = strtoul(text + 1, &end, 10), last = first;

                if (end == text + 1)
                        return false;
                if (end[0] == '.' && end[1] == 'c')
                        last = strtoul(end + 2, &end, 10);
                if (first > last || last >= CATEGORIES)
                        return false;
                for (unsigned long i = first; i <= last; i++)
                        if (!(c.bits[i / 64] >> (i % 64) & 1)) {
                                c.bits[i / 64] |= 1ULL << (i % 64);
                                c.count++;
                        }
                text = end + (*end == ',');
        }
        *ret = c;
        return *text == '\0' && c.count > 0;
}

bool categories_cover(const struct categories *x, const struct categories *y)
{
        for (size_t i = 0; i < CATEGORIES / 64; i++)
                if (y->bits[i] & ~x->bits[i])
                        return false;
        return true;
}
