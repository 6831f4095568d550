/* Parsers of /proc/PID (proc(5)). All are bounded by the answer's length and none trusts a format. */
#include "audit/model/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/text.h"
#include "base/cleanup.h"
#include "base/number.h"

#define PF_KTHREAD     0x00200000U /* include/linux/sched.h */
#define PF_USER_WORKER 0x00004000U /* of Linux 6.4; before 5.18 another flag had this value */

/* All but SIGKILL and SIGSTOP: what kernel/fork.c gives a worker. It tells the two meanings of the flag apart. */
#define WORKER_BLOCKS "fffffffffffbfeff"

const char *const ns_names[NS_COUNT] = {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"};
const char *const cap_set_names[CAP_SETS] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};

bool stat_field(const char *stat, unsigned int n, uint64_t *ret)
{
        const char *p = strrchr(stat, ')');

        if (!p || n < 3)
                return false;
        p += 1;
        for (unsigned int i = 3; i < n; i++) {
                p += strspn(p, " ");
                p += strcspn(p, " ");
        }
        p += strspn(p, " ");
        if (*p == '\0' || *p == '\n')
                return false;
        *ret = strtoull(p, NULL, 10);
        return true;
}

static char *stat_comm(struct arena *a, const char *stat)
{
        const char *start = strchr(stat, '('), *end = strrchr(stat, ')');

        return start && end && end > start ? arena_copy(a, start + 1, (size_t)(end - start - 1)) : arena_text(a, "?");
}

static enum fd_kind kind_of_link(const char *link)
{
        static const struct {
                const char *prefix;
                enum fd_kind kind;
        } kinds[] = {
                /* Links to what has a path begin with '/', so that no process can forge the first ones. */
                {"anon_inode:kvm-vm-stats", FD_KVM_STATS},
                {"anon_inode:kvm-vcpu-stats:", FD_KVM_STATS},
                {"anon_inode:kvm-vcpu:", FD_KVM_VCPU},
                {"anon_inode:kvm-vm", FD_KVM_VM},
                {"anon_inode:[eventfd]", FD_EVENTFD},
                {"anon_inode:[io_uring]", FD_IO_URING},
                {"anon_inode:[vfio-device]", FD_VFIO},
                {"anon_inode:", FD_ANON},
                {"socket:[", FD_SOCKET},
                {"pipe:[", FD_PIPE},
        };

        for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
                if (text_has_prefix(link, kinds[i].prefix))
                        return kinds[i].kind;
        return FD_OTHER;
}

/* What the file says beats its name: a memfd can be called anything, a device node can lie anywhere. Character devices:
 * Documentation/admin-guide/devices.txt, and their MISC_DYNAMIC_MINOR names. */
static enum fd_kind kind_of_stat(const struct observed_stat *st, const char *link)
{
        switch (st->mode & S_IFMT) {
        case S_IFREG:
                return text_has_prefix(link, "/memfd:") && text_has_suffix(link, " (deleted)") ? FD_MEMFD : FD_REGULAR;
        case S_IFDIR:
                return FD_DIRECTORY;
        case S_IFBLK:
                return FD_BLOCK;
        case S_IFIFO:
                return FD_PIPE;
        case S_IFCHR:
                if (st->rdev == OBSERVED_DEV(10, 232))
                        return FD_KVM;
                if (st->rdev == OBSERVED_DEV(10, 200))
                        return FD_TUN;
                if (st->rdev == OBSERVED_DEV(10, 238) || st->rdev == OBSERVED_DEV(10, 241) ||
                    text_has_prefix(link, "/dev/vhost-"))
                        return FD_VHOST;
                if (st->rdev == OBSERVED_DEV(10, 196) || text_has_prefix(link, "/dev/vfio/"))
                        return FD_VFIO;
                return FD_CHAR;
        default:
                return FD_OTHER;
        }
}

