/* RAM that ends up on a disk: swapped out, or in a core dump. And RAM that corrects its errors, or does not. */
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/memory.h"
#include "audit/probes/rows.h"
#include "audit/text.h"
#include "base/cleanup.h"

/* ---- MEM-SWAP ---- */

#define SWAPS      "read /proc/swaps"
#define DEPTH_MAX  5 /* devices on top of each other */
#define SLAVES_MAX 64

enum swap_kind { SWAP_NONE, SWAP_MEMORY, SWAP_ENCRYPTED, SWAP_PLAIN };

static const char *const swap_names[] = {"none", "in memory", "encrypted", "not known to be encrypted"};

struct swap {
        int error;
        enum swap_kind worst;
        char *text;  /* raw */
        char *areas; /* a line each, with its kind */
};

/* A device that dm-crypt encrypts, or that lies on such ones alone. */
static bool is_encrypted(struct audit *a, uint64_t dev, unsigned int depth)
{
        char *base = arena_printf(a->arena, "/sys/dev/block/%u:%u", OBSERVED_MAJOR(dev), OBSERVED_MINOR(dev));
        char *uuid = observe_line(a->observer, arena_printf(a->arena, "%s/dm/uuid", base), NULL);
        struct name_list slaves;

        if (uuid && text_has_prefix(uuid, "CRYPT-"))
                return true;
        if (depth == DEPTH_MAX || observe_list(a->observer, arena_printf(a->arena, "%s/slaves", base), &slaves) < 0 ||
            slaves.count == 0 || slaves.count > SLAVES_MAX)
                return false;
        for (size_t i = 0; i < slaves.count; i++) {
                char *number = observe_line(a->observer,
                                            arena_printf(a->arena, "%s/slaves/%s/dev", base, slaves.items[i]), NULL);
                char *end;
                unsigned long major = number ? strtoul(number, &end, 10) : 0;

                if (!number || *end != ':' ||
                    !is_encrypted(a, OBSERVED_DEV(major, strtoul(end + 1, NULL, 10)), depth + 1))
                        return false;
        }
        return true;
}

/* A zram device has no disk behind it unless it was given one. */
static enum swap_kind zram_kind(struct audit *a, const char *path)
{
        struct observed_stat st;
        char *disk = observe_line(a->observer,
                                  arena_printf(a->arena, "/sys/block/%s/backing_dev", path + strlen("/dev/")), NULL);

        if (!disk || strcmp(disk, "none") == 0)
                return SWAP_MEMORY;
        return observe_stat(a->observer, disk, &st) == 0 && is_encrypted(a, st.rdev, 0) ? SWAP_ENCRYPTED : SWAP_PLAIN;
}

static enum swap_kind area_kind(struct audit *a, const char *path, bool file)
{
        struct observed_stat st;

        if (text_has_prefix(path, "/dev/zram"))
                return zram_kind(a, path);
        if (observe_stat(a->observer, path, &st) < 0)
                return SWAP_PLAIN;
        return is_encrypted(a, file ? st.dev : st.rdev, 0) ? SWAP_ENCRYPTED : SWAP_PLAIN;
}

static void swap_read(struct audit *a, struct swap *ret)
{
        struct answer answer;
        char *rest, *line;

        *ret = (struct swap){.areas = arena_text(a->arena, "")};
        ret->error = observe(a->observer, &answer, SWAPS);
        if (ret->error < 0)
                return;
        ret->text = answer.bytes;
        rest = arena_text(a->arena, answer.bytes);
        while ((line = text_next_line(&rest))) {
                char *name = arena_text(a->arena, line), *type;
                enum swap_kind kind;

                if (line[0] != '/')
                        continue; /* the heading */
                name[strcspn(name, " \t")] = '\0';
                type = line + strlen(name);
                kind = area_kind(a, name, text_has_prefix(type + strspn(type, " \t"), "file"));
                ret->worst = kind > ret->worst ? kind : ret->worst;
                ret->areas = arena_printf(a->arena, "%s%s: %s\n", ret->areas, name, swap_names[kind]);
        }
}

