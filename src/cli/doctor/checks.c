#include "cli/doctor/checks.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "spec/guest_spec.h"
#include "spec/kvm_needs.h"

#define NEEDS_DEVICE "asked through /dev/kvm, which cannot be opened"

static void answer(struct doctor_answer *ret, enum doctor_result result, const char *detail)
{
        *ret = (struct doctor_answer){.result = result};
        snprintf(ret->detail, sizeof(ret->detail), "%s", detail);
}

static void remedy(struct doctor_answer *ret, const char *text)
{
        snprintf(ret->remedy, sizeof(ret->remedy), "%s", text);
}

static void remedy_permission(const struct doctor_host *host, struct doctor_answer *ret)
{
        char group[64];

        if (host->kvm_group(host->ctx, group, sizeof(group)) < 0)
                remedy(ret, "a group that may use it (chgrp kvm /dev/kvm; chmod 0660 /dev/kvm), or root");
        else
                snprintf(ret->remedy, sizeof(ret->remedy),
                         "membership in group %s (usermod -aG %s USER, and a new login), or root", group, group);
}

static void probe_kvm_device(const struct doctor_host *host, int arg, struct doctor_answer *ret)
{
        int r = host->kvm_open(host->ctx);

        (void)arg;
        answer(ret, r < 0 ? RESULT_MISSING : RESULT_OK, r < 0 ? strerror(-r) : "");
        if (r == -EACCES || r == -EPERM)
                remedy_permission(host, ret);
        else if (r == -ENODEV || r == -ENXIO)
                remedy(ret, "virtualization enabled in the firmware (VT-x, AMD-V), not in use by another hypervisor");
}

static void probe_kvm_api(const struct doctor_host *host, int arg, struct doctor_answer *ret)
{
        int version;

        (void)arg;
        if (host->kvm_open(host->ctx) < 0) {
                answer(ret, RESULT_UNKNOWN, NEEDS_DEVICE);
                return;
        }
        version = host->kvm_api_version(host->ctx);
        answer(ret, version == KVM_API_VERSION ? RESULT_OK : RESULT_MISSING, version < 0 ? strerror(-version) : "");
        if (version >= 0)
                snprintf(ret->detail, sizeof(ret->detail), "version %d", version);
}

static void probe_kvm_need(const struct doctor_host *host, int i, struct doctor_answer *ret)
{
        const struct kvm_need *need = &kvm_needs[i];

        if (host->kvm_open(host->ctx) < 0)
                answer(ret, RESULT_UNKNOWN, NEEDS_DEVICE);
        else
                answer(ret, host->kvm_extension(host->ctx, need->cap) > 0 ? RESULT_OK : RESULT_MISSING, need->why);
}

static void probe_kvm_vcpus(const struct doctor_host *host, int arg, struct doctor_answer *ret)
{
        int max;

        (void)arg;
        if (host->kvm_open(host->ctx) < 0) {
                answer(ret, RESULT_UNKNOWN, NEEDS_DEVICE);
                return;
        }
        max = host->kvm_extension(host->ctx, KVM_CAP_MAX_VCPUS);
        answer(ret, max > 0 ? RESULT_OK : RESULT_MISSING, "");
        if (max > 0)
                snprintf(ret->detail, sizeof(ret->detail), "up to %d in a guest",
                         max > SPEC_VCPUS_MAX ? SPEC_VCPUS_MAX : max);
}

static void probe_guest(const struct doctor_host *host, int probe, struct doctor_answer *ret)
{
        enum guest_result r;

        if (host->kvm_open(host->ctx) < 0) {
                answer(ret, RESULT_UNKNOWN, NEEDS_DEVICE);
                return;
        }
        r = host->guest(host->ctx, (unsigned int)probe);
        if (r == GUEST_RAN || r == GUEST_NOT_OFFERED)
                answer(ret, RESULT_OK, r == GUEST_RAN ? "" : guest_result_text(r));
        else if (r == GUEST_NO_VM && probe != PROBE_LONG_MODE)
                answer(ret, RESULT_UNKNOWN, guest_result_text(r)); /* which tells nothing of the instruction */
        else
                answer(ret, RESULT_MISSING, guest_result_text(r));
}

