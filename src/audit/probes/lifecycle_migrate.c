/* Life cycle: connections by which a guest's memory could leave the host, or be read by somebody else. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/lifecycle.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define STATE_ESTABLISHED 1U /* include/net/tcp_states.h */
#define STATE_LISTEN      10U

/* A line of /proc/PID/net/tcp or tcp6: "SL: LOCAL:PORT REMOTE:PORT STATE ... UID TIMEOUT INODE ...", addresses as words
 * of the host's byte order in hexadecimal. */
struct connection {
        char local[33], remote[33];
        unsigned int local_port, remote_port, state;
        uint64_t inode;
};

static bool connection_parse(const char *line, struct connection *ret)
{
        return sscanf(line, " %*u: %32[0-9A-F]:%x %32[0-9A-F]:%x %x %*x:%*x %*x:%*x %*x %*u %*u %" SCNu64, ret->local,
                      &ret->local_port, ret->remote, &ret->remote_port, &ret->state, &ret->inode) == 6;
}

/* 127.0.0.0/8, also as an address of version 6, and ::1; on x86-64, where the lowest byte comes first. */
static bool is_loopback(const char *address)
{
        return strcmp(address, "00000000000000000000000001000000") == 0 ||
               (text_has_suffix(address, "7F") &&
                (strlen(address) == 8 || text_has_prefix(address, "0000000000000000FFFF0000")));
}

static bool holds_socket(const struct process *p, uint64_t inode)
{
        for (size_t i = 0; i < p->fds.count; i++)
                if (p->fds.items[i].kind == FD_SOCKET && p->fds.items[i].socket_inode == inode)
                        return true;
        return false;
}

/* A monitor with a network stack of its own for the guest is connected for the guest. */
static bool has_user_network(const struct process *p)
{
        for (size_t i = 0; i < p->maps.count; i++)
                if (strstr(p->maps.items[i].name, "libslirp"))
                        return true;
        return false;
}

static bool knows_tls(const struct process *p)
{
        for (size_t i = 0; i < p->argc; i++)
                if (strstr(p->argv[i], "tls-creds"))
                        return true;
        return false;
}

/* The first connection that leaves the host. Returns 0 without one, 1 with, or a negative errno. */
static int connection_find(struct audit *a, const struct process *p, const char *file, struct connection *ret,
                           char **ret_line)
{
        bool guest_traffic = has_user_network(p);
        struct answer answer;
        int r = observe(a->observer, &answer, "read /proc/%d/net/%s", p->pid, file);
        char *rest = answer.bytes, *line;

        if (r < 0)
                return r == -ENOENT && strcmp(file, "tcp6") == 0 ? 0 : r; /* a kernel without IPv6 */
        while ((line = text_next_line(&rest))) {
                struct connection c;

                if (!connection_parse(line, &c) || is_loopback(c.local) || !holds_socket(p, c.inode) ||
                    !(c.state == STATE_LISTEN || (c.state == STATE_ESTABLISHED && !guest_traffic)))
                        continue;
                *ret = c;
                *ret_line = line;
                return 1;
        }
        return 0;
}

void life_migr_guest(struct audit *a, struct guest *g)
{
        static const char *const files[] = {"tcp", "tcp6"};
        const struct process *p = g->vmm;
        struct connection c = {0};
        struct finding *f;
        char *line = NULL;

        if (p->fds_error < 0) {
                finding_unknown(a, g, p->fds_error, arena_printf(a->arena, "list /proc/%d/fd", p->pid));
                return;
        }
        for (size_t i = 0; i < ARRAY_LEN(files); i++) {
                char *question = arena_printf(a->arena, "read /proc/%d/net/%s", p->pid, files[i]);
                int r = connection_find(a, p, files[i], &c, &line);
                bool tls = knows_tls(p);

                if (r < 0) {
                        finding_unknown(a, g, r, question);
                        return;
                }
                if (r == 0)
                        continue;
                f = finding_add(
                        a, tls ? VERDICT_UNKNOWN : VERDICT_WARN, g,
                        tls ? "The monitor of %s has a TCP connection beyond this host, and keys for TLS: whether this connection uses them is not visible."
                            : "The monitor of %s has a TCP connection beyond this host, and no keys for TLS.",
                        GUEST_MARK(a, g));
                if (tls)
                        f->needs = "the monitor's own configuration";
                finding_show(a, f, GUEST_OWNER(g), question, line, strlen(line));
                finding_showf(a, f, GUEST_OWNER(g), question, "%s",
                              c.state == STATE_LISTEN ? "it listens" : "it is connected");
                return;
        }
        f = finding_add(a, VERDICT_PASS, g, "The monitor of %s has no TCP connection beyond this host.",
                        GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/net/tcp and tcp6", p->pid),
                      "no listening and no connected socket of the monitor, except on loopback");
}
