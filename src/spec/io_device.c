#include "spec/io_device.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/number.h"
#include "spec/guest_spec.h"

/* Is text of the form MAJ:MIN? Then it is never taken for a path. */
static bool is_pair(const char *text)
{
        size_t major_len = strspn(text, "0123456789");
        size_t minor_len;

        if (major_len == 0 || text[major_len] != ':')
                return false;
        minor_len = strspn(text + major_len + 1, "0123456789");
        return minor_len > 0 && text[major_len + 1 + minor_len] == '\0';
}

static int pair_parse(const char *text, uint32_t *ret_major, uint32_t *ret_minor, struct err *e)
{
        char major_text[8];
        size_t len = strcspn(text, ":");
        uint64_t maj, min;

        if (len < sizeof(major_text)) {
                memcpy(major_text, text, len);
                major_text[len] = '\0';
                if (number_parse(major_text, SPEC_DEV_MAJOR_MAX, &maj) == 0 &&
                    number_parse(text + len + 1, SPEC_DEV_MINOR_MAX, &min) == 0 && maj > 0) {
                        *ret_major = (uint32_t)maj;
                        *ret_minor = (uint32_t)min;
                        return 0;
                }
        }
        return err_bad(e, STATUS_USAGE, "device %.64s: must be 1:0 to %d:%d", text, SPEC_DEV_MAJOR_MAX,
                       SPEC_DEV_MINOR_MAX);
}

int io_device_parse(const char *text, uint32_t *ret_major, uint32_t *ret_minor, struct err *e)
{
        struct stat st;

        if (is_pair(text))
                return pair_parse(text, ret_major, ret_minor, e);
        if (stat(text, &st) < 0)
                return err_bad(e, STATUS_USAGE, "device %.256s: %s", text, strerror(errno));
        if (!S_ISBLK(st.st_mode))
                return err_bad(e, STATUS_USAGE, "device %.256s: not a block device", text);
        *ret_major = major(st.st_rdev);
        *ret_minor = minor(st.st_rdev);
        return 0;
}
