/* Networks that are made of sockets: AF_VSOCK, abstract Unix sockets, and user-mode networks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/network.h"
#include "audit/text.h"

/* ---- NET-VSOCK ---- */

static bool is_vsock_device(const struct fd *fd)
{
        return fd->kind == FD_VHOST &&
               ((fd->stat_error == 0 && fd->st.rdev == OBSERVED_DEV(10, 241)) || /* linux/miscdevice.h */
                strcmp(fd->link, "/dev/vhost-vsock") == 0);
}

static const struct fd *vsock_device(const struct guest *g, const struct process **ret)
{
        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                for (size_t k = 0; k < p->fds.count; k++)
                        if (is_vsock_device(&p->fds.items[k])) {
                                *ret = p;
                                return &p->fds.items[k];
                        }
        }
        return NULL;
}

/* Evidence: who has the device. Returns how many guests do. */
static size_t vsock_show(struct audit *a, struct finding *f)
{
        size_t count = 0;

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];
                const struct process *p;
                const struct fd *fd = vsock_device(g, &p);

                count += fd != NULL;
                if (f && fd)
                        finding_show(a, f, GUEST_OWNER(g),
                                     arena_printf(a->arena, "link /proc/%d/fd/%d", p->pid, fd->number), fd->link,
                                     strlen(fd->link));
        }
        return count;
}

static bool all_descriptors_known(const struct audit *a)
{
        for (size_t i = 0; i < a->inv.guests.count; i++)
                for (size_t k = 0; k < a->inv.guests.items[i]->members.count; k++)
                        if (a->inv.guests.items[i]->members.items[k].process->fds_error < 0)
                                return false;
        return true;
}

void network_vsock_host(struct audit *a)
{
        struct answer answer;
        size_t guests = vsock_show(a, NULL);
        bool known = all_descriptors_known(a);
        struct finding *f;
        int r = observe(a->observer, &answer, "vsock-listeners");

        if (guests == 0 && known) {
                f = finding_add(a, VERDICT_PASS, NULL, "No guest has a vsock device of this host.");
                finding_showf(a, f, EVIDENCE_HOST, "link /proc/PID/fd/N of every process of every guest",
                              "none is /dev/vhost-vsock");
                return;
        }
        if (r < 0) {
                finding_unknown(a, NULL, r, "vsock-listeners");
                return;
        }
        if (answer.len == 0) {
                f = finding_add(a, VERDICT_PASS, NULL, "Nothing on the host listens for connections by vsock.");
                finding_show(a, f, EVIDENCE_HOST, "vsock-listeners", "none", 4);
                vsock_show(a, f);
                return;
        }
        f = finding_add(a, VERDICT_WARN, NULL,
                        "Programs on the host listen for connections by vsock, which every guest with a vsock "
                        "device can make.");
        finding_show(a, f, EVIDENCE_OPERATOR, "vsock-listeners", answer.bytes, answer.len);
        vsock_show(a, f);
}

/* ---- NET-UNIXABS ---- */

struct abstract {
        char *name; /* printable */
        uint64_t inode;
        const struct guest *owner; /* NULL: no guest of those that share the namespace */
};

struct abstract_list {
        struct abstract *items;
        size_t count, room;
};

/* A line of "unix-sockets": named so that others can connect to it, or send to it. */
static bool abstract_parse(char *line, struct abstract *ret)
{
        char *type, *state;
        struct abstract s = {.inode = strtoull(net_word_take(&line), NULL, 10)};

        type = net_word_take(&line);
        state = net_word_take(&line);
        for (int i = 0; i < 3; i++) /* peer, uid, file */
                net_word_take(&line);
        s.name = line;
        *ret = s;
        return line[0] == '@' && (strcmp(state, "listen") == 0 || strcmp(type, "dgram") == 0);
}

struct unixabs {
        struct audit *a;
        bool *settled;
};

