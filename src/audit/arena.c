#include "audit/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES (256U << 10)
#define ALIGNMENT   16U

struct arena_block {
        struct arena_block *before;
        size_t used, size;
        _Alignas(ALIGNMENT) char bytes[];
};

void *arena_alloc(struct arena *a, size_t size)
{
        struct arena_block *b = a->last;
        void *p;

        if (size > SIZE_MAX / 2)
                a->exhausted();
        size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
        if (!b || b->size - b->used < size) {
                size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;

                b = malloc(sizeof(*b) + room);
                if (!b)
                        a->exhausted();
                *b = (struct arena_block){.before = a->last, .size = room};
                a->last = b;
        }
        p = b->bytes + b->used;
        b->used += size;
        return memset(p, 0, size);
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
        size_t bytes;

        if (__builtin_mul_overflow(count, size, &bytes))
                a->exhausted();
        return arena_alloc(a, bytes);
}

char *arena_copy(struct arena *a, const void *bytes, size_t len)
{
        char *p = arena_alloc(a, len + 1);

        if (len > 0)
                memcpy(p, bytes, len);
        return p;
}

char *arena_text(struct arena *a, const char *text)
{
        return arena_copy(a, text, strlen(text));
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
        va_list again;
        char *p;
        int n;

        va_copy(again, ap);
        n = vsnprintf(NULL, 0, fmt, again);
        va_end(again);
        if (n < 0)
                a->exhausted();
        p = arena_alloc(a, (size_t)n + 1);
        vsnprintf(p, (size_t)n + 1, fmt, ap);
        return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
        va_list ap;
        char *p;

        va_start(ap, fmt);
        p = arena_vprintf(a, fmt, ap);
        va_end(ap);
        return p;
}

void *arena_append(struct arena *a, void *items, size_t *count, size_t *room, size_t size)
{
        void *current;

        memcpy(&current, items, sizeof(current));
        if (*count == *room) {
                size_t more = *room ? *room * 2 : 8;
                void *moved = arena_array(a, more, size);

                if (*count > 0)
                        memcpy(moved, current, *count * size);
                memcpy(items, &moved, sizeof(moved));
                current = moved;
                *room = more;
        }
        return (char *)current + (*count)++ * size;
}

void arena_free(struct arena *a)
{
        while (a->last) {
                struct arena_block *b = a->last;

                a->last = b->before;
                free(b);
        }
}
