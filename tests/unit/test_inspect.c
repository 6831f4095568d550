/* The judgement of each layer: one defect in the facts must contradict exactly its layer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/inspect/layers.h"
#include "jail/jail.h"
#include "spec/device_fds.h"
#include "spec/vmm_fds.h"

#define HOST_ID 0x70000000U

/* A guest in whose jail every layer is claimed and found, as far as the kernel shows it. */
static struct inspect_facts facts;
static struct guest_state claims;

static void guest_make_whole(void)
{
        static const uint64_t limits[LIMIT_COUNT] = {[LIMIT_NOFILE] = VMM_FD_LIMIT, [LIMIT_NPROC] = 7};

        memset(&facts, 0, sizeof(facts));
        claims = (struct guest_state){.layers = LAYERS_ALL,
                                      .landlock_abi = 6,
                                      .ids = {HOST_ID, HOST_ID, JAIL_IDS_PER_GUEST}};
        facts.pid = 100;
        for (int i = 0; i < NS_COUNT; i++)
                facts.ns[i] = (struct ns_facts){.guest = 10 + (uint64_t)i, .own = 1, .init = 1};
        facts.thread_count = 3;
        for (size_t i = 0; i < facts.thread_count; i++) {
                struct thread_facts *t = &facts.threads[i];

                *t = (struct thread_facts){.tid = 100 + (pid_t)i,
                                           .pid_inside = i == 0 ? 1 : 1 + (int64_t)i,
                                           .no_new_privs = 1,
                                           .seccomp_mode = 2,
                                           .seccomp_filters = 2,
                                           .store_bypass = "thread force mitigated",
                                           .indirect_branch = "conditional force disabled"};
                for (int k = 0; k < 4; k++)
                        t->uids[k] = t->gids[k] = HOST_ID;
        }
        facts.fds_known = true;
        facts.fd_count = 2;
        facts.fds[0] = (struct fd_facts){.number = 0, .kind = FD_NULL};
        facts.fds[1] = (struct fd_facts){.number = VMM_FD_VM, .kind = FD_KVM_VM};
        facts.root = (struct root_facts){
                .mounts = 1, .fs_type = "tmpfs", .mount_read_only = true, .fs_read_only = true, .at_root = true};
        for (int i = 0; i < LIMIT_COUNT; i++)
                facts.limits[i] = (struct limit_facts){limits[i], limits[i]};
        facts.oom_score_adj = 500;
        facts.memory.merge_any = MERGE_ANY_NO;
        facts.inside = (struct inside_facts){.net_known = true, .interfaces = 1, .sysctls_known = true};
        facts.core_cookie_known = true;
        facts.core_cookie = 42;
        for (size_t i = 0; i < CGROUP_PARTS; i++) {
                facts.cgroup.parts[i].controller = "memory";
                facts.cgroup.parts[i].of_guest = facts.cgroup.parts[i].limited = true;
        }
        facts.cgroup.swap_limited = true;
}

static const enum jail_layer attested[] = {LAYER_MEMFD_NOEXEC, LAYER_MDWE, LAYER_LANDLOCK};

static bool is_attested(int layer)
{
        for (size_t i = 0; i < ARRAY_LEN(attested); i++)
                if (layer == (int)attested[i])
                        return true;
        return false;
}

static enum layer_verdict verdict_of(int layer)
{
        struct layer_view v;

        const struct layer_claim claim = layer_claim_vmm(&claims);

        layer_judge((enum jail_layer)layer, &claim, &facts, &v);
        return v.verdict;
}

static void test_whole_guest(void **state)
{
        (void)state;
        guest_make_whole();
        for (int i = 0; i < LAYER_COUNT; i++)
                assert_int_equal(verdict_of(i), is_attested(i) ? LAYER_ATTESTED : LAYER_IN_FORCE);
}

/* Defects: number n of a layer; false when there is no such. */
static bool break_namespace(enum ns_kind kind, unsigned int n)
{
        if (n == 0)
                facts.ns[kind].guest = facts.ns[kind].own;
        if (n == 1)
                facts.ns[kind].guest = facts.ns[kind].init = 77;
        if (n == 2 && kind == NS_PID)
                facts.threads[0].pid_inside = 2;
        return n < (kind == NS_PID ? 3U : 2U);
}

static bool break_cgroup(unsigned int n)
{
        if (n < CGROUP_PARTS)
                facts.cgroup.parts[n].of_guest = false;
        else if (n < 2 * CGROUP_PARTS)
                facts.cgroup.parts[n - CGROUP_PARTS].limited = false;
        else
                facts.cgroup.swap_limited = false;
        return n <= 2 * CGROUP_PARTS;
}

