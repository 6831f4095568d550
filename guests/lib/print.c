#include "print.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uart.h"

#define LINE_MAX 255

struct line {
        char text[LINE_MAX];
        size_t len;
};

struct conversion {
        unsigned int width;
        char pad;
        bool is_long;
};

static void put(struct line *l, char c)
{
        if (l->len < LINE_MAX)
                l->text[l->len++] = c;
}

static void put_string(struct line *l, const char *s)
{
        while (*s)
                put(l, *s++);
}

static void put_number(struct line *l, const struct conversion *conv, uint64_t value, unsigned int base)
{
        char digits[20];
        unsigned int n = 0;

        do {
                digits[n++] = "0123456789abcdef"[value % base];
                value /= base;
        } while (value);
        for (unsigned int i = n; i < conv->width; i++)
                put(l, conv->pad);
        while (n)
                put(l, digits[--n]);
}

static const char *parse_conversion(const char *fmt, struct conversion *ret)
{
        *ret = (struct conversion){.pad = ' '};
        if (*fmt == '0')
                ret->pad = '0';
        while (*fmt >= '0' && *fmt <= '9')
                ret->width = ret->width * 10 + (unsigned int)(*fmt++ - '0');
        if (*fmt == 'l') {
                ret->is_long = true;
                fmt++;
        }
        return fmt;
}

void print(const char *fmt, ...)
{
        struct line l;
        va_list ap;

        l.len = 0;
        va_start(ap, fmt);
        for (; *fmt; fmt++) {
                struct conversion conv;

                if (*fmt != '%') {
                        put(&l, *fmt);
                        continue;
                }
                fmt = parse_conversion(fmt + 1, &conv);
                if (*fmt == 's') {
                        put_string(&l, va_arg(ap, const char *));
                } else if (*fmt == 'c') {
                        put(&l, (char)va_arg(ap, int));
                } else if (*fmt == 'd') {
                        int value = va_arg(ap, int);

                        if (value < 0)
                                put(&l, '-');
                        put_number(&l, &conv, value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
                } else if (*fmt == 'u' || *fmt == 'x') {
                        put_number(&l, &conv, conv.is_long ? va_arg(ap, uint64_t) : va_arg(ap, unsigned int),
                                   *fmt == 'u' ? 10 : 16);
                } else {
                        put(&l, *fmt);
                }
        }
        va_end(ap);
        (void)uart_write(l.text, l.len);
}
