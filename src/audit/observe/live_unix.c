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
#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "audit/observe/live.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define TCP_ESTABLISHED 1 /* include/net/tcp_states.h: unix sockets use these three */
#define TCP_CLOSE       7
#define TCP_LISTEN      10

struct lines {
        struct live *l;
        char *text;
        size_t len, room;
};

static void lines_add(struct lines *out, const char *line)
{
        size_t n = strlen(line);

        if (out->room - out->len < n + 1) {
                size_t room = 2 * (out->room + n) + 4096;
                char *moved = arena_alloc(live_arena(out->l), room);

                if (out->len > 0)
                        memcpy(moved, out->text, out->len);
                out->text = moved;
                out->room = room;
        }
        memcpy(out->text + out->len, line, n + 1);
        out->len += n;
}

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

static uint32_t attr_u32(const struct nlattr *attr)
{
        return attr && mnl_attr_get_payload_len(attr) >= sizeof(uint32_t) ? mnl_attr_get_u32(attr) : 0;
}

static int socket_line(const struct nlmsghdr *header, void *ctx)
{
        const struct unix_diag_msg *msg = mnl_nlmsg_get_payload(header);
        const struct nlattr *attrs[UNIX_DIAG_MAX + 1] = {NULL}, *attr;
        struct lines *out = ctx;
        char file[48] = "-", type[8], state[8];

        if (mnl_nlmsg_get_payload_len(header) < sizeof(*msg))
                return MNL_CB_ERROR;
        mnl_attr_for_each(attr, header, sizeof(*msg)) if (mnl_attr_get_type(attr) <= UNIX_DIAG_MAX)
                attrs[mnl_attr_get_type(attr)] = attr;
        if (attrs[UNIX_DIAG_VFS] && mnl_attr_get_payload_len(attrs[UNIX_DIAG_VFS]) >= sizeof(struct unix_diag_vfs)) {
                const struct unix_diag_vfs *vfs = mnl_attr_get_payload(attrs[UNIX_DIAG_VFS]);

                /* include/linux/kdev_t.h: MINORBITS 20 */
                snprintf(file, sizeof(file), "%u:%u:%u", vfs->udiag_vfs_dev >> 20, vfs->udiag_vfs_dev & 0xfffff,
                         vfs->udiag_vfs_ino);
        }
        lines_add(out, arena_printf(live_arena(out->l), "%u %s %s %u %u %s %s\n", msg->udiag_ino,
                                    type_name(msg->udiag_type, type), state_name(msg->udiag_state, state),
                                    attr_u32(attrs[UNIX_DIAG_PEER]), attr_u32(attrs[UNIX_DIAG_UID]), file,
                                    socket_name(live_arena(out->l), attrs[UNIX_DIAG_NAME])));
        if (out->len > OBSERVE_FILE_MAX) {
                errno = EFBIG;
                return MNL_CB_ERROR;
        }
        return MNL_CB_OK;
}

static int sockets_dump(struct mnl_socket *nl, struct lines *out)
{
        char buf[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
        struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
        struct unix_diag_req *request;
        ssize_t n;
        int more;

        header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
        header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        request = mnl_nlmsg_put_extra_header(header, sizeof(*request));
        *request = (struct unix_diag_req){
                .sdiag_family = AF_UNIX,
                .udiag_states = UINT32_MAX,
                .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_UID,
        };
        if (mnl_socket_sendto(nl, header, header->nlmsg_len) < 0)
                return -errno;
        do {
                n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
                if (n < 0)
                        return -errno;
                errno = EPROTO;
                more = mnl_cb_run(buf, (size_t)n, 0, mnl_socket_get_portid(nl), socket_line, out);
        } while (more > MNL_CB_STOP);
        return more < 0 ? -errno : 0;
}

static int answer_unix_sockets(struct live *l, const char *subject, struct answer *ret)
{
        struct lines out = {.l = l};
        struct mnl_socket *nl;
        pid_t pid = strcmp(subject, "self") == 0 ? getpid() : (pid_t)strtol(subject, NULL, 10);
        int fd = live_netlink_open(l, pid, NETLINK_SOCK_DIAG), r;

        if (fd < 0)
                return fd;
        nl = mnl_socket_fdopen(fd);
        if (!nl) {
                r = -errno;
                fd_closep(&fd);
                return r;
        }
        r = sockets_dump(nl, &out);
        mnl_socket_close(nl);
        ret->bytes = out.text ? out.text : arena_text(live_arena(l), "");
        ret->len = out.len;
        return r;
}

const struct live_verb live_unix_verbs[] = {
        {"unix-sockets", answer_unix_sockets},
        {NULL, NULL},
};