static bool break_fds(unsigned int n)
{
        static const struct fd_facts bad[] = {{5, FD_FILE}, {5, FD_OTHER_ANON}, {VMM_FD_LIMIT, FD_SOCKET}};

        if (n < ARRAY_LEN(bad))
                facts.fds[facts.fd_count++] = bad[n];
        return n < ARRAY_LEN(bad);
}

static bool break_root(unsigned int n)
{
        struct root_facts *r = &facts.root;

        switch (n) {
        case 0:
                r->mounts = 2;
                return true;
        case 1:
                r->mount_read_only = false;
                return true;
        case 2:
                r->fs_read_only = false;
                return true;
        case 3:
                r->at_root = false;
                return true;
        case 4:
                snprintf(r->fs_type, sizeof(r->fs_type), "ext4");
                return true;
        default:
                return false;
        }
}

static bool break_limits(unsigned int n)
{
        if (n < LIMIT_COUNT)
                facts.limits[n].hard = LIMIT_UNLIMITED;
        else
                facts.oom_score_adj = 0;
        return n <= LIMIT_COUNT;
}

/* Each of them in the last thread only: one thread is enough. */
static bool break_ids(unsigned int n)
{
        struct thread_facts *t = &facts.threads[facts.thread_count - 1];

        if (n < 4)
                t->uids[n] = 0;
        else if (n < 8)
                t->gids[n - 4] = HOST_ID + JAIL_IDS_PER_GUEST;
        else if (n < 8 + CAPS_COUNT)
                t->caps[n - 8] = 1ULL << 40;
        return n < 8 + CAPS_COUNT;
}

static bool break_own_ids(unsigned int n)
{
        if (n == 0)
                facts.threads[facts.thread_count - 1].groups = 1;
        if (n == 1)
                claims.ids.count = 1;
        return n < 2;
}

static bool break_network(unsigned int n)
{
        if (n == 0)
                facts.inside.loopback_up = true;
        if (n == 1)
                facts.inside.interfaces = 2;
        return n < 2;
}

static bool break_merging(unsigned int n)
{
        if (n == 0)
                facts.memory.mergeable = 1;
        if (n == 1)
                facts.memory.merge_any = MERGE_ANY_YES;
        return n < 2;
}

static bool break_cookie(unsigned int n)
{
        if (n == 0)
                facts.core_cookie = 0;
        if (n == 1)
                facts.own_core_cookie = facts.core_cookie;
        return n < 2;
}

static bool break_layer(enum jail_layer layer, unsigned int n)
{
        struct thread_facts *last = &facts.threads[facts.thread_count - 1];

        switch (layer) {
        case LAYER_USER_NS:
                return break_namespace(NS_USER, n);
        case LAYER_PID_NS:
                return break_namespace(NS_PID, n);
        case LAYER_MOUNT_NS:
                return break_namespace(NS_MNT, n);
        case LAYER_NET_NS:
                return break_namespace(NS_NET, n);
        case LAYER_IPC_NS:
                return break_namespace(NS_IPC, n);
        case LAYER_UTS_NS:
                return break_namespace(NS_UTS, n);
        case LAYER_CGROUP_NS:
                return break_namespace(NS_CGROUP, n);
        case LAYER_TIME_NS:
                return break_namespace(NS_TIME, n);
        case LAYER_CGROUP_LIMITS:
                return break_cgroup(n);
        case LAYER_FDS:
                return break_fds(n);
        case LAYER_ROOT:
                return break_root(n);
        case LAYER_NET_EMPTY:
                return break_network(n);
        case LAYER_LIMITS:
                return break_limits(n);
        case LAYER_NO_NEW_NS:
                facts.inside.namespaces_allowed = 1;
                return n < 1;
        case LAYER_STORE_BYPASS:
                snprintf(last->store_bypass, sizeof(last->store_bypass), "thread vulnerable");
                return n < 1;
        case LAYER_INDIRECT_BRANCH:
                snprintf(last->indirect_branch, sizeof(last->indirect_branch), "conditional enabled");
                return n < 1;
        case LAYER_CORE_SCHED:
                return break_cookie(n);
        case LAYER_NO_MERGE:
                return break_merging(n);
        case LAYER_IDS:
                return break_ids(n);
        case LAYER_OWN_IDS:
                return break_own_ids(n);
        case LAYER_NO_NEW_PRIVS:
                last->no_new_privs = 0;
                return n < 1;
        case LAYER_SECCOMP:
                last->seccomp_mode = 0;
                return n < 1;
        case LAYER_DUMPABLE:
                facts.owner = HOST_ID;
                return n < 1;
        case LAYER_MDWE:
                facts.memory.writable_executable = 1;
                return n < 1;
        case LAYER_MEMFD_NOEXEC:
        case LAYER_LANDLOCK:
        case LAYER_COUNT:
                break;
        }
        return false;
}

