/* The kernel's own count of virtual machines, as it tells it to whoever makes one. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "audit/observe/live.h"
#include "audit/text.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define UEVENT_WAIT_MS 2000
#define UEVENT_BYTES   8192

/* COUNT= of the event that tells of a VM made by this process, or -ENOMSG for another event. The event is a list of
 * zero-terminated texts. */
static int event_count(const char *event, size_t len, long *ret)
{
        const char *pid = NULL, *count = NULL, *made = NULL;

        if (!text_has_prefix(event, "change@/devices/virtual/misc/kvm"))
                return -ENOMSG;
        for (size_t i = 0; i < len; i += strlen(event + i) + 1) {
                if (text_has_prefix(event + i, "PID="))
                        pid = event + i + 4;
                else if (text_has_prefix(event + i, "COUNT="))
                        count = event + i + 6;
                else if (strcmp(event + i, "EVENT=create") == 0)
                        made = event + i;
        }
        if (!pid || !count || !made || strtol(pid, NULL, 10) != getpid())
                return -ENOMSG;
        *ret = strtol(count, NULL, 10);
        return 0;
}

static int answer_vm_count(struct live *l, const char *subject, struct answer *ret)
{
        const struct sockaddr_nl kernel_events = {.nl_family = AF_NETLINK, .nl_groups = 1};
        _cleanup_fd_ int events = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
        _cleanup_fd_ int kvm = -1, vm = -1;
        char event[UEVENT_BYTES + 1];
        int64_t deadline = clock_now_ms() + UEVENT_WAIT_MS;

        (void)subject;
        if (events < 0 || bind(events, (const struct sockaddr *)&kernel_events, sizeof(kernel_events)) < 0)
                return -errno;
        kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
        if (kvm < 0)
                return -errno;
        vm = ioctl(kvm, KVM_CREATE_VM, 0);
        if (vm < 0)
                return -errno;
        for (;;) {
                int64_t left = deadline - clock_now_ms();
                struct pollfd p = {.fd = events, .events = POLLIN};
                struct sockaddr_nl from = {0};
                socklen_t len = sizeof(from);
                long count;
                ssize_t n;

                if (left <= 0 || poll(&p, 1, (int)left) == 0)
                        return -ETIMEDOUT;
                n = recvfrom(events, event, UEVENT_BYTES, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
                if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
                        return -errno;
                if (n <= 0 || from.nl_pid != 0) /* 0: the kernel's, nobody else's */
                        continue;
                event[n] = '\0';
                if (event_count(event, (size_t)n, &count) == 0)
                        return count < 1 ? -EPROTO : live_answer(l, ret, "%ld", count - 1);
        }
}

const struct live_verb live_kvm_verbs[] = {{"vm-count", answer_vm_count}, {NULL, NULL}};
