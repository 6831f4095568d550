/* Finds the guests. See guests.h. */
#include "audit/model/guests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/model/identify.h"
#include "audit/model/ram.h"
#include "audit/model/sockets.h"
#include "audit/text.h"
#include "base/number.h"

static bool is_vcpu_mapping(const struct mapping *m)
{
        return text_has_prefix(m->name, "anon_inode:kvm-vcpu:");
}

static bool holds_vcpu_mapping(const struct process *p)
{
        for (size_t i = 0; i < p->maps.count; i++)
                if (is_vcpu_mapping(&p->maps.items[i]))
                        return true;
        return false;
}

static bool holds_fd(const struct process *p, enum fd_kind kind)
{
        for (size_t i = 0; i < p->fds.count; i++)
                if (p->fds.items[i].kind == kind)
                        return true;
        return false;
}

/* KVM's worker that gives huge pages back, since Linux 6.14 a thread of the process whose virtual machine it is for
 * (arch/x86/kvm/mmu/mmu.c). */
#define KVM_WORKER_STAT "(kvm-nx-lpage-re"
#define PF_USER_WORKER  0x00004000U /* include/linux/sched.h: no program can make one */

static bool has_kvm_worker(struct observer *o, const struct process *p)
{
        struct name_list tids;
        struct answer a;
        uint64_t flags;
        char *path = arena_printf(o->arena, "/proc/%d/task", p->pid), *name;

        if (observe_list(o, path, &tids) < 0)
                return false;
        for (size_t i = 1; i < tids.count; i++)
                if (observe(o, &a, "read %s/%s/stat", path, tids.items[i]) == 0 && (name = strchr(a.bytes, '(')) &&
                    text_has_prefix(name, KVM_WORKER_STAT) && stat_field(a.bytes, 9, &flags) &&
                    (flags & PF_USER_WORKER))
                        return true;
        return false;
}

/* What can be seen without privilege: the time that its threads have spent in guest code (proc(5), guest_time), or that
 * the kernel works for a virtual machine of its. */
static bool has_run_guest(struct observer *o, const struct process *p)
{
        struct answer a;
        uint64_t ticks;

        return observe(o, &a, "read /proc/%d/stat", p->pid) == 0 &&
               ((stat_field(a.bytes, 43, &ticks) && ticks > 0) || has_kvm_worker(o, p));
}

static int processes_read(struct observer *o, struct inventory *inv, struct err *e)
{
        struct name_list names;
        int r = observe_list(o, "/proc", &names);

        if (r < 0)
                return err_set(e, r, "list the processes in /proc");
        for (size_t i = 0; i < names.count; i++) {
                struct process *p;
                uint64_t pid;

                if (number_parse(names.items[i], INT32_MAX, &pid) < 0)
                        continue;
                p = arena_alloc(o->arena, sizeof(*p));
                r = process_read_brief(o, (pid_t)pid, p);
                if (r == -ESRCH)
                        continue;
                if (r < 0) { /* hidepid=, or somebody's policy: no reason to say nothing of the others */
                        inv->unreadable++;
                        continue;
                }
                if (p->kernel_thread) {
                        *GROW(o->arena, &inv->kernel_threads) = p;
                        observe_forget(o, p->pid);
                        continue;
                }
                inv->unreadable += p->fds_error < 0;
                *GROW(o->arena, &inv->processes) = p;
        }
        return 0;
}

/* ---- virtual machines and their processors ---- */

struct holder_list {
        struct vm_holder *items;
        size_t count, room;
};

/* -1, 0, 1: the kernel's order of the open files behind two descriptors; those with different names are different. */
static int holder_order(struct observer *o, struct inventory *inv, const struct vm_holder *x, const struct vm_holder *y)
{
        struct answer a;
        int r = strcmp(x->link, y->link);

        if (r != 0)
                return r;
        r = observe(o, &a, "kcmp %d %d %d %d", x->process->pid, x->fd, y->process->pid, y->fd);
        if (r < 0) {
                if (r != -ESRCH && r != -EBADF) /* ended, or closed meanwhile */
                        inv->kcmp_error = r;
                return x->process->pid != y->process->pid ? (x->process->pid > y->process->pid) * 2 - 1
                                                          : (x->fd > y->fd) * 2 - 1;
        }
        return a.bytes[0] == '0' ? 0 : a.bytes[0] == '1' ? -1 : 1;
}

