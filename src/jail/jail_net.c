/*
 * Stage net: the network namespace is new and nobody has configured it.
 *
 * Should:  find loopback, the only interface of a new namespace, down: no packet can be sent, not even to itself.
 * Mustn't: bring anything up, add or move an interface; taps come in as descriptors opened outside.
 * Fails closed: a namespace without loopback or with it up is not the one that was asked for.
 */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "jail/jail_stages.h"

int jail_stage_net(struct jail *j, struct err *e)
{
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq ifr = {.ifr_name = "lo"};

        if (fd < 0)
                return err_set(e, -errno, "open a socket in the new network namespace");
        if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
                return err_set(e, -errno, "look at loopback in the new network namespace");
        if (ifr.ifr_flags & IFF_UP)
                return err_bad(e, STATUS_ISOLATION, "loopback is up in the new network namespace");
        j->layers |= LAYER_BIT(LAYER_NET_EMPTY);
        return 0;
}
