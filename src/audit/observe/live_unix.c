/*
 * Unix sockets.
 *
 *   unix-sockets PID   (or "self") those of the process's network namespace, a line each:
 *                      "INODE TYPE STATE PEER UID DEV:INO NAME"
 *
 * TYPE is stream, dgram or seqpacket; STATE listen, connected or closed (not connected: a datagram socket takes
 * messages in it), else a number; PEER the inode of the socket it is connected to, 0: none; UID that of who made it;
 * DEV:INO its file as MAJ:MIN:INO, with the lower 32 bits of INO, "-" where it has none; NAME as bound, escaped
 * (text_escape), with a leading @ for an abstract one (a path that begins with @ has \x40), "-" for none.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "audit/observe/live_netlink_dump.h"
#include "audit/text.h"

#define TCP_ESTABLISHED 1 /* include/net/tcp_states.h: unix sockets use these three */
#define TCP_CLOSE       7
#define TCP_LISTEN      10

static const char *type_name(uint8_t type, char buf[8])
{
        snprintf(buf, 8, "%u", type);
        return type == SOCK_STREAM      ? "stream"
               : type == SOCK_DGRAM     ? "dgram"
               : type == SOCK_SEQPACKET ? "seqpacket"
                                        : buf;
}

static const char *state_name(uint8_t state, char buf[8])
{
        snprintf(buf, 8, "%u", state);
        return state == TCP_LISTEN        ? "listen"
               : state == TCP_ESTABLISHED ? "connected"
               : state == TCP_CLOSE       ? "closed"
                                          : buf;
}

static char *socket_name(struct arena *a, const struct nlattr *attr)
{
        const char *bytes = attr ? mnl_attr_get_payload(attr) : NULL;
        size_t len = attr ? mnl_attr_get_payload_len(attr) : 0;

        if (len == 0)
                return arena_text(a, "-");
        if (bytes[0] == '\0')
                return arena_printf(a, "@%s", text_escape(a, bytes + 1, len - 1));
        len = strnlen(bytes, len);
        if (bytes[0] == '@')
                return arena_printf(a, "\\x40%s", text_escape(a, bytes + 1, len - 1));
        return text_escape(a, bytes, len);
}

static void socket_line(struct live_lines *out, const struct nlmsghdr *reply)
{
        const struct unix_diag_msg *msg = mnl_nlmsg_get_payload(reply);
        const struct nlattr *attrs[UNIX_DIAG_MAX + 1];
        char file[48] = "-", type[8], state[8];

        if (mnl_nlmsg_get_payload_len(reply) < sizeof(*msg)) {
                out->error = -EPROTO;
                return;
        }
        netlink_attrs(reply, sizeof(*msg), attrs, UNIX_DIAG_MAX);
        if (attrs[UNIX_DIAG_VFS] && mnl_attr_get_payload_len(attrs[UNIX_DIAG_VFS]) >= sizeof(struct unix_diag_vfs)) {
                const struct unix_diag_vfs *vfs = mnl_attr_get_payload(attrs[UNIX_DIAG_VFS]);

                /* include/linux/kdev_t.h: MINORBITS 20 */
                snprintf(file, sizeof(file), "%u:%u:%u", vfs->udiag_vfs_dev >> 20, vfs->udiag_vfs_dev & 0xfffff,
                         vfs->udiag_vfs_ino);
        }
        live_line(out, "%u %s %s %u %u %s %s\n", msg->udiag_ino, type_name(msg->udiag_type, type),
                  state_name(msg->udiag_state, state), netlink_u32(attrs[UNIX_DIAG_PEER], 0),
                  netlink_u32(attrs[UNIX_DIAG_UID], 0), file, socket_name(live_arena(out->l), attrs[UNIX_DIAG_NAME]));
}

static int answer_unix_sockets(struct live *l, const char *subject, struct answer *ret)
{
        const struct unix_diag_req header = {
                .sdiag_family = AF_UNIX,
                .udiag_states = UINT32_MAX,
                .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_UID,
        };
        const struct netlink_request request = {.type = SOCK_DIAG_BY_FAMILY,
                                                .header = &header,
                                                .header_len = sizeof(header)};
        struct live_lines out = {.l = l};

        return live_lines_answer(&out, netlink_dump(&out, subject, NETLINK_SOCK_DIAG, &request, socket_line), ret);
}

const struct live_verb live_unix_verbs[] = {
        {"unix-sockets", answer_unix_sockets},
        {NULL, NULL},
};