/* Merge sort: about n log n questions, and holders of one file end up side by side. */
static void holders_sort(struct observer *o, struct inventory *inv, struct vm_holder *items, struct vm_holder *spare,
                         size_t n)
{
        size_t half = n / 2, i = 0, k = half;

        if (n < 2)
                return;
        holders_sort(o, inv, items, spare, half);
        holders_sort(o, inv, items + half, spare, n - half);
        for (size_t out = 0; out < n; out++) {
                bool left = k == n || (i < half && holder_order(o, inv, &items[i], &items[k]) <= 0);

                spare[out] = left ? items[i++] : items[k++];
        }
        memcpy(items, spare, n * sizeof(items[0]));
}

/* Every open file of that kind with its holders. */
static void files_read(struct observer *o, struct inventory *inv, enum fd_kind kind, struct vm_list *ret)
{
        struct holder_list all = {0};
        struct vm_file *file = NULL;

        for (size_t i = 0; i < inv->processes.count; i++) {
                struct process *p = inv->processes.items[i];

                for (size_t k = 0; k < p->fds.count; k++)
                        if (p->fds.items[k].kind == kind)
                                *GROW(o->arena, &all) = (struct vm_holder){.process = p,
                                                                           .fd = p->fds.items[k].number,
                                                                           .link = p->fds.items[k].link};
        }
        holders_sort(o, inv, all.items, arena_array(o->arena, all.count, sizeof(all.items[0])), all.count);
        for (size_t i = 0; i < all.count; i++) {
                struct process *p = all.items[i].process;

                if (!file || holder_order(o, inv, &file->items[0], &all.items[i]) != 0) {
                        file = arena_alloc(o->arena, sizeof(*file));
                        *GROW(o->arena, ret) = file;
                }
                if (kind == FD_KVM_VM && (file->count == 0 || file->items[file->count - 1].process != p))
                        p->vms_held++;
                *GROW(o->arena, file) = all.items[i];
        }
}

/* How likely a holder is the process that made the file, and so the only one that can run it: that has virtual
 * processors mapped, and descriptors of them, holds this one machine only, and has run guest code. */
static unsigned int claim_of(struct observer *o, const struct process *p)
{
        return holds_vcpu_mapping(p) * 8U + holds_fd(p, FD_KVM_VCPU) * 4U + (p->vms_held == 1) * 2U +
               has_run_guest(o, p);
}

static bool is_contested(const struct vm_file *f)
{
        return f->items[0].process != f->items[f->count - 1].process; /* they are in the order of pids */
}

/* Puts the best claim first; of equal ones that of a parent, then of the lowest pid. */
static void owner_first(struct observer *o, struct vm_file *f)
{
        unsigned int best = 0;
        size_t owner = 0;
        struct vm_holder first;

        for (size_t i = 0; i < f->count && is_contested(f); i++) {
                unsigned int claim = claim_of(o, f->items[i].process);

                if (claim > best || (claim == best && f->items[owner].process->ppid == f->items[i].process->pid)) {
                        best = claim;
                        owner = i;
                }
        }
        first = f->items[owner];
        f->items[owner] = f->items[0];
        f->items[0] = first;
}

/* Who holds virtual processors, and whose they are: those of equal claim all have them, so that no guest vanishes
 * because another process poses as its monitor. */
static void vcpus_read(struct observer *o, struct inventory *inv)
{
        files_read(o, inv, FD_KVM_VCPU, &inv->vcpus);
        for (size_t i = 0; i < inv->vcpus.count; i++) {
                struct vm_file *f = inv->vcpus.items[i];
                bool contested = is_contested(f);
                struct process *owner;

                owner_first(o, f);
                owner = f->items[0].process;
                owner->owns_vcpu = true;
                for (size_t k = 1; k < f->count && contested; k++) {
                        struct process *p = f->items[k].process;

                        if (p->ppid != owner->pid && claim_of(o, p) == claim_of(o, owner))
                                p->owns_vcpu = true;
                }
        }
}

