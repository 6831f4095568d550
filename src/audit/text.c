#include "audit/text.h"

#include <stdint.h>
#include <string.h>

/* Length of the UTF-8 sequence at p (RFC 3629: shortest form, no surrogates, at most U+10FFFF), its code point in *ret;
 * 0 when there is none. */
static size_t utf8_decode(const unsigned char *p, size_t len, uint32_t *ret)
{
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
        uint32_t c;

        if (n == 0 || n > len)
                return 0;
        c = n == 1 ? p[0] : p[0] & (0x7fU >> n);
        for (size_t i = 1; i < n; i++) {
                if (p[i] >> 6 != 2)
                        return 0;
                c = c << 6 | (p[i] & 0x3f);
        }
        if (n > 1 && c < least[n])
                return 0;
        if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return 0;
        *ret = c;
        return n;
}

/* Characters that change how others are shown, or that cannot be seen (Unicode 15, category Cf and the like). */
static bool is_invisible(uint32_t c)
{
        static const struct {
                uint32_t first, last;
        } ranges[] = {
                {0x00, 0x1f},        {0x7f, 0x9f},     {0xad, 0xad},       {0x34f, 0x34f},     {0x61c, 0x61c},
                {0x115f, 0x1160},    {0x17b4, 0x17b5}, {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},
                {0x2060, 0x206f},    {0x3164, 0x3164}, {0xe000, 0xf8ff},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
                {0xffa0, 0xffa0},    {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
                {0xf0000, 0x10ffff},
        };

        if ((c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef)) /* noncharacters: no text at all */
                return true;
        for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
                if (c >= ranges[i].first && c <= ranges[i].last)
                        return true;
        return false;
}

static size_t escape_byte(char *out, unsigned char c)
{
        static const char digits[] = "0123456789abcdef";
        char shorter = (char)(c == '\n' ? 'n' : c == '\t' ? 't' : c == '\\' ? '\\' : '\0');

        out[0] = '\\';
        if (shorter) {
                out[1] = shorter;
                return 2;
        }
        out[1] = 'x';
        out[2] = digits[c >> 4];
        out[3] = digits[c & 15];
        return 4;
}

char *text_printable(struct arena *a, const void *bytes, size_t len, size_t max, bool newlines)
{
        const unsigned char *in = bytes;
        char *out;
        size_t used = 0, i = 0;

        if (max > 4 * len + 1)
                max = 4 * len + 1;
        out = arena_alloc(a, max + 5);
        while (i < len) {
                uint32_t c;
                size_t n = utf8_decode(in + i, len - i, &c), k;
                char piece[20];

                if (n == 1 && (in[i] == '\n' || in[i] == '\t') && newlines) {
                        piece[0] = in[i] == '\n' ? '\n' : ' ';
                        k = 1;
                } else if (n > 0 && !is_invisible(c) && c != '\\') {
                        memcpy(piece, in + i, n);
                        k = n;
                } else {
                        k = 0;
                        for (size_t j = 0; j < (n ? n : 1); j++)
                                k += escape_byte(piece + k, in[i + j]);
                }
                if (used + k > max) {
                        memcpy(out + used, "...", 4);
                        return out;
                }
                memcpy(out + used, piece, k);
                used += k;
                i += n ? n : 1;
        }
        out[used] = '\0';
        return out;
}

char *text_harmless(struct arena *a, const void *bytes, size_t len, bool newlines)
{
        const unsigned char *in = bytes;
        char *out = arena_alloc(a, 4 * len + 1);
        size_t used = 0;
        uint32_t c;

        for (size_t i = 0, n; i < len; i += n) {
                bool fine;

                n = utf8_decode(in + i, len - i, &c);
                fine = n > 0 && (!is_invisible(c) || (c == '\n' && newlines));
                n = n ? n : 1;
                if (fine) {
                        memcpy(out + used, in + i, n);
                        used += n;
                } else
                        for (size_t k = 0; k < n; k++)
                                used += escape_byte(out + used, in[i + k]);
        }
        out[used] = '\0';
        return out;
}

/* The character at text (never its end): columns that it takes on a terminal, and *ret_len its bytes. */
static unsigned int columns_of(const char *text, size_t *ret_len)
{
        static const struct {
                uint32_t first, last;
        } wide[] = {
                {0x1100, 0x115e}, {0x2e80, 0xa4cf}, {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
                {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1faff}, {0x20000, 0x3fffd},
        };
        uint32_t c = 0;
        size_t n = utf8_decode((const unsigned char *)text, strnlen(text, 4), &c);

        *ret_len = n ? n : 1;
        if (n == 0)
                return 1;
        if ((c >= 0x300 && c <= 0x36f) || (c >= 0x20d0 && c <= 0x20ff)) /* combining */
                return 0;
        for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++)
                if (c >= wide[i].first && c <= wide[i].last)
                        return 2;
        return 1;
}

unsigned int text_columns(const char *text)
{
        unsigned int columns = 0;

        for (size_t n; *text; text += n)
                columns += columns_of(text, &n);
        return columns;
}

size_t text_fitting(const char *text, unsigned int columns)
{
        size_t end = 0, n;

        for (unsigned int used = 0; text[end]; end += n) {
                used += columns_of(text + end, &n);
                if (used > columns && end > 0)
                        break;
        }
        return end;
}

void text_append(struct arena *a, struct text_buffer *b, const char *bytes, size_t len)
{
        if (b->count + len + 1 > b->room) {
                size_t room = 2 * (b->count + len + 1);
                char *moved = arena_alloc(a, room);

                if (b->count)
                        memcpy(moved, b->items, b->count);
                b->items = moved;
                b->room = room;
        }
        memcpy(b->items + b->count, bytes, len);
        b->count += len;
        b->items[b->count] = '\0';
}

void text_appendf(struct arena *a, struct text_buffer *b, const char *fmt, ...)
{
        va_list ap;
        char *text;

        va_start(ap, fmt);
        text = arena_vprintf(a, fmt, ap);
        va_end(ap);
        text_append(a, b, text, strlen(text));
}

char *text_escape(struct arena *a, const void *bytes, size_t len)
{
        const unsigned char *in = bytes;
        char *out = arena_alloc(a, 4 * len + 1);
        size_t used = 0;

        for (size_t i = 0; i < len; i++)
                if (in[i] >= 0x20 && in[i] < 0x7f && in[i] != '\\')
                        out[used++] = (char)in[i];
                else
                        used += escape_byte(out + used, in[i]);
        out[used] = '\0';
        return out;
}

static int hex_digit(char c)
{
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *text_unescape(struct arena *a, const char *text, size_t len, size_t *ret_len)
{
        char *out = arena_alloc(a, len + 1);
        size_t used = 0;

        for (size_t i = 0; i < len; i++) {
                if (text[i] != '\\') {
                        out[used++] = text[i];
                        continue;
                }
                if (++i == len)
                        return NULL;
                if (text[i] == 'n' || text[i] == 't' || text[i] == '\\') {
                        out[used++] = (char)(text[i] == 'n' ? '\n' : text[i] == 't' ? '\t' : '\\');
                        continue;
                }
                if (text[i] != 'x' || i + 2 >= len || hex_digit(text[i + 1]) < 0 || hex_digit(text[i + 2]) < 0)
                        return NULL;
                out[used++] = (char)(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
                i += 2;
        }
        *ret_len = used;
        return out;
}

char *text_next_line(char **rest)
{
        char *line = *rest, *end;

        if (!line || *line == '\0')
                return NULL;
        end = strchr(line, '\n');
        *rest = end ? end + 1 : NULL;
        if (end)
                *end = '\0';
        return line;
}

char *text_field(struct arena *a, const char *text, const char *name)
{
        size_t n = strlen(name);

        for (const char *line = text; line && *line;) {
                const char *end = strchr(line, '\n');

                if (strncmp(line, name, n) == 0) {
                        const char *value = line + n + strspn(line + n, " \t");

                        return arena_copy(a, value, end ? (size_t)(end - value) : strlen(value));
                }
                line = end ? end + 1 : NULL;
        }
        return NULL;
}

bool text_has_prefix(const char *text, const char *prefix)
{
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_has_suffix(const char *text, const char *suffix)
{
        size_t n = strlen(text), k = strlen(suffix);

        return n >= k && strcmp(text + n - k, suffix) == 0;
}