/* The cgroup of the unified hierarchy lets its processes swap nothing. */
static bool swap_forbidden(struct audit *a, const struct guest *g, char **ret_question)
{
        const char *cgroup = process_cgroup(g->vmm, "");
        char *max;

        if (!cgroup)
                return false;
        *ret_question = arena_printf(a->arena, "read /sys/fs/cgroup%s/memory.swap.max", cgroup);
        max = observe_line(a->observer, *ret_question + strlen("read "), NULL);
        return max && strcmp(max, "0") == 0;
}

static void swap_guest(struct audit *a, struct guest *g, const struct swap *s)
{
        bool stays = g->ram.count > 0;
        uint64_t swapped_kb = 0;
        char *question = NULL;
        bool known = g->ram.count > 0;
        struct finding *f;

        for (size_t i = 0; i < g->ram.count; i++)
                known = known && g->ram.items[i].mapping->smaps;
        if (s->worst == SWAP_PLAIN && !known) {
                finding_unknown(a, g, g->vmm->maps_error < 0 ? g->vmm->maps_error : -ENODATA,
                                arena_printf(a->arena, "RAM in read /proc/%d/smaps", g->vmm->pid));
                return;
        }
        for (size_t i = 0; i < g->ram.count; i++) {
                const struct mapping *m = g->ram.items[i].mapping;

                swapped_kb += m->swap_kb;
                stays = stays && ((m->vm_flags & VM_LOCKED) || (m->vm_flags & VM_HUGETLB));
        }
        if (s->worst == SWAP_NONE)
                f = finding_add(a, VERDICT_PASS, g, "RAM of %s is never swapped out: this host has no swap space.",
                                GUEST_MARK(a, g));
        else if (s->worst != SWAP_PLAIN)
                f = finding_add(a, VERDICT_PASS, g,
                                "RAM of %s can only be swapped out encrypted, or compressed in memory.",
                                GUEST_MARK(a, g));
        else if (swapped_kb > 0)
                f = finding_add(a, VERDICT_FAIL, g,
                                "%" PRIu64
                                " kB of the RAM of %s are swapped out, on a host with swap space that is not "
                                "known to be encrypted: they outlive the guest on its disk.",
                                swapped_kb, GUEST_MARK(a, g));
        else if (stays || swap_forbidden(a, g, &question))
                f = finding_add(
                        a, VERDICT_PASS, g,
                        "RAM of %s is never swapped out: it is locked, of huge pages, or its cgroup forbids it.",
                        GUEST_MARK(a, g));
        else
                f = finding_add(a, VERDICT_WARN, g,
                                "RAM of %s may be swapped out to where it is not known to be encrypted.",
                                GUEST_MARK(a, g));
        finding_showf(a, f, EVIDENCE_HOST, SWAPS, "%s%s", s->text, s->areas);
        if (g->ram.count > 0)
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/smaps", g->vmm->pid),
                              "RAM: Swap: %" PRIu64 " kB%s", swapped_kb, stays ? ", cannot be swapped" : "");
        if (question)
                finding_showf(a, f, GUEST_OWNER(g), question, "%s", f->verdict == VERDICT_PASS ? "0" : "not 0");
}

void memory_swap_host(struct audit *a)
{
        struct finding *f;
        struct swap s;

        swap_read(a, &s);
        if (s.error < 0) {
                finding_unknown(a, NULL, s.error, SWAPS);
                return;
        }
        f = finding_add(a, s.worst == SWAP_PLAIN ? VERDICT_WARN : VERDICT_PASS, NULL,
                        s.worst == SWAP_PLAIN  ? "This host swaps to where it is not known to be encrypted."
                        : s.worst == SWAP_NONE ? "This host has no swap space."
                                               : "All swap space of this host is encrypted, or in memory.");
        finding_showf(a, f, EVIDENCE_HOST, SWAPS, "%s%s", s.text, s.areas);
        for (size_t i = 0; i < a->inv.guests.count; i++)
                swap_guest(a, a->inv.guests.items[i], &s);
}

/* ---- MEM-CORE ---- */