/* Mappings of virtual processors without a descriptor to tell by whose they are. */
static bool maps_untold_vcpu(const struct process *p)
{
        size_t mapped = 0, held = 0;

        for (size_t i = 0; i < p->maps.count; i++)
                mapped += is_vcpu_mapping(&p->maps.items[i]) && p->maps.items[i].offset == 0;
        for (size_t i = 0; i < p->fds.count; i++)
                held += p->fds.items[i].kind == FD_KVM_VCPU;
        return mapped > held;
}

static bool is_vmm(const struct process *p)
{
        return p->guest && p->guest->vmm == p;
}

static struct guest *guest_add(struct observer *o, struct inventory *inv, struct process *p)
{
        struct guest *g = arena_alloc(o->arena, sizeof(*g));

        g->vmm = p;
        p->guest = g;
        *GROW(o->arena, &g->members) = (struct member){.process = p, .role = MEMBER_VMM};
        *GROW(o->arena, &inv->guests) = g;
        return g;
}

static void guests_find(struct observer *o, struct inventory *inv)
{
        files_read(o, inv, FD_KVM_VM, &inv->vms);
        vcpus_read(o, inv);
        for (size_t i = 0; i < inv->vms.count; i++) {
                struct vm_file *vm = inv->vms.items[i];
                struct process *owner;

                owner_first(o, vm);
                owner = vm->items[0].process;
                vm->guest = is_vmm(owner) ? owner->guest : guest_add(o, inv, owner);
                vm->guest->vms++;
        }
        for (size_t i = 0; i < inv->processes.count; i++) {
                struct process *p = inv->processes.items[i];

                inv->untold_vcpus += maps_untold_vcpu(p);
                if (is_vmm(p))
                        continue;
                /* A monitor may have closed the descriptor: its vCPUs' memory still holds the machine. But who has
                 * only another's is a stranger. */
                if (holds_vcpu_mapping(p) && (p->owns_vcpu || !holds_fd(p, FD_KVM_VCPU))) {
                        struct vm_file *vm = arena_alloc(o->arena, sizeof(*vm));

                        *GROW(o->arena, vm) = (struct vm_holder){.process = p, .fd = -1};
                        *GROW(o->arena, &inv->vms) = vm;
                        vm->guest = guest_add(o, inv, p);
                        vm->guest->vms++;
                } else if ((p->fds_error < 0 || p->maps_error < 0) && has_run_guest(o, p))
                        guest_add(o, inv, p);
        }
        for (size_t i = 0; i < inv->vcpus.count; i++) {
                struct process *owner = inv->vcpus.items[i]->items[0].process;

                inv->vcpus.items[i]->guest = is_vmm(owner) ? owner->guest : NULL;
        }
}

/* ---- what belongs to a guest ---- */

static uint64_t pidns_of(struct observer *o, const struct process *p)
{
        struct observed_stat st;
        char path[48];

        snprintf(path, sizeof(path), "/proc/%d/ns/pid", p->pid);
        return observe_stat(o, path, &st) == 0 ? st.ino : 0;
}

struct pidns_entry {
        uint64_t ns;
        struct guest *guest;
};

struct pidns_list {
        struct pidns_entry *items;
        size_t count, room;
};

static int by_ns(const void *a, const void *b)
{
        uint64_t x = ((const struct pidns_entry *)a)->ns, y = ((const struct pidns_entry *)b)->ns;

        return (x > y) - (x < y);
}

static void member_add(struct observer *o, struct guest *g, struct process *p, enum member_role role)
{
        p->guest = g;
        *GROW(o->arena, &g->members) = (struct member){.process = p, .role = role};
}

#define ANCESTORS_MAX 16 /* pids that are used again can make a circle */

/* The guest whose monitor is an ancestor, as far as the chain of parents tells. */
static struct guest *guest_of_ancestors(const struct inventory *inv, const struct process *p)
{
        for (int i = 0; p && i < ANCESTORS_MAX; i++) {
                p = inventory_process(inv, p->ppid);
                if (p && is_vmm(p))
                        return p->guest;
        }
        return NULL;
}