static void test_each_defect_contradicts_its_layer_only(void **state)
{
        (void)state;
        for (int layer = 0; layer < LAYER_COUNT; layer++) {
                unsigned int n = 0;

                for (guest_make_whole(); break_layer((enum jail_layer)layer, n); guest_make_whole(), n++)
                        for (int i = 0; i < LAYER_COUNT; i++)
                                assert_int_equal(verdict_of(i), i == layer       ? LAYER_CONTRADICTED
                                                                : is_attested(i) ? LAYER_ATTESTED
                                                                                 : LAYER_IN_FORCE);
                assert_true(n > 0 || layer == LAYER_MEMFD_NOEXEC || layer == LAYER_LANDLOCK);
        }
}

static void test_not_claimed(void **state)
{
        (void)state;
        guest_make_whole();
        claims.layers = 0;
        for (int i = 0; i < LAYER_COUNT; i++)
                assert_int_equal(verdict_of(i), is_attested(i) ? LAYER_ABSENT : LAYER_UNCLAIMED);
        for (int i = 0; i < LAYER_COUNT; i++) {
                guest_make_whole();
                claims.layers = 0;
                (void)break_layer((enum jail_layer)i, 0);
                assert_int_equal(verdict_of(i), LAYER_ABSENT);
        }
}

/* ---- the process of a device, in the jail above ---- */

static struct inspect_facts vmm_facts;

static enum layer_verdict device_verdict_of(int layer)
{
        const struct layer_claim claim = layer_claim_device(&claims, 1, &vmm_facts);
        struct layer_view v;

        layer_judge((enum jail_layer)layer, &claim, &facts, &v);
        return v.verdict;
}

/* The second device, a disk. */
static void device_make_whole(void)
{
        static const struct fd_facts fds[] = {
                {.number = 0, .kind = FD_NULL},
                {.number = DEVICE_FD_CONTROL, .kind = FD_SOCKET},
                {.number = DEVICE_FD_RESOURCE, .kind = FD_FILE, .device = 5, .inode = 6},
                {.number = DEVICE_FD_EPOLL, .kind = FD_EPOLL},
                {.number = DEVICE_FD_RING, .kind = FD_URING},
                {.number = DEVICE_FD_EVENT, .kind = FD_EVENTFD},
                {.number = DEVICE_FD_TIMER, .kind = FD_TIMER},
                {.number = DEVICE_FD_PEER, .kind = FD_MEMFD},
                {.number = DEVICE_FD_LIMIT - 1, .kind = FD_EVENTFD},
        };

        guest_make_whole();
        vmm_facts = facts;
        claims.device_count = 2;
        claims.devices[1] = (struct device_state){.type = VIRTIO_ID_BLOCK,
                                                  .layers = LAYERS_ALL,
                                                  .landlock_abi = 6,
                                                  .resource = {.device = 5, .inode = 6}};
        facts.thread_count = 1;
        facts.threads[0].pid_inside = 3;
        for (int k = 0; k < 4; k++)
                facts.threads[0].uids[k] = facts.threads[0].gids[k] = HOST_ID + 2;
        facts.limits[LIMIT_FSIZE] = (struct limit_facts){LIMIT_UNLIMITED, LIMIT_UNLIMITED};
        facts.limits[LIMIT_NOFILE] = (struct limit_facts){DEVICE_FD_LIMIT, DEVICE_FD_LIMIT};
        memcpy(facts.fds, fds, sizeof(fds));
        facts.fd_count = ARRAY_LEN(fds);
}

