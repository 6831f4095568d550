#include "cli/json/json_text.h"

#include <errno.h>
#include <string.h>

int json_add(json_t *object, const char *key, json_t *v, struct err *e)
{
        if (json_object_set_new(object, key, v) < 0)
                return err_set(e, -ENOMEM, "build JSON");
        return 0;
}

size_t utf8_sequence_len(const char *text, size_t len)
{
        unsigned char first = (unsigned char)text[0];
        /* The second byte has a narrower range after some first bytes: RFC 3629, section 4. */
        unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        size_t want;

        if (first < 0x80)
                return 1;
        if (first < 0xc2 || first > 0xf4)
                return 0;
        want = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        if (len < want || (unsigned char)text[1] < low || (unsigned char)text[1] > high)
                return 0;
        for (size_t i = 2; i < want; i++)
                if ((text[i] & 0xc0) != 0x80)
                        return 0;
        return want;
}

int json_text_new(const json_t *root, char **ret_text, struct err *e)
{
        size_t len = json_dumpb(root, NULL, 0, JSON_INDENT(2) | JSON_ENSURE_ASCII);
        char *text = len ? malloc(len + 2) : NULL;

        if (!text || json_dumpb(root, text, len, JSON_INDENT(2) | JSON_ENSURE_ASCII) != len) {
                free(text);
                return err_set(e, -ENOMEM, "print JSON");
        }
        memcpy(text + len, "\n", 2);
        *ret_text = text;
        return 0;
}