/* Bits of coredump_filter: core(5). */
static unsigned int filter_bit(const struct mapping *m)
{
        bool shared = m->perms[3] == 's';

        if ((m->vm_flags & VM_HUGETLB))
                return shared ? 6 : 5;
        if (!shared)
                return 0;
        return text_has_suffix(m->name, " (deleted)") || m->ino == 0 ? 1 : 3;
}

struct core {
        char *pattern;
        int error;
        uint64_t limit;
        char *filter;
        uint64_t filter_bits;
};

static bool is_ram_of(const struct guest *g, const struct mapping *m)
{
        for (size_t i = 0; i < g->ram.count; i++) {
                const struct mapping *ram = g->ram.items[i].mapping;

                if (m == ram || (ram->ino && ram->ino == m->ino && ram->dev == m->dev))
                        return true;
        }
        return false;
}

/* The first mapping of RAM that a dump would hold, or NULL. */
static const struct mapping *dumped_find(const struct guest *g, const struct process *p, uint64_t filter)
{
        for (size_t i = 0; i < p->maps.count; i++) {
                const struct mapping *m = &p->maps.items[i];

                if (is_ram_of(g, m) && !(m->vm_flags & VM_DONTDUMP) && (filter >> filter_bit(m) & 1))
                        return m;
        }
        return NULL;
}

#define CORE_LEAST 4096U /* a smaller limit leaves no file: fs/binfmt_elf.c, min_coredump */

/* Where a dump of p goes, as a verdict: nowhere PASS, to a handler or a file WARN, to a file of a shared uid FAIL. */
static enum verdict core_goes(const struct audit *a, const struct guest *g, const struct process *p,
                              const struct core *c)
{
        int near;

        if (c->pattern[0] == '|' || c->pattern[0] == '@')
                return c->pattern[0] == '|' && c->limit == 1 ? VERDICT_PASS : VERDICT_WARN;
        if (c->pattern[0] == '\0' || c->limit < CORE_LEAST)
                return VERDICT_PASS;
        near = memory_neighbour(a, g, memory_uid(p), CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_DAC_READ_SEARCH),
                                LAYER_BIT(LAYER_MAC) | LAYER_BIT(LAYER_MNTNS));
        return near > 0 ? VERDICT_FAIL : near < 0 || memory_uid(p) == UINT32_MAX ? VERDICT_UNKNOWN : VERDICT_WARN;
}

static bool core_limit_read(const struct process *p, uint64_t *ret)
{
        uint64_t hard;

        return p->limits && limit_read(p->limits, "Max core file size", ret, &hard);
}

static enum verdict core_process(struct audit *a, struct finding *f, const struct guest *g, const struct process *p,
                                 struct core *c)
{
        struct answer filter;
        char *question = arena_printf(a->arena, "read /proc/%d/coredump_filter", p->pid);
        enum dumpable d = memory_dumpable(p);
        const struct mapping *m;
        int64_t suid = 2;
        enum verdict v;

        /* A filter that cannot be read is taken for one that lets all through. */
        c->filter_bits =
                observe(a->observer, &filter, "%s", question) < 0 ? UINT64_MAX : strtoull(filter.bytes, NULL, 16);
        m = dumped_find(g, p, c->filter_bits);
        if (!m)
                return VERDICT_PASS;
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/smaps", p->pid),
                      "%" PRIx64 "-%" PRIx64 " %s %s: RAM without dd in VmFlags", m->start, m->end, m->perms,
                      SHOW(a, m->name));
        finding_showf(a, f, GUEST_OWNER(g), question, "%s", filter.error < 0 ? strerror(-filter.error) : filter.bytes);
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "stat /proc/%d/environ", p->pid), "%s",
                      d == DUMPABLE_NO    ? "not dumpable"
                      : d == DUMPABLE_YES ? "dumpable"
                                          : "whether it is dumpable is not known");
        /* One that may be dumped for root alone looks the same, and is with fs.suid_dumpable=2 (core(5)). */
        if (d == DUMPABLE_NO) {
                (void)observe_number(a->observer, "/proc/sys/fs/suid_dumpable", &suid);
                finding_showf(a, f, EVIDENCE_HOST, "read /proc/sys/fs/suid_dumpable", "%s",
                              suid == 0 || suid == 1 ? "0 or 1" : "2, or not known");
                if (suid == 0 || suid == 1)
                        return VERDICT_PASS;
        }
        if (!core_limit_read(p, &c->limit)) {
                finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/limits", p->pid),
                              "not readable");
                return VERDICT_UNKNOWN;
        }
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/limits", p->pid),
                      "Max core file size: %" PRIu64, c->limit);
        v = core_goes(a, g, p, c);
        if (v == VERDICT_PASS || (d != DUMPABLE_NO && p->environ_error == 0))
                return v;
        return VERDICT_UNKNOWN;
}