static int fds_read_brief(struct observer *o, struct process *p)
{
        struct name_list names;
        char path[48];
        int r;

        snprintf(path, sizeof(path), "/proc/%d/fd", p->pid);
        r = observe_list(o, path, &names);
        if (r < 0)
                return r;
        for (size_t i = 0; i < names.count; i++) {
                struct answer link;
                struct fd *fd;
                uint64_t number;

                if (number_parse(names.items[i], INT32_MAX, &number) < 0)
                        continue;
                r = observe(o, &link, "link /proc/%d/fd/%d", p->pid, (int)number);
                if (r == -ENOENT) /* closed since it was listed */
                        continue;
                if (r < 0)
                        return r;
                fd = GROW(o->arena, &p->fds);
                *fd = (struct fd){.number = (int)number,
                                  .kind = kind_of_link(link.bytes),
                                  .link = link.bytes,
                                  .mnt_id = -1,
                                  .stat_error = -ENODATA};
                if (fd->kind == FD_SOCKET)
                        fd->socket_inode = strtoull(link.bytes + 8, NULL, 10);
                if (fd->kind == FD_OTHER && strcmp(link.bytes, "/dev/kvm") == 0)
                        fd->kind = FD_KVM;
        }
        return 0;
}

static void fds_read_full(struct observer *o, struct process *p)
{
        for (size_t i = 0; i < p->fds.count; i++) {
                struct fd *fd = &p->fds.items[i];
                struct answer info;
                char path[48], *value;

                snprintf(path, sizeof(path), "/proc/%d/fd/%d", p->pid, fd->number);
                fd->stat_error = observe_stat(o, path, &fd->st);
                if (fd->stat_error == 0 && (fd->kind == FD_OTHER || fd->kind == FD_KVM))
                        fd->kind = kind_of_stat(&fd->st, fd->link);
                if (observe(o, &info, "read /proc/%d/fdinfo/%d", p->pid, fd->number) < 0)
                        continue;
                fd->fdinfo = info.bytes;
                value = text_field(o->arena, info.bytes, "flags:");
                fd->flags = value ? strtoull(value, NULL, 8) : 0;
                value = text_field(o->arena, info.bytes, "mnt_id:");
                fd->mnt_id = value ? strtoll(value, NULL, 10) : -1;
        }
}

static unsigned int vm_flags_parse(const char *text)
{
        static const struct {
                const char name[4];
                unsigned int bit;
        } flags[] = {
                {"sh ", VM_SHARED},   {"dd ", VM_DONTDUMP},  {"mg ", VM_MERGEABLE},
                {"lo ", VM_LOCKED},   {"hg ", VM_HUGEPAGE},  {"io ", VM_IO},
                {"dc ", VM_DONTCOPY}, {"nr ", VM_NORESERVE}, {"ht ", VM_HUGETLB},
        };
        unsigned int bits = 0;

        for (; strlen(text) >= 2; text += strcspn(text, " "), text += strspn(text, " "))
                for (size_t i = 0; i < ARRAY_LEN(flags); i++)
                        if (strncmp(text, flags[i].name, 2) == 0)
                                bits |= flags[i].bit;
        return bits;
}

/* A line of maps, or the first line of a mapping in smaps. */
static bool mapping_parse(struct arena *a, const char *line, struct mapping *ret)
{
        struct mapping m = {0};
        unsigned int dev[2];
        int skip = 0;

        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 "%n", &m.start, &m.end, m.perms,
                   &m.offset, &dev[0], &dev[1], &m.ino, &skip) != 7 ||
            m.end < m.start)
                return false;
        m.dev = OBSERVED_DEV(dev[0], dev[1]);
        line += skip;
        m.name = arena_text(a, line + strspn(line, " "));
        *ret = m;
        return true;
}

static void maps_parse(struct arena *a, char *text, struct mapping_list *ret)
{
        struct mapping *last = NULL;
        char *line;

        while ((line = text_next_line(&text))) {
                struct mapping m;
                uint64_t *number;

                if (mapping_parse(a, line, &m)) {
                        last = GROW(a, ret);
                        *last = m;
                        continue;
                }
                if (!last)
                        continue;
                number = text_has_prefix(line, "Rss:")             ? &last->rss_kb
                         : text_has_prefix(line, "Swap:")          ? &last->swap_kb
                         : text_has_prefix(line, "KSM:")           ? &last->ksm_kb
                         : text_has_prefix(line, "AnonHugePages:") ? &last->huge_kb
                         : text_has_prefix(line, "Locked:")        ? &last->locked_kb
                                                                   : NULL;
                if (number)
                        *number = strtoull(strchr(line, ':') + 1, NULL, 10);
                if (text_has_prefix(line, "VmFlags:")) {
                        last->vm_flags = vm_flags_parse(line + 8 + strspn(line + 8, " "));
                        last->smaps = true;
                }
        }
}

