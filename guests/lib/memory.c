/* String instructions, because one instruction for many bytes is much faster where ring 0 is emulated. */
#include "memory.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t len)
{
        void *d = dst;

        __asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(len) : : "memory");
        return dst;
}

void *memset(void *dst, int value, size_t len)
{
        void *d = dst;

        __asm__ volatile("rep stosb" : "+D"(d), "+c"(len) : "a"(value) : "memory");
        return dst;
}
