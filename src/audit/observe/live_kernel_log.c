/*
 * The kernel's log, as /dev/kmsg gives it (Documentation/ABI/testing/dev-kmsg).
 *
 *   kernel-log   "MICROSECONDS TEXT" for each message since boot of priority warning or worse that speaks of KVM or of
 * an error of the kernel itself (BUG, WARNING:, kvm), the last LOG_BYTES_MAX of them; TEXT escaped
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/observe/live.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define LOG_RECORD_MAX 8192 /* CONSOLE_EXT_LOG_MAX, kernel/printk/printk.c */
#define LOG_BYTES_MAX  (256U << 10)
#define LOG_READS_MAX  1000000U /* a log that grows as fast as it is read has an end, too */
#define LEVEL_WARNING  4        /* KERN_WARNING */

/* "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT": NULL when it is none of those that are asked for. */
static char *record_line(struct live *l, char *record)
{
        char *text = strchr(record, ';'), *end, *time;
        unsigned long priority = strtoul(record, &end, 10);

        if (!text || *end != ',' || (priority & 7) > LEVEL_WARNING)
                return NULL;
        time = strchr(end + 1, ',');
        if (!time || time > text)
                return NULL;
        text++;
        text[strcspn(text, "\n")] = '\0'; /* what follows is a dictionary */
        if (!strstr(text, "BUG") && !strstr(text, "WARNING:") && !strstr(text, "kvm") && !strstr(text, "KVM"))
                return NULL;
        return arena_printf(live_arena(l), "%llu %s\n", strtoull(time + 1, NULL, 10),
                            text_escape(live_arena(l), text, strlen(text)));
}

static int answer_kernel_log(struct live *l, const char *subject, struct answer *ret)
{
        _cleanup_fd_ int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        struct name_list lines = {0};
        size_t bytes = 0, first, used = 0;

        (void)subject;
        if (fd < 0)
                return -errno;
        for (unsigned int i = 0; i < LOG_READS_MAX; i++) {
                char record[LOG_RECORD_MAX + 1], *line;
                ssize_t n = read(fd, record, LOG_RECORD_MAX);

                if (n < 0 && (errno == EPIPE || errno == EINTR)) /* overwritten meanwhile: the next read goes on */
                        continue;
                if (n < 0 && errno != EAGAIN)
                        return -errno;
                if (n <= 0)
                        break;
                record[n] = '\0';
                line = record_line(l, record);
                if (line)
                        *GROW(live_arena(l), &lines) = line;
        }
        for (first = lines.count; first > 0 && bytes + strlen(lines.items[first - 1]) <= LOG_BYTES_MAX; first--)
                bytes += strlen(lines.items[first - 1]);
        ret->bytes = arena_alloc(live_arena(l), bytes + 1);
        for (size_t i = first; i < lines.count; i++) {
                memcpy(ret->bytes + used, lines.items[i], strlen(lines.items[i]));
                used += strlen(lines.items[i]);
        }
        ret->len = bytes;
        return 0;
}

const struct live_verb live_kernel_log_verbs[] = {{"kernel-log", answer_kernel_log}, {NULL, NULL}};