static int maps_read(struct observer *o, struct process *p, const char *file)
{
        struct answer a;
        int r = observe(o, &a, "read /proc/%d/%s", p->pid, file);

        p->maps = (struct mapping_list){0};
        if (r == 0)
                maps_parse(o->arena, a.bytes, &p->maps);
        return r;
}

int process_read_brief(struct observer *o, pid_t pid, struct process *ret)
{
        struct process p = {.pid = pid};
        struct answer a;
        uint64_t v;
        int r = observe(o, &a, "read /proc/%d/stat", pid);

        if (r < 0)
                return r == -ENOENT ? -ESRCH : r;
        p.comm = stat_comm(o->arena, a.bytes);
        if (!stat_field(a.bytes, 4, &v))
                return -EPROTO;
        p.ppid = (pid_t)v;
        p.kernel_thread = stat_field(a.bytes, 9, &v) && (v & PF_KTHREAD);
        if (!stat_field(a.bytes, 22, &p.start_time))
                return -EPROTO;
        if (!p.kernel_thread) {
                p.fds_error = fds_read_brief(o, &p);
                p.maps_error = maps_read(o, &p, "maps");
                if (p.fds_error == -ESRCH || p.maps_error == -ESRCH)
                        return -ESRCH;
        }
        *ret = p;
        return 0;
}

static void cmdline_read(struct observer *o, struct process *p)
{
        struct answer a;
        size_t n = 0;

        if (observe(o, &a, "read /proc/%d/cmdline", p->pid) < 0) {
                a.bytes = arena_text(o->arena, "");
                a.len = 0;
        }
        p->cmdline = a.bytes;
        p->cmdline_len = a.len;
        for (size_t i = 0; i < a.len; i++)
                n += a.bytes[i] == '\0';
        if (a.len > 0 && a.bytes[a.len - 1] != '\0')
                n++;
        p->argv = arena_array(o->arena, n + 1, sizeof(p->argv[0]));
        for (size_t i = 0; p->argc < n; i += strlen(a.bytes + i) + 1)
                p->argv[p->argc++] = a.bytes + i;
}

static void ids_parse(const char *value, uint32_t ret[4])
{
        char *end;

        for (int i = 0; value && i < 4; i++) {
                ret[i] = (uint32_t)strtoul(value, &end, 10);
                value = end;
        }
}

static void groups_parse(struct arena *a, const char *value, struct id_list *ret)
{
        char *end;

        for (; value; value = end) {
                unsigned long v = strtoul(value, &end, 10);

                if (end == value)
                        return;
                *GROW(a, ret) = (uint32_t)v;
        }
}

static int small_number(const char *value)
{
        return value ? (int)strtol(value, NULL, 10) : -1;
}

/* A thread of a virtual processor, as the known monitors name them. */
static bool vcpu_name(const char *comm)
{
        return (text_has_prefix(comm, "CPU ") && text_has_suffix(comm, "/KVM")) || text_has_prefix(comm, "fc_vcpu ") ||
               text_has_prefix(comm, "crosvm_vcpu") || text_has_prefix(comm, "kvm-vcpu-") ||
               (text_has_prefix(comm, "vcpu") && comm[4] >= '0' && comm[4] <= '9');
}