static void probe_feature(const struct doctor_host *host, int feature, struct doctor_answer *ret)
{
        int r = host->feature(host->ctx, (unsigned int)feature);

        answer(ret, r < 0 ? RESULT_MISSING : RESULT_OK, r < 0 ? strerror(-r) : "");
        /* namespaces(7): ENOSPC, though the kernel has them. */
        if (r == -ENOSPC && feature <= LAYER_TIME_NS) {
                answer(ret, RESULT_MISSING, "the limit on their number is reached");
                remedy(ret, "a higher user.max_*_namespaces (sysctl)");
        }
        if (feature == LAYER_LANDLOCK && r > 0)
                snprintf(ret->detail, sizeof(ret->detail), "ABI %d", r);
}

static const struct doctor_check kvm_checks[] = {
        {"kvm-device", "/dev/kvm", NEEDED_BY_GUESTS, probe_kvm_device, 0,
         "virtualization enabled in the firmware and the module kvm_intel or kvm_amd loaded"},
        {"kvm-api", "KVM API version 12", NEEDED_BY_GUESTS, probe_kvm_api, 0, "Linux 2.6.22 or later"},
        {"kvm-vcpus", "virtual CPUs", NEEDED_BY_GUESTS, probe_kvm_vcpus, 0, "a KVM that runs vCPUs"},
};

/* In the order of PROBE_*. */
static const char *const instructions[PROBE_COUNT] = {
        "a guest in long mode",  "int3",       "iretq",  "popcnt", "cmpxchg16b", "xgetbv",
        "xsetbv, xsave, xrstor", "stac, clac", "rdtscp", "lar",    "verr",       "syscall, sysret",
};
static const char *const instruction_ids[PROBE_COUNT] = {
        "guest-long-mode", "guest-int3", "guest-iretq",  "guest-popcnt", "guest-cmpxchg16b", "guest-xgetbv",
        "guest-xsave",     "guest-smap", "guest-rdtscp", "guest-lar",    "guest-verr",       "guest-syscall",
};

#define LIMITS_REMEDY                                                                                     \
        "the controller under /sys/fs/cgroup, writable by root; for an ordinary user: a systemd session " \
        "(loginctl enable-linger USER) that has it (Delegate= of user@.service)"

static const struct {
        struct doctor_check check;  /* its kind is that for root */
        enum doctor_kind user_kind; /* for an ordinary user */
} other_checks[] = {
        {{"cgroup-memory", "memory limits", NEEDED_BY_GUESTS, probe_feature, FEATURE_CGROUP_MEMORY, LIMITS_REMEDY},
         OPTIONAL},
        {{"cgroup-pids", "process limits", NEEDED_BY_GUESTS, probe_feature, FEATURE_CGROUP_PIDS, LIMITS_REMEDY},
         OPTIONAL},
        {{"cgroup-cpu", "CPU limits", NEEDED_BY_GUESTS, probe_feature, FEATURE_CGROUP_CPU, LIMITS_REMEDY}, OPTIONAL},
        {{"cgroup-io", "I/O limits", NEEDED_BY_GUESTS, probe_feature, FEATURE_CGROUP_IO, LIMITS_REMEDY}, INFORMATIVE},
        {{"memfd-seals", "sealed memory files", NEEDED_BY_GUESTS, probe_feature, FEATURE_MEMFD_SEALS,
          "a kernel with CONFIG_MEMFD_CREATE"},
         NEEDED_BY_GUESTS},
        {{"runtime-directory", "runtime directory", NEEDED_BY_GUESTS, probe_feature, FEATURE_RUNTIME_DIR,
          "a directory that only its owner can write, and can: /run/bulkhead, or $XDG_RUNTIME_DIR/bulkhead"},
         NEEDED_BY_GUESTS},
        {{"subordinate-ids", "subordinate ids", INFORMATIVE, probe_feature, FEATURE_SUBORDINATE_IDS,
          "64 ids or more in /etc/subuid and /etc/subgid: for user bulkhead, else root has a default range; for an "
          "ordinary user by usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST USER"},
         OPTIONAL},
        {{"id-programs", "newuidmap and newgidmap", INFORMATIVE, probe_feature, FEATURE_ID_PROGRAMS,
          "both in /usr/bin (package uidmap or shadow-utils), for ordinary users"},
         OPTIONAL},
        {{"users-namespaces", "user namespaces for ordinary users", INFORMATIVE, probe_feature,
          FEATURE_USERS_NAMESPACES, "sysctl kernel.unprivileged_userns_clone=1 and user.max_user_namespaces > 0"},
         NEEDED_BY_GUESTS},
        {{"users-apparmor", "user namespaces not kept by AppArmor", INFORMATIVE, probe_feature, FEATURE_USERS_APPARMOR,
          "an AppArmor profile with \"userns,\" for bulkhead, or sysctl "
          "kernel.apparmor_restrict_unprivileged_userns=0"},
         NEEDED_BY_GUESTS},
};

