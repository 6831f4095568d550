/* See fuzz.h. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool target_runs;

void must_failed(const char *file, int line, const char *claim)
{
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, claim);
        abort();
}

size_t read_bytes(struct reader *r, void *buf, size_t len)
{
        if (len > r->len)
                len = r->len;
        if (len > 0)
                memcpy(buf, r->data, len);
        r->data += len;
        r->len -= len;
        return len;
}

uint8_t read_u8(struct reader *r)
{
        uint8_t v = 0;

        read_bytes(r, &v, sizeof(v));
        return v;
}

uint16_t read_u16(struct reader *r)
{
        uint16_t v = 0;

        read_bytes(r, &v, sizeof(v));
        return v;
}

uint32_t read_u32(struct reader *r)
{
        uint32_t v = 0;

        read_bytes(r, &v, sizeof(v));
        return v;
}

uint64_t read_u64(struct reader *r)
{
        uint64_t v = 0;

        read_bytes(r, &v, sizeof(v));
        return v;
}

uint64_t read_in(struct reader *r, uint64_t min, uint64_t max)
{
        uint64_t range = max - min, v = 0;

        /* As few bytes as will do: what is not read stays for the next question. */
        for (uint64_t left = range; left > 0; left >>= 8)
                v = v << 8 | read_u8(r);
        return min + v % (range + 1);
}

struct reader read_tail(struct reader *r, size_t len)
{
        struct reader tail;

        if (len > r->len)
                len = r->len;
        r->len -= len;
        tail = (struct reader){.data = r->data + r->len, .len = len};
        return tail;
}

char *read_text(struct reader *r)
{
        size_t len = r->len;
        char *text = malloc(len + 1);

        MUST(text);
        read_bytes(r, text, len);
        text[len] = '\0';
        return text;
}

void must_be_error(const struct err *e, int r, unsigned int statuses)
{
        MUST(r < 0);
        MUST(e->status < 32 && (statuses & STATUS_BIT(e->status)));
        MUST(e->text[0] != '\0');
        MUST(strnlen(e->text, sizeof(e->text)) < sizeof(e->text));
}