static void owners_find(struct audit *a, struct abstract_list *names, const struct pair_key *keys, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                const struct guest *g = a->inv.guests.items[keys[i].guest];

                for (size_t m = 0; m < g->members.count; m++) {
                        const struct process *p = g->members.items[m].process;

                        for (size_t k = 0; k < p->fds.count; k++)
                                for (size_t n = 0; p->fds.items[k].kind == FD_SOCKET && n < names->count; n++)
                                        if (names->items[n].inode == p->fds.items[k].socket_inode)
                                                names->items[n].owner = g;
                }
        }
}

static uint32_t uid_of(const struct guest *g)
{
        return g->vmm->threads.count ? g->vmm->threads.items[0].uid[1] : UINT32_MAX;
}

/* The guest's name can be reached by another guest of the same user, whom its owner cannot tell from itself. */
static bool same_user(struct audit *a, const struct abstract_list *names, const struct pair_key *keys, size_t count)
{
        for (size_t n = 0; n < names->count; n++)
                for (size_t i = 0; names->items[n].owner && i < count; i++) {
                        const struct guest *g = a->inv.guests.items[keys[i].guest];

                        if (g != names->items[n].owner && uid_of(g) != UINT32_MAX &&
                            uid_of(g) == uid_of(names->items[n].owner))
                                return true;
                }
        return false;
}

static void names_show(struct audit *a, struct finding *f, const char *question, const struct abstract_list *names)
{
        char *others = arena_text(a->arena, "");

        for (size_t n = 0; n < names->count; n++)
                if (names->items[n].owner)
                        finding_show(a, f, GUEST_OWNER(names->items[n].owner), question, names->items[n].name,
                                     strlen(names->items[n].name));
                else if (strlen(others) < TEXT_EVIDENCE_MAX)
                        others = arena_printf(a->arena, "%s%s\n", others, names->items[n].name);
        if (*others)
                finding_show(a, f, EVIDENCE_OPERATOR, question, others, strlen(others));
}

static void unixabs_group(void *ctx, const struct pair_key *keys, size_t count)
{
        struct unixabs *u = ctx;
        struct audit *a = u->a;
        bool host = keys[0].value[0] == a->host.ns[NS_NET], of_guests = false, fails;
        char *question = host && !a->host.ns_of_init
                                 ? arena_text(a->arena, "unix-sockets self")
                                 : arena_printf(a->arena, "unix-sockets %zu", host ? 1 : keys[0].extra);
        struct abstract_list names = {0};
        struct abstract one;
        struct answer answer;
        struct finding *f;
        char *rest, *line;
        int r = observe(a->observer, &answer, "%s", question);

        for (rest = r < 0 ? NULL : answer.bytes; rest && (line = text_next_line(&rest));)
                if (abstract_parse(line, &one))
                        *GROW(a->arena, &names) = one;
        if (r == 0 && names.count == 0)
                return;
        if (r < 0) {
                for (size_t i = 0; i < count; i++) {
                        if (!u->settled[keys[i].guest])
                                finding_unknown(a, a->inv.guests.items[keys[i].guest], r, question);
                        u->settled[keys[i].guest] = true;
                }
                return;
        }
        owners_find(a, &names, keys, count);
        fails = same_user(a, &names, keys, count);
        for (size_t n = 0; n < names.count; n++)
                of_guests = of_guests || names.items[n].owner;
        f = finding_add(a, fails ? VERDICT_FAIL : VERDICT_WARN, NULL,
                        "These guests' processes share a network namespace, and with it "
                        "the abstract Unix sockets in it%s.",
                        fails       ? ": one of a guest can be reached by another, which runs as the same user"
                        : of_guests ? ": one of a guest can be reached by the others"
                                    : ", which belong to others");
        names_show(a, f, question, &names);
        for (size_t i = 0; i < count; i++) {
                const struct guest *g = a->inv.guests.items[keys[i].guest];

                finding_concern(a, f, g);
                u->settled[g->index] = true;
        }
}

