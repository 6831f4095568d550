#include "audit/model/host.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/text.h"

static void cpu_read(struct observer *o, struct host *h)
{
        struct answer a;
        struct cpu_set online;
        char *flags, *list;

        if (observe(o, &a, "read /proc/cpuinfo") == 0) {
                flags = text_field(o->arena, a.bytes, "flags\t\t:");
                h->nested_known = flags != NULL;
                h->nested = flags && strstr(arena_printf(o->arena, " %s ", flags), " hypervisor ");
        }
        list = observe_line(o, "/sys/devices/system/cpu/online", NULL);
        if (list && cpu_set_parse(list, &online))
                for (size_t i = 0; i < sizeof(online.bits) / sizeof(online.bits[0]); i++)
                        h->cpus_online += (unsigned int)__builtin_popcountll(online.bits[i]);
}

static void namespaces_read(struct observer *o, struct host *h)
{
        struct observed_stat st;
        char path[48];

        h->ns_of_init = observe_stat(o, "/proc/1/ns/mnt", &st) == 0;
        for (int i = 0; i < NS_COUNT; i++) {
                snprintf(path, sizeof(path), "/proc/%s/ns/%s", h->ns_of_init ? "1" : "self", ns_names[i]);
                h->ns[i] = observe_stat(o, path, &st) == 0 ? st.ino : 0;
        }
        snprintf(path, sizeof(path), "/proc/%s/root", h->ns_of_init ? "1" : "self");
        h->root_error = observe_stat(o, path, &h->root);
}

int host_read(struct observer *o, bool deep, struct host *ret, struct err *e)
{
        struct host h = {.deep = deep};
        struct answer a;
        char *value;
        int r = observe(o, &a, "read /proc/self/status");

        if (r < 0)
                return err_set(e, r, "read /proc/self/status");
        value = text_field(o->arena, a.bytes, "Uid:");
        if (value)
                value += strcspn(value, "\t ");
        h.euid = value ? (uint32_t)strtoul(value, NULL, 10) : UINT32_MAX;
        value = text_field(o->arena, a.bytes, "CapEff:");
        h.caps = value ? strtoull(value, NULL, 16) : 0;
        h.kernel = observe_line(o, "/proc/sys/kernel/osrelease", NULL);
        h.cmdline = observe_line(o, "/proc/cmdline", NULL);
        h.lsm = observe_line(o, "/sys/kernel/security/lsm", NULL);
        if (!h.kernel)
                h.kernel = arena_text(o->arena, "unknown");
        if (observe(o, &a, "read /proc/meminfo") == 0 && (value = text_field(o->arena, a.bytes, "MemTotal:")))
                h.memory_bytes = strtoull(value, NULL, 10) << 10;
        if (observe(o, &a, "read /proc/stat") == 0 && (value = text_field(o->arena, a.bytes, "btime ")))
                h.boot_time = strtoull(value, NULL, 10);
        cpu_read(o, &h);
        namespaces_read(o, &h);
        *ret = h;
        return 0;
}