static int thread_read(struct observer *o, struct process *p, pid_t tid)
{
        struct arena *a = o->arena;
        struct thread t = {.tid = tid};
        struct answer status, stat;
        uint64_t v;
        char *value;
        int r = observe(o, &status, "read /proc/%d/task/%d/status", p->pid, tid);

        if (r < 0)
                return r;
        r = observe(o, &stat, "read /proc/%d/task/%d/stat", p->pid, tid);
        if (r < 0)
                return r;
        t.status = status.bytes;
        t.comm = stat_comm(a, stat.bytes);
        ids_parse(text_field(a, status.bytes, "Uid:"), t.uid);
        ids_parse(text_field(a, status.bytes, "Gid:"), t.gid);
        groups_parse(a, text_field(a, status.bytes, "Groups:"), &t.groups);
        for (int i = 0; i < CAP_SETS; i++) {
                value = text_field(a, status.bytes, cap_set_names[i]);
                t.caps[i] = value ? strtoull(value + strspn(value, ": \t"), NULL, 16) : 0;
        }
        t.no_new_privs = small_number(text_field(a, status.bytes, "NoNewPrivs:"));
        t.seccomp = small_number(text_field(a, status.bytes, "Seccomp:"));
        t.seccomp_filters = small_number(text_field(a, status.bytes, "Seccomp_filters:"));
        t.tracer = small_number(text_field(a, status.bytes, "TracerPid:"));
        t.store_bypass = text_field(a, status.bytes, "Speculation_Store_Bypass:");
        t.indirect_branch = text_field(a, status.bytes, "SpeculationIndirectBranch:");
        t.cpus_text = text_field(a, status.bytes, "Cpus_allowed_list:");
        t.cpus = arena_alloc(a, sizeof(*t.cpus));
        if (!t.cpus_text || !cpu_set_parse(t.cpus_text, t.cpus))
                t.cpus = NULL;
        if (stat_field(stat.bytes, 43, &t.guest_time) && t.guest_time > 0)
                t.is_vcpu = true;
        t.rt_priority = stat_field(stat.bytes, 40, &v) ? (unsigned int)v : 0;
        t.policy = stat_field(stat.bytes, 41, &v) ? (unsigned int)v : 0;
        t.is_vcpu = t.is_vcpu || vcpu_name(t.comm);
        value = text_field(a, status.bytes, "SigBlk:");
        t.kernel_worker =
                value && strcmp(value, WORKER_BLOCKS) == 0 && stat_field(stat.bytes, 9, &v) && (v & PF_USER_WORKER);
        if (tid == p->pid) {
                value = text_field(a, status.bytes, "NSpid:");
                for (; value && *value; value += strcspn(value, " \t"), value += strspn(value, " \t"))
                        p->pid_depth++;
        }
        *GROW(a, &p->threads) = t;
        return 0;
}

static int threads_read(struct observer *o, struct process *p)
{
        struct name_list names;
        char path[48];
        int r;

        snprintf(path, sizeof(path), "/proc/%d/task", p->pid);
        r = observe_list(o, path, &names);
        for (size_t i = 0; r == 0 && i < names.count; i++) {
                uint64_t tid;

                if (number_parse(names.items[i], INT32_MAX, &tid) < 0)
                        continue;
                r = thread_read(o, p, (pid_t)tid);
                if (r == -ENOENT || r == -ESRCH) /* a thread may end */
                        r = 0;
        }
        for (size_t i = 1; r == 0 && i < p->threads.count;
             i++) /* tids wrap around: the main thread need not be first */
                if (p->threads.items[i].tid == p->pid) {
                        struct thread t = p->threads.items[i];

                        memmove(&p->threads.items[1], &p->threads.items[0], i * sizeof(t));
                        p->threads.items[0] = t;
                }
        return r < 0 ? r : p->threads.count == 0 ? -ESRCH : 0;
}

/* The next blank-separated word, terminated in place; "" at the end. */
static char *word_next(char **rest)
{
        char *word = *rest + strspn(*rest, " ");
        size_t n = strcspn(word, " ");

        *rest = word + n + (word[n] == ' ');
        word[n] = '\0';
        return word;
}

/* Undoes the kernel's octal escapes of blanks and backslashes in place. */
static char *mount_unescape(char *word)
{
        char *out = word;

        for (const char *in = word; *in; out++)
                if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' && in[3] >= '0' &&
                    in[3] <= '7') {
                        *out = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
                        in += 4;
                } else
                        *out = *in++;
        *out = '\0';
        return word;
}