/* "cgroup namespace" as "cgroup-namespace". */
static void id_make(char *id, size_t size, const char *title)
{
        size_t n = 0;

        for (; title[n] && n + 1 < size; n++)
                id[n] = (char)(isalnum((unsigned char)title[n]) || title[n] == '_' ? title[n] : '-');
        id[n] = '\0';
}

static enum doctor_kind layer_kind(enum jail_requirement requirement)
{
        return requirement == BY_KERNEL ? OPTIONAL : NEEDED_BY_GUESTS;
}

size_t doctor_checks(bool root, struct doctor_check *list)
{
        size_t n = 0;

        assert(ARRAY_LEN(kvm_checks) + kvm_needs_count + PROBE_COUNT + LAYER_COUNT + ARRAY_LEN(other_checks) <=
               DOCTOR_CHECKS_MAX);
        for (size_t i = 0; i < ARRAY_LEN(kvm_checks); i++)
                list[n++] = kvm_checks[i];
        for (size_t i = 0; i < kvm_needs_count; i++) {
                list[n] = (struct doctor_check){.title = kvm_needs[i].name,
                                                .kind = NEEDED_BY_GUESTS,
                                                .probe = probe_kvm_need,
                                                .arg = (int)i,
                                                .remedy = "a newer kernel"};
                id_make(list[n].id, sizeof(list[n].id), kvm_needs[i].name);
                n++;
        }
        for (int i = 0; i < PROBE_COUNT; i++) {
                list[n] = (struct doctor_check){.title = instructions[i],
                                                .kind = i == PROBE_LONG_MODE ? NEEDED_BY_GUESTS : NEEDED_BY_KERNELS,
                                                .probe = probe_guest,
                                                .arg = i,
                                                .remedy = "a KVM on hardware virtualization (kvm_intel, kvm_amd)"};
                id_make(list[n].id, sizeof(list[n].id), instruction_ids[i]);
                n++;
        }
        for (int i = 0; i < LAYER_COUNT; i++) {
                /* One check for each controller; one for the ids, one for the programs that map them. */
                if (i == LAYER_CGROUP_LIMITS || i == LAYER_OWN_IDS)
                        continue;
                list[n] = (struct doctor_check){.title = jail_layers[i].name,
                                                .kind = layer_kind(jail_layers[i].requirement),
                                                .probe = probe_feature,
                                                .arg = i,
                                                .remedy = jail_layers[i].remedy};
                id_make(list[n].id, sizeof(list[n].id), jail_layers[i].name);
                n++;
        }
        for (size_t i = 0; i < ARRAY_LEN(other_checks); i++) {
                list[n] = other_checks[i].check;
                if (!root)
                        list[n].kind = other_checks[i].user_kind;
                n++;
        }
        return n;
}

void doctor_ask(const struct doctor_host *host, const struct doctor_check *list, size_t count,
                struct doctor_answer *answers, struct doctor_verdict *ret)
{
        struct doctor_verdict v = {.guests = true, .kernels = true};

        for (size_t i = 0; i < count; i++) {
                bool needed = list[i].kind == NEEDED_BY_GUESTS || list[i].kind == NEEDED_BY_KERNELS;

                list[i].probe(host, list[i].arg, &answers[i]);
                if (answers[i].result == RESULT_OK || list[i].kind == INFORMATIVE)
                        continue;
                if (!needed) {
                        v.absent += answers[i].result == RESULT_MISSING;
                        continue;
                }
                v.missing += answers[i].result == RESULT_MISSING;
                v.unknown += answers[i].result == RESULT_UNKNOWN;
                v.kernels = false;
                if (list[i].kind == NEEDED_BY_GUESTS)
                        v.guests = false;
        }
        *ret = v;
}