/* Descendants of a VMM, and whoever shares its PID namespace where that is not the host's, nor another VMM's. */
static void members_find(struct observer *o, const struct host *h, struct inventory *inv)
{
        struct pidns_list spaces = {0};

        for (size_t i = 0; i < inv->guests.count; i++) {
                struct guest *g = inv->guests.items[i];
                uint64_t ns = pidns_of(o, g->vmm);

                if (ns && ns != h->ns[NS_PID])
                        *GROW(o->arena, &spaces) = (struct pidns_entry){.ns = ns, .guest = g};
        }
        if (spaces.count > 0)
                qsort(spaces.items, spaces.count, sizeof(spaces.items[0]), by_ns);
        for (size_t i = 0; i < inv->processes.count; i++) {
                struct process *p = inv->processes.items[i];
                const struct pidns_entry *space, *last;
                struct guest *g = p->guest ? NULL : guest_of_ancestors(inv, p);
                struct pidns_entry key = {0};

                if (p->guest)
                        continue;
                if (g) {
                        member_add(o, g, p, MEMBER_CHILD);
                        continue;
                }
                key.ns = spaces.count ? pidns_of(o, p) : 0;
                space = key.ns ? bsearch(&key, spaces.items, spaces.count, sizeof(key), by_ns) : NULL;
                last = space ? &spaces.items[spaces.count - 1] : NULL;
                if (space && (space == spaces.items || space[-1].ns != key.ns) &&
                    (space == last || space[1].ns != key.ns))
                        member_add(o, space->guest, p, MEMBER_JAILED);
        }
}

struct ram_object {
        uint64_t dev, ino;
        struct guest *guest;
};

struct ram_object_list {
        struct ram_object *items;
        size_t count, room;
};

static int by_object(const void *a, const void *b)
{
        const struct ram_object *x = a, *y = b;

        if (x->dev != y->dev)
                return x->dev < y->dev ? -1 : 1;
        return (x->ino > y->ino) - (x->ino < y->ino);
}

/* vhost-user: who maps a guest's RAM and is connected with the monitor. Whoever else has it is a stranger. */
static void backends_find(struct observer *o, const struct host *h, struct inventory *inv)
{
        struct ram_object_list objects = {0};
        struct unix_sockets *sockets = NULL;

        for (size_t i = 0; i < inv->guests.count; i++) {
                const struct ram_list *ram = &inv->guests.items[i]->ram;

                for (size_t k = 0; k < ram->count; k++)
                        if (ram->items[k].mapping->perms[3] == 's' && ram->items[k].mapping->ino)
                                *GROW(o->arena, &objects) =
                                        (struct ram_object){ram->items[k].mapping->dev, ram->items[k].mapping->ino,
                                                            inv->guests.items[i]};
        }
        if (objects.count == 0)
                return;
        qsort(objects.items, objects.count, sizeof(objects.items[0]), by_object);
        for (size_t i = 0; i < inv->processes.count; i++) {
                struct process *p = inv->processes.items[i];

                for (size_t k = 0; !p->guest && k < p->maps.count && holds_fd(p, FD_SOCKET); k++) {
                        const struct ram_object key = {.dev = p->maps.items[k].dev, .ino = p->maps.items[k].ino};
                        const struct ram_object *found =
                                bsearch(&key, objects.items, objects.count, sizeof(key), by_object);

                        if (!found)
                                continue;
                        if (!sockets) {
                                sockets = arena_alloc(o->arena, sizeof(*sockets));
                                unix_sockets_read(o, h, inv, sockets);
                        }
                        if (unix_sockets_connect(sockets, p, found->guest->vmm))
                                member_add(o, found->guest, p, MEMBER_BACKEND);
                }
        }
}

static int by_name(const void *a, const void *b)
{
        const struct guest *x = *(struct guest *const *)a, *y = *(struct guest *const *)b;
        int order = strcmp(x->name, y->name);

        return order ? order : (x->vmm->pid > y->vmm->pid) - (x->vmm->pid < y->vmm->pid);
}