void network_unixabs_pairs(struct audit *a)
{
        struct unixabs u = {.a = a, .settled = arena_array(a->arena, a->inv.guests.count, sizeof(bool))};
        struct pair_key_list keys = {0};

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];

                for (size_t k = 0; k < g->members.count && !u.settled[i]; k++) {
                        const struct process *p = g->members.items[k].process;
                        int r = p->ns_error[NS_NET] < 0 ? p->ns_error[NS_NET] : p->fds_error;

                        if (r < 0) {
                                finding_unknown(a, g, r, arena_printf(a->arena, "stat /proc/%d/ns/net", p->pid));
                                u.settled[i] = true;
                        } else
                                *GROW(a->arena, &keys) = (struct pair_key){.value = {p->ns[NS_NET], 0},
                                                                           .guest = i,
                                                                           .extra = (size_t)p->pid};
                }
        }
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, unixabs_group, &u);
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];
                struct finding *f;

                if (u.settled[i])
                        continue;
                f = finding_add(a, VERDICT_PASS, g,
                                "%s shares no abstract Unix socket's name space with another guest.", GUEST_MARK(a, g));
                for (size_t k = 0; k < g->members.count; k++)
                        finding_showf(a, f, GUEST_OWNER(g),
                                      arena_printf(a->arena, "stat /proc/%d/ns/net", g->members.items[k].process->pid),
                                      "inode %llu", (unsigned long long)g->members.items[k].process->ns[NS_NET]);
        }
}

/* ---- NET-SLIRP ---- */

struct inode_list {
        uint64_t *items;
        size_t count, room;
};

static int by_number(const void *x, const void *y)
{
        uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

        return (a > b) - (a < b);
}

#define TCP_LISTEN_HEX "0A" /* include/net/tcp_states.h */

/* Inodes of the inet sockets of the host's namespace that do not listen: proc_net_tcp.rst, inode is the tenth column.
 */
static void inet_sockets_read(struct audit *a, struct inode_list *ret)
{
        static const char *const files[] = {"tcp", "tcp6", "udp", "udp6", "icmp", "icmp6", "raw", "raw6"};

        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
                struct answer answer;
                char *rest, *line;

                if (observe(a->observer, &answer, "read /proc/%s/net/%s", a->host.ns_of_init ? "1" : "self", files[i]) <
                    0)
                        continue;
                for (rest = answer.bytes; (line = text_next_line(&rest));) {
                        char *state = NULL, *inode = NULL;

                        for (int column = 0; column < 10 && *line; column++) {
                                line += strspn(line, " ");
                                if (column == 3)
                                        state = line;
                                if (column == 9)
                                        inode = line;
                                line += strcspn(line, " ");
                        }
                        if (inode && !(text_has_prefix(files[i], "tcp") && text_has_prefix(state, TCP_LISTEN_HEX " ")))
                                *GROW(a->arena, ret) = strtoull(inode, NULL, 10);
                }
        }
        if (ret->count > 0)
                qsort(ret->items, ret->count, sizeof(ret->items[0]), by_number);
}

/* A value of -netdev, -nic or -net that asks for a user-mode network, also as JSON. */
static bool asks_user_network(const char *value)
{
        return strcmp(value, "user") == 0 || text_has_prefix(value, "user,") || strstr(value, "\"type\":\"user\"") ||
               strstr(value, "\"type\": \"user\"") || text_has_prefix(value, "type=user");
}

/* The argument by which a QEMU has a user-mode network; it has one, too, when it is told nothing about networks. */
static const char *user_network(const struct guest *g, const struct process *p)
{
        bool told = false;

        if (!p->argv)
                return NULL;
        for (size_t i = 0; i < p->argc; i++) {
                const char *word = p->argv[i];

                if (text_has_prefix(word, "--"))
                        word++;
                if (strcmp(word, "-nodefaults") == 0)
                        told = true;
                if (strcmp(word, "-netdev") != 0 && strcmp(word, "-nic") != 0 && strcmp(word, "-net") != 0)
                        continue;
                told = true;
                if (i + 1 < p->argc && asks_user_network(p->argv[i + 1]))
                        return p->argv[i + 1];
        }
        return !told && strcmp(g->kind, "QEMU") == 0 && p == g->vmm ? "(no -nic none: a user-mode network by default)"
                                                                    : NULL;
}

