/*
 * Device-mapper devices.
 *
 *   dm-table MAJ:MIN   its table, "START LENGTH TARGET PARAMETERS" a line, sectors of 512 bytes; keys of crypt are not
 * in it
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "audit/observe/live.h"
#include "base/cleanup.h"

#define TABLE_MAX (1U << 20)

/* The second word after the target's cipher is the key, in hexadecimal digits: no business of a report. */
static void key_hide(char *parameters)
{
        char *key = strchr(parameters, ' ');

        for (key = key ? key + 1 : NULL; key && *key && *key != ' '; key++)
                *key = 'x';
}

static int table_text(struct live *l, char *buf, const struct dm_ioctl *head, struct answer *ret)
{
        char *text = arena_alloc(live_arena(l), 1);
        size_t at = head->data_start;

        for (uint32_t i = 0; i < head->target_count; i++) {
                struct dm_target_spec spec;
                char *parameters;

                if (at > head->data_size || head->data_size - at < sizeof(spec))
                        return -EPROTO;
                memcpy(&spec, buf + at, sizeof(spec));
                parameters = buf + at + sizeof(spec);
                spec.target_type[sizeof(spec.target_type) - 1] = '\0';
                if (strcmp(spec.target_type, "crypt") == 0)
                        key_hide(parameters);
                text = arena_printf(live_arena(l), "%s%" PRIu64 " %" PRIu64 " %s %s\n", text,
                                    (uint64_t)spec.sector_start, (uint64_t)spec.length, spec.target_type, parameters);
                at = head->data_start + spec.next;
        }
        ret->bytes = text;
        ret->len = strlen(text);
        return 0;
}

static int answer_dm_table(struct live *l, const char *subject, struct answer *ret)
{
        _cleanup_fd_ int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        _cleanup_free_ char *buf = calloc(1, TABLE_MAX + 1);
        unsigned int dev[2];
        struct dm_ioctl head = {
                .version = {DM_VERSION_MAJOR, 0, 0},
                .data_size = TABLE_MAX,
                .data_start = sizeof(head),
                .flags = DM_STATUS_TABLE_FLAG | DM_SKIP_BDGET_FLAG,
        };

        if (!buf)
                return -ENOMEM;
        if (sscanf(subject, "%u:%u", &dev[0], &dev[1]) != 2)
                return -EINVAL;
        if (fd < 0)
                return -errno;
        head.dev = makedev(dev[0], dev[1]);
        memcpy(buf, &head, sizeof(head));
        if (ioctl(fd, DM_TABLE_STATUS, buf) < 0)
                return -errno;
        memcpy(&head, buf, sizeof(head));
        if (head.flags & DM_BUFFER_FULL_FLAG)
                return -EFBIG;
        return head.data_start < sizeof(head) || head.data_size > TABLE_MAX ? -EPROTO : table_text(l, buf, &head, ret);
}

const struct live_verb live_dm_verbs[] = {
        {"dm-table", answer_dm_table},
        {NULL, NULL},
};