static bool same_name(const struct guest_list *l, size_t x, size_t y)
{
        return x < l->count && y < l->count && strcmp(l->items[x]->name, l->items[y]->name) == 0;
}

/* All of one name get their pid behind it: none may pass for the one that had it first. Again, where another calls
 * itself just so. */
static void names_make_unique(struct observer *o, struct guest_list *l)
{
        bool *twin = arena_array(o->arena, l->count, sizeof(*twin)), any = l->count > 0;

        while (any) {
                any = false;
                qsort(l->items, l->count, sizeof(l->items[0]), by_name);
                for (size_t i = 0; i < l->count; i++)
                        any |= twin[i] = same_name(l, i, i - 1) || same_name(l, i, i + 1);
                for (size_t i = 0; i < l->count; i++)
                        if (twin[i])
                                l->items[i]->name =
                                        arena_printf(o->arena, "%s (pid %d)", l->items[i]->name, l->items[i]->vmm->pid);
        }
        for (size_t i = 0; i < l->count; i++)
                l->items[i]->index = i;
}

static void ended_forget(struct vm_list *files)
{
        for (size_t i = 0; i < files->count; i++)
                if (files->items[i]->guest && files->items[i]->guest->ended)
                        files->items[i]->guest = NULL;
}

int inventory_read(struct observer *o, const struct host *h, struct inventory *ret, struct err *e)
{
        struct inventory inv = {0};
        int r = processes_read(o, &inv, e);
        size_t kept = 0;

        if (r < 0)
                return r;
        guests_find(o, &inv);
        members_find(o, h, &inv);
        for (size_t i = 0; i < inv.guests.count; i++) {
                struct guest *g = inv.guests.items[i];

                g->ended = process_read_full(o, g->vmm) == -ESRCH;
                if (g->ended) { /* meanwhile: its other processes belong to nobody now */
                        for (size_t k = 0; k < g->members.count; k++)
                                g->members.items[k].process->guest = NULL;
                        continue;
                }
                guest_ram_find(o, g);
                for (size_t k = 1; k < g->members.count; k++)
                        process_read_full(o, g->members.items[k].process);
                inv.guests.items[kept++] = g;
        }
        inv.guests.count = kept;
        ended_forget(&inv.vms);
        ended_forget(&inv.vcpus);
        backends_find(o, h, &inv);
        for (size_t i = 0; i < inv.guests.count; i++) {
                struct guest *g = inv.guests.items[i];
                size_t members = 1;

                for (size_t k = 1; k < g->members.count; k++)
                        if (process_read_full(o, g->members.items[k].process) != -ESRCH)
                                g->members.items[members++] = g->members.items[k];
                        else
                                g->members.items[k].process->guest = NULL;
                g->members.count = members;
                for (size_t k = 0; k < g->vmm->threads.count; k++)
                        g->vcpus += g->vmm->threads.items[k].is_vcpu;
                guest_identify(o, &inv, g);
        }
        names_make_unique(o, &inv.guests);
        *ret = inv;
        return 0;
}

size_t inventory_vms(const struct inventory *inv)
{
        size_t n = inv->vms.count;

        for (size_t i = 0; i < inv->guests.count; i++)
                n += inv->guests.items[i]->vms == 0; /* known by its guest time only */
        return n;
}

int inventory_count_vms(struct observer *o, struct inventory *ret, struct err *e)
{
        int r;

        *ret = (struct inventory){0};
        r = processes_read(o, ret, e);
        if (r == 0)
                guests_find(o, ret);
        return r;
}

static int by_pid(const void *key, const void *item)
{
        pid_t x = *(const pid_t *)key, y = (*(struct process *const *)item)->pid;

        return (x > y) - (x < y);
}

struct process *inventory_process(const struct inventory *inv, pid_t pid)
{
        /* /proc was listed in the order of its numbers. */
        struct process **found = inv->processes.count ? bsearch(&pid, inv->processes.items, inv->processes.count,
                                                                sizeof(inv->processes.items[0]), by_pid)
                                                      : NULL;

        return found ? *found : NULL;
}