void memory_core_guest(struct audit *a, struct guest *g)
{
        const struct process *unread = MEMBERS_UNREAD(g, maps_error);
        enum verdict worst = VERDICT_PASS;
        struct core c = {0};
        struct finding *f;

        c.pattern = observe_line(a->observer, "/proc/sys/kernel/core_pattern", &c.error);
        if (!c.pattern || g->ram.count == 0) {
                finding_unknown(a, g,
                                !c.pattern               ? c.error
                                : g->vmm->maps_error < 0 ? g->vmm->maps_error
                                                         : -ENODATA,
                                c.pattern ? arena_printf(a->arena, "RAM in read /proc/%d/smaps", g->vmm->pid)
                                          : "read /proc/sys/kernel/core_pattern");
                return;
        }
        f = finding_add(a, VERDICT_PASS, g, "No core dump of a process of %s holds its RAM.", GUEST_MARK(a, g));
        for (size_t i = 0; i < g->members.count; i++)
                worst = verdict_worse(worst, core_process(a, f, g, g->members.items[i].process, &c));
        if (unread)
                worst = verdict_worse(worst, VERDICT_UNKNOWN);
        if (unread)
                finding_show_error(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/smaps", unread->pid),
                                   unread->maps_error);
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/smaps", g->vmm->pid),
                      "mappings of RAM: %zu, %s", g->ram.count,
                      dumped_find(g, g->vmm, UINT64_MAX) ? "not all of them with dd in VmFlags"
                                                         : "all with dd in VmFlags");
        finding_showf(a, f, EVIDENCE_HOST, "read /proc/sys/kernel/core_pattern", "%s", c.pattern);
        f->verdict = f->unsoftened = worst;
        if (worst == VERDICT_FAIL)
                f->text = arena_printf(
                        a->arena,
                        "When a process of %s crashes, its RAM goes into a file that belongs to a user whom another "
                        "guest has, too.",
                        GUEST_MARK(a, g));
        else if (worst == VERDICT_WARN)
                f->text = arena_printf(
                        a->arena,
                        "When a process of %s crashes, its RAM is written to the host's disk, or handed to the host's "
                        "crash handler.",
                        GUEST_MARK(a, g));
        else if (worst == VERDICT_UNKNOWN) {
                f->text = arena_printf(a->arena, "Whether a crash of %s writes its RAM out could not be determined.",
                                       GUEST_MARK(a, g));
                f->needs = a->check->needs;
        }
}

/* ---- MEM-ECC ---- */

#define EDAC "/sys/devices/system/edac/mc"

struct ecc {
        size_t controllers;
        int64_t corrected, uncorrected;
        bool without; /* modules that correct nothing */
        bool unknown; /* a module or a count that was not told */
        char *text;
};