static bool is_network_program(const struct process *p)
{
        static const char *const names[] = {"/passt",      "/passt.avx2",  "/pasta",
                                            "/pasta.avx2", "/slirp4netns", "/slirp-helper"};
        const char *name = p->exe ? strrchr(p->exe, '/') : NULL;

        for (size_t i = 0; name && i < sizeof(names) / sizeof(names[0]); i++)
                if (strcmp(name, names[i]) == 0)
                        return true;
        return false;
}

static const struct fd *inet_socket(const struct process *p, const struct inode_list *inet)
{
        for (size_t i = 0; i < p->fds.count; i++)
                if (p->fds.items[i].kind == FD_SOCKET && inet->count > 0 &&
                    bsearch(&p->fds.items[i].socket_inode, inet->items, inet->count, sizeof(uint64_t), by_number))
                        return &p->fds.items[i];
        return NULL;
}

static const struct mapping *slirp_mapping(const struct process *p)
{
        for (size_t i = 0; i < p->maps.count; i++)
                if (strstr(p->maps.items[i].name, "/libslirp"))
                        return &p->maps.items[i];
        return NULL;
}

static void slirp_show(struct audit *a, struct finding *f, const struct guest *g, const struct process *p,
                       const char *argument, const struct fd *socket)
{
        const struct mapping *library = slirp_mapping(p);

        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "stat /proc/%d/ns/net", p->pid),
                      "inode %llu; the host's is %llu", (unsigned long long)p->ns[NS_NET],
                      (unsigned long long)a->host.ns[NS_NET]);
        if (argument)
                finding_show(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/cmdline", p->pid), argument,
                             strlen(argument));
        if (is_network_program(p))
                finding_show(a, f, GUEST_OWNER(g), arena_printf(a->arena, "link /proc/%d/exe", p->pid), p->exe,
                             strlen(p->exe));
        if (library)
                finding_show(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/smaps", p->pid), library->name,
                             strlen(library->name));
        if (socket)
                finding_showf(a, f, GUEST_OWNER(g),
                              arena_printf(a->arena, "link /proc/%d/fd/%d", p->pid, socket->number),
                              "%s: an inet socket of the host's network namespace", socket->link);
}

static void slirp_guest(struct audit *a, const struct guest *g, const struct inode_list *inet)
{
        const struct process *bad = g->vmm;
        enum verdict worst = VERDICT_PASS;
        bool any = false;
        struct finding *f;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;
                const char *argument = user_network(g, p);
                bool network = argument || is_network_program(p);
                int r = p->ns_error[NS_NET] < 0 ? p->ns_error[NS_NET] : p->fds_error;
                enum verdict v = VERDICT_PASS;

                if (r < 0) {
                        finding_unknown(a, g, r, arena_printf(a->arena, "stat /proc/%d/ns/net", p->pid));
                        return;
                }
                if (p->ns[NS_NET] == a->host.ns[NS_NET] && network)
                        v = argument && strstr(argument, "restrict=on") ? VERDICT_WARN : VERDICT_FAIL;
                else if (inet_socket(p, inet))
                        v = VERDICT_WARN;
                if (v > worst || (network && !any)) {
                        worst = verdict_worse(worst, v);
                        bad = p;
                }
                any = any || network;
        }
        f = finding_add(a, worst, g,
                        worst == VERDICT_FAIL
                                ? "%s has a user-mode network in the host's network namespace: what it sends "
                                  "leaves from sockets of the host, and can reach services at the host's own "
                                  "addresses."
                        : worst == VERDICT_WARN ? "Processes of %s hold sockets in the host's network namespace."
                        : any ? "%s has a user-mode network, in a network namespace other than the host's."
                              : "%s has no user-mode network.",
                        GUEST_MARK(a, g));
        slirp_show(a, f, g, bad, user_network(g, bad), inet_socket(bad, inet));
}

void network_slirp_host(struct audit *a)
{
        struct inode_list inet = {0};

        inet_sockets_read(a, &inet);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                slirp_guest(a, a->inv.guests.items[i], &inet);
}