/* Number n of what a device's process must not be, and which layer that contradicts. */
static int break_device(unsigned int n)
{
        static const struct fd_facts bad_fds[] = {
                {.number = DEVICE_FD_RESOURCE, .kind = FD_FILE, .device = 5, .inode = 7},
                {.number = DEVICE_FD_RESOURCE, .kind = FD_FILE, .device = 4, .inode = 6},
                {.number = DEVICE_FD_RESOURCE, .kind = FD_FILE, .device = 5, .inode = 6, .block_device = 8},
                {.number = DEVICE_FD_PEER, .kind = FD_FILE, .device = 5, .inode = 6},
                {.number = DEVICE_FD_PEER, .kind = FD_NULL},
                {.number = DEVICE_FD_PEER, .kind = FD_URING},
                {.number = DEVICE_FD_PEER, .kind = FD_EPOLL},
                {.number = DEVICE_FD_PEER, .kind = FD_TIMER},
                {.number = DEVICE_FD_RING, .kind = FD_MEMFD},
                {.number = DEVICE_FD_LIMIT, .kind = FD_SOCKET},
                {.number = DEVICE_FD_PEER, .kind = FD_KVM_VM},
                {.number = DEVICE_FD_PEER, .kind = FD_KVM_VCPU},
                {.number = DEVICE_FD_PEER, .kind = FD_OTHER_ANON},
        };
        static const int namespaces[NS_COUNT] = {
                [NS_USER] = LAYER_USER_NS, [NS_PID] = LAYER_PID_NS,       [NS_MNT] = LAYER_MOUNT_NS,
                [NS_NET] = LAYER_NET_NS,   [NS_IPC] = LAYER_IPC_NS,       [NS_UTS] = LAYER_UTS_NS,
                [NS_TIME] = LAYER_TIME_NS, [NS_CGROUP] = LAYER_CGROUP_NS,
        };

        if (n < ARRAY_LEN(bad_fds)) {
                facts.fds[facts.fd_count++] = bad_fds[n];
                return LAYER_FDS;
        }
        n -= ARRAY_LEN(bad_fds);
        if (n < NS_COUNT) { /* another guest's */
                facts.ns[n].guest = 99;
                return namespaces[n];
        }
        switch (n - NS_COUNT) {
        case 0:
                facts.threads[0].pid_inside = 1;
                return LAYER_PID_NS;
        case 1: /* another device's */
                facts.threads[0].uids[1] = HOST_ID + 1;
                return LAYER_IDS;
        case 2:
                facts.threads[0].gids[3] = HOST_ID;
                return LAYER_IDS;
        case 3:
                facts.limits[LIMIT_NOFILE].hard = DEVICE_FD_LIMIT + 1;
                return LAYER_LIMITS;
        case 4: /* no disk */
                claims.devices[1].type = VIRTIO_ID_RNG;
                facts.fds[4].kind = FD_NULL;
                return LAYER_LIMITS;
        default:
                return -1;
        }
}

static void test_device(void **state)
{
        unsigned int n = 0;
        int broken;

        (void)state;
        device_make_whole();
        for (int i = 0; i < LAYER_COUNT; i++)
                assert_int_equal(device_verdict_of(i), is_attested(i) ? LAYER_ATTESTED : LAYER_IN_FORCE);
        for (device_make_whole(); (broken = break_device(n)) >= 0; device_make_whole(), n++)
                for (int i = 0; i < LAYER_COUNT; i++)
                        assert_int_equal(device_verdict_of(i), i == broken      ? LAYER_CONTRADICTED
                                                               : is_attested(i) ? LAYER_ATTESTED
                                                                                : LAYER_IN_FORCE);
        assert_true(n > NS_COUNT);
}

/* Guest RAM as a descriptor is for a guest with devices. */
static void test_memory_of_vmm(void **state)
{
        (void)state;
        guest_make_whole();
        facts.fds[facts.fd_count++] = (struct fd_facts){.number = VMM_FD_RAM, .kind = FD_MEMFD};
        assert_int_equal(verdict_of(LAYER_FDS), LAYER_CONTRADICTED);
        claims.device_count = 1;
        assert_int_equal(verdict_of(LAYER_FDS), LAYER_IN_FORCE);
        facts.fds[facts.fd_count++] = (struct fd_facts){.number = VMM_FD_INFLIGHT_FIRST, .kind = FD_MEMFD};
        assert_int_equal(verdict_of(LAYER_FDS), LAYER_IN_FORCE);
        facts.fds[facts.fd_count++] =
                (struct fd_facts){.number = VMM_FD_INFLIGHT_FIRST + VMM_DEVICES_MAX, .kind = FD_MEMFD};
        assert_int_equal(verdict_of(LAYER_FDS), LAYER_CONTRADICTED);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_whole_guest),   cmocka_unit_test(test_each_defect_contradicts_its_layer_only),
                cmocka_unit_test(test_not_claimed),   cmocka_unit_test(test_device),
                cmocka_unit_test(test_memory_of_vmm),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