int mount_list_read(struct observer *o, const char *path, struct mount_list *ret)
{
        struct answer a;
        char *rest, *line;
        int r = observe(o, &a, "read %s", path);

        for (rest = r == 0 ? a.bytes : NULL; (line = text_next_line(&rest));) {
                struct mount m = {.line = arena_text(o->arena, line)};
                unsigned int dev[2] = {0, 0};
                char *word, *optional = arena_text(o->arena, "");

                m.id = (int)strtol(word_next(&line), NULL, 10);
                word_next(&line);
                word = word_next(&line);
                if (sscanf(word, "%u:%u", &dev[0], &dev[1]) != 2)
                        return -EPROTO;
                m.dev = OBSERVED_DEV(dev[0], dev[1]);
                m.root = mount_unescape(word_next(&line));
                m.point = mount_unescape(word_next(&line));
                m.options = word_next(&line);
                while (*(word = word_next(&line)) && strcmp(word, "-") != 0)
                        optional = arena_printf(o->arena, "%s%s%s", optional, *optional ? " " : "", word);
                m.optional = optional;
                m.type = word_next(&line);
                m.source = mount_unescape(word_next(&line));
                m.super_options = word_next(&line);
                *GROW(o->arena, ret) = m;
        }
        return r;
}

static int cgroups_read(struct observer *o, struct process *p)
{
        struct answer a;
        char *rest, *line;
        int r = observe(o, &a, "read /proc/%d/cgroup", p->pid);

        for (rest = r == 0 ? a.bytes : NULL; (line = text_next_line(&rest));) {
                char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

                if (!path)
                        return -EPROTO;
                *path = '\0';
                *GROW(o->arena, &p->cgroups) = (struct cgroup_path){.controllers = controllers + 1, .path = path + 1};
        }
        return r;
}

static int id_map_read(struct observer *o, pid_t pid, const char *file, struct id_map *ret, char **ret_text)
{
        struct answer a;
        char *rest, *line;
        int r = observe(o, &a, "read /proc/%d/%s", pid, file);

        if (r == 0 && ret_text)
                *ret_text = arena_copy(o->arena, a.bytes, a.len);
        for (rest = r == 0 ? a.bytes : NULL; (line = text_next_line(&rest));) {
                struct id_map_line l;

                if (sscanf(line, "%" SCNu32 " %" SCNu32 " %" SCNu32, &l.inside, &l.outside, &l.count) != 3)
                        return -EPROTO;
                *GROW(o->arena, ret) = l;
        }
        return r;
}

static void namespaces_read(struct observer *o, struct process *p)
{
        for (int i = 0; i < NS_COUNT; i++) {
                struct observed_stat st;
                char path[48];

                snprintf(path, sizeof(path), "/proc/%d/ns/%s", p->pid, ns_names[i]);
                p->ns_error[i] = observe_stat(o, path, &st);
                p->ns[i] = p->ns_error[i] == 0 ? st.ino : 0;
        }
}

int process_read_full(struct observer *o, struct process *p)
{
        struct answer a;
        char path[48];
        int r;

        if (p->full)
                return p->ended ? -ESRCH : 0;
        p->full = true;
        cmdline_read(o, p);
        p->threads_error = threads_read(o, p);
        if (p->fds_error == 0)
                fds_read_full(o, p);
        r = maps_read(o, p, "smaps");
        p->maps_error = r;
        snprintf(path, sizeof(path), "/proc/%d/mountinfo", p->pid);
        p->mounts_error = mount_list_read(o, path, &p->mounts);
        p->cgroups_error = cgroups_read(o, p);
        namespaces_read(o, p);
        p->exe_error = observe(o, &a, "link /proc/%d/exe", p->pid);
        p->exe = a.bytes;
        snprintf(path, sizeof(path), "/proc/%d/exe", p->pid);
        if (p->exe_error == 0)
                p->exe_error = observe_stat(o, path, &p->exe_stat);
        snprintf(path, sizeof(path), "/proc/%d/root", p->pid);
        p->root_error = observe_stat(o, path, &p->root_stat);
        snprintf(path, sizeof(path), "/proc/%d/environ", p->pid);
        p->environ_error = observe_stat(o, path, &p->environ_stat);
        p->uid_map_error = id_map_read(o, p->pid, "uid_map", &p->uid_map, &p->uid_map_text);
        p->gid_map_error = id_map_read(o, p->pid, "gid_map", &p->gid_map, NULL);
        p->limits = observe(o, &a, "read /proc/%d/limits", p->pid) == 0 ? a.bytes : NULL;
        p->ended = p->threads_error == -ESRCH || p->threads_error == -ENOENT;
        return p->ended ? -ESRCH : 0;
}