static void modules_read(struct audit *a, const char *base, struct ecc *e)
{
        static const char *const kinds[][2] = {{"dimm", "dimm_edac_mode"},
                                               {"rank", "dimm_edac_mode"},
                                               {"csrow", "edac_mode"}};
        struct name_list names = {0};
        size_t seen = 0;

        (void)observe_list(a->observer, base, &names);
        for (size_t k = 0; k < ARRAY_LEN(kinds) && seen == 0; k++) /* each names all modules in its own way */
                for (size_t i = 0; i < names.count; i++) {
                        const char *name = names.items[i];
                        char *mode;

                        if (!text_has_prefix(name, kinds[k][0]) || name[strlen(kinds[k][0])] < '0' ||
                            name[strlen(kinds[k][0])] > '9')
                                continue;
                        mode = observe_line(a->observer, arena_printf(a->arena, "%s/%s/%s", base, name, kinds[k][1]),
                                            NULL);
                        seen++;
                        e->without = e->without || (mode && strcmp(mode, "None") == 0);
                        e->unknown = e->unknown || !mode || strcmp(mode, "Unknown") == 0;
                        e->text = arena_printf(a->arena, "%s %s: %s;", e->text, name, mode ? mode : "not known");
                }
        e->unknown = e->unknown || seen == 0;
}

static void controller_read(struct audit *a, const char *name, struct ecc *e)
{
        char *base = arena_printf(a->arena, EDAC "/%s", name), *kind;
        int64_t corrected = 0, uncorrected = 0;

        kind = observe_line(a->observer, arena_printf(a->arena, "%s/mc_name", base), NULL);
        e->unknown = observe_number(a->observer, arena_printf(a->arena, "%s/ce_count", base), &corrected) < 0 ||
                     observe_number(a->observer, arena_printf(a->arena, "%s/ue_count", base), &uncorrected) < 0 ||
                     e->unknown;
        e->controllers++;
        e->corrected += corrected;
        e->uncorrected += uncorrected;
        e->text = arena_printf(a->arena, "%s%s %s: ce_count %" PRId64 ", ue_count %" PRId64 ";", e->text, name,
                               kind ? kind : "?", corrected, uncorrected);
        modules_read(a, base, e);
        e->text = arena_printf(a->arena, "%s\n", e->text);
}

void memory_ecc_host(struct audit *a)
{
        struct ecc e = {.text = arena_text(a->arena, "")};
        struct name_list names = {0};
        struct finding *f;
        int r;

        if (a->host.nested) {
                f = finding_add(a, VERDICT_UNKNOWN, NULL,
                                "This host is itself a virtual machine: the memory modules are those of the host "
                                "below it.");
                f->needs = "to run on the outermost host";
                finding_showf(a, f, EVIDENCE_HOST, "CPUID.1:ECX[31]", "1");
                return;
        }
        r = observe_list(a->observer, EDAC, &names);
        for (size_t i = 0; r == 0 && i < names.count; i++)
                if (text_has_prefix(names.items[i], "mc") && names.items[i][2] >= '0' && names.items[i][2] <= '9')
                        controller_read(a, names.items[i], &e);
        if (e.controllers == 0) {
                f = finding_add(a, VERDICT_UNKNOWN, NULL,
                                "Whether this host's memory corrects errors cannot be seen: no driver for its memory "
                                "controller is loaded.");
                f->needs = "an EDAC driver for the memory controller";
                if (r < 0)
                        finding_show_error(a, f, EVIDENCE_HOST, "list " EDAC, r);
                else
                        finding_showf(a, f, EVIDENCE_HOST, "list " EDAC, "no controller");
                return;
        }
        if (e.without)
                f = finding_add(
                        a, VERDICT_WARN, NULL,
                        "Memory of this host corrects no errors: a guest that flips bits in its neighbour's rows "
                        "is not noticed.");
        else if (e.corrected > 0 || e.uncorrected > 0)
                f = finding_add(a, VERDICT_WARN, NULL,
                                "Memory of this host has had errors: a module fails, or somebody hammers its rows.");
        else if (e.unknown) {
                f = finding_add(
                        a, VERDICT_UNKNOWN, NULL,
                        "Whether all memory of this host corrects errors, and how many there were, is not told.");
                f->needs = "an EDAC driver that knows the memory modules";
        } else
                f = finding_add(a, VERDICT_PASS, NULL, "Memory of this host corrects errors, and has had none.");
        finding_show(a, f, EVIDENCE_HOST, "mc_name, edac_mode, ce_count, ue_count below " EDAC, e.text, strlen(e.text));
}
