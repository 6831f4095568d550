/* Every check of doctor, on a made-up host that has everything but one thing: exactly that check's line must
 * change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/child.h"
#include "cli/doctor/checks.h"
#include "spec/kvm_needs.h"

#define NOTHING (-1)

struct fake {
        int kvm_error;         /* 0: /dev/kvm opens */
        const char *kvm_group; /* NULL: no group may use it */
        int api_version;
        int cap_missing; /* KVM_CAP_* or NOTHING */
        int probe_bad;   /* PROBE_* or NOTHING */
        enum guest_result probe_result;
        int feature_missing; /* or NOTHING */
        int feature_error;
};

#define WHOLE                                          \
        ((struct fake){.api_version = KVM_API_VERSION, \
                       .cap_missing = NOTHING,         \
                       .probe_bad = NOTHING,           \
                       .feature_missing = NOTHING,     \
                       .feature_error = -EINVAL})

static int fake_kvm_open(void *ctx)
{
        return ((struct fake *)ctx)->kvm_error;
}

static int fake_kvm_group(void *ctx, char *name, size_t size)
{
        const struct fake *f = ctx;

        if (!f->kvm_group)
                return -ENOENT;
        snprintf(name, size, "%s", f->kvm_group);
        return 0;
}

static int fake_api_version(void *ctx)
{
        return ((struct fake *)ctx)->api_version;
}

static int fake_extension(void *ctx, int cap)
{
        return cap == ((struct fake *)ctx)->cap_missing ? 0 : 8;
}

static enum guest_result fake_guest(void *ctx, unsigned int probe)
{
        const struct fake *f = ctx;

        return (int)probe == f->probe_bad ? f->probe_result : GUEST_RAN;
}

static int fake_feature(void *ctx, unsigned int feature)
{
        const struct fake *f = ctx;

        assert_true(feature < FEATURE_COUNT);
        return (int)feature == f->feature_missing ? f->feature_error : 1;
}

static struct doctor_check list[DOCTOR_CHECKS_MAX];
static size_t count;

static void ask(struct fake *f, struct doctor_answer *answers, struct doctor_verdict *v)
{
        const struct doctor_host host = {
                .ctx = f,
                .kvm_open = fake_kvm_open,
                .kvm_group = fake_kvm_group,
                .kvm_api_version = fake_api_version,
                .kvm_extension = fake_extension,
                .guest = fake_guest,
                .feature = fake_feature,
        };

        doctor_ask(&host, list, count, answers, v);
}

/* The one check that is not OK on f; fails when there is none, or another. */
static size_t only_one(struct fake *f, enum doctor_result expected, struct doctor_verdict *v)
{
        struct doctor_answer answers[DOCTOR_CHECKS_MAX];
        size_t found = DOCTOR_CHECKS_MAX;

        ask(f, answers, v);
        for (size_t i = 0; i < count; i++) {
                if (answers[i].result == RESULT_OK)
                        continue;
                assert_int_equal(found, DOCTOR_CHECKS_MAX);
                assert_int_equal(answers[i].result, expected);
                found = i;
        }
        assert_int_not_equal(found, DOCTOR_CHECKS_MAX);
        return found;
}

static void verdict_fits(const struct doctor_check *check, const struct doctor_verdict *v)
{
        bool kernels = check->kind == OPTIONAL || check->kind == INFORMATIVE;

        assert_int_equal(v->guests, check->kind != NEEDED_BY_GUESTS);
        assert_int_equal(v->kernels, kernels);
        assert_int_equal(v->absent, check->kind == OPTIONAL);
        assert_int_equal(v->missing, !kernels);
        assert_int_equal(v->unknown, 0);
}

static void test_whole_host(void **state)
{
        struct doctor_answer answers[DOCTOR_CHECKS_MAX];
        struct fake f = WHOLE;
        struct doctor_verdict v;

        (void)state;
        ask(&f, answers, &v);
        for (size_t i = 0; i < count; i++)
                assert_int_equal(answers[i].result, RESULT_OK);
        assert_true(v.guests && v.kernels);
        assert_int_equal(v.missing + v.unknown + v.absent, 0);
}

static void fault_try(struct fake f, bool seen[DOCTOR_CHECKS_MAX], const char *id)
{
        struct doctor_verdict v;
        size_t i = only_one(&f, RESULT_MISSING, &v);

        verdict_fits(&list[i], &v);
        if (id)
                assert_string_equal(list[i].id, id);
        assert_false(seen[i]);
        seen[i] = true;
}

/* One fault at a time, until every check has been the one that changed. */
static void test_each_fault_changes_its_line_only(void **state)
{
        bool seen[DOCTOR_CHECKS_MAX] = {false};
        struct fake f = WHOLE;

        (void)state;
        f.api_version = KVM_API_VERSION + 1;
        fault_try(f, seen, "kvm-api");
        f = WHOLE;
        f.cap_missing = KVM_CAP_MAX_VCPUS;
        fault_try(f, seen, "kvm-vcpus");
        for (size_t i = 0; i < kvm_needs_count; i++) {
                f = WHOLE;
                f.cap_missing = kvm_needs[i].cap;
                fault_try(f, seen, kvm_needs[i].name);
        }
        for (int i = 0; i < PROBE_COUNT; i++) {
                f = WHOLE;
                f.probe_bad = i;
                f.probe_result = GUEST_INTERNAL_ERROR;
                fault_try(f, seen, NULL);
        }
        for (int i = 0; i < FEATURE_COUNT; i++) {
                if (i == LAYER_CGROUP_LIMITS || i == LAYER_OWN_IDS) /* asked part by part */
                        continue;
                f = WHOLE;
                f.feature_missing = i;
                fault_try(f, seen, NULL);
        }
        for (size_t i = 0; i < count; i++)
                assert_true(seen[i] || strcmp(list[i].id, "kvm-device") == 0);
}

/* The instruction that cannot run is named by the line that changes. */
static void test_instruction_is_named(void **state)
{
        static const struct {
                int probe;
                const char *title;
        } named[] = {{PROBE_INT3, "int3"}, {PROBE_LAR, "lar"}, {PROBE_SYSCALL, "syscall, sysret"}};

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(named); i++) {
                struct fake f = WHOLE;
                struct doctor_verdict v;

                f.probe_bad = named[i].probe;
                f.probe_result = GUEST_SHUTDOWN;
                assert_string_equal(list[only_one(&f, RESULT_MISSING, &v)].title, named[i].title);
                assert_true(v.guests && !v.kernels);
        }
}

static void test_each_bad_end_of_a_guest_counts(void **state)
{
        (void)state;
        for (int r = 0; r < GUEST_RESULT_COUNT; r++) {
                struct doctor_answer answers[DOCTOR_CHECKS_MAX];
                struct fake f = WHOLE;
                struct doctor_verdict v;

                f.probe_bad = PROBE_POPCNT;
                f.probe_result = (enum guest_result)r;
                ask(&f, answers, &v);
                /* No instruction is blamed for a virtual machine that cannot be set up. */
                assert_int_equal(v.unknown, r == GUEST_NO_VM);
                /* What is not offered to guests is not used by them. */
                assert_int_equal(v.kernels, r == GUEST_RAN || r == GUEST_NOT_OFFERED);
                assert_true(strlen(guest_result_text((enum guest_result)r)) > 0);
        }
}

/* Without /dev/kvm the checks behind it are not known, and the others are as they were. */
static void test_no_kvm_device(void **state)
{
        static const int errors[] = {-ENOENT, -EACCES, -ENODEV};

        (void)state;
        for (size_t k = 0; k < ARRAY_LEN(errors); k++) {
                struct doctor_answer answers[DOCTOR_CHECKS_MAX];
                struct fake f = WHOLE;
                struct doctor_verdict v;
                size_t unknown = 0;

                f.kvm_error = errors[k];
                ask(&f, answers, &v);
                assert_false(v.guests || v.kernels);
                for (size_t i = 0; i < count; i++) {
                        if (strcmp(list[i].id, "kvm-device") == 0) {
                                assert_int_equal(answers[i].result, RESULT_MISSING);
                                assert_int_equal(answers[i].remedy[0] != '\0', errors[k] != -ENOENT);
                        } else
                                unknown += answers[i].result == RESULT_UNKNOWN;
                        assert_false(answers[i].result == RESULT_MISSING && strcmp(list[i].id, "kvm-device") != 0);
                }
                assert_int_equal(unknown, 2 + kvm_needs_count + PROBE_COUNT);
                assert_int_equal(v.unknown, unknown);
                assert_int_equal(v.missing, 1);
        }
}

/* Who may not open /dev/kvm is told which group may, or that none does. */
static void test_permission_names_the_group(void **state)
{
        static const char *const groups[] = {"kvm", "virtualization", NULL};

        (void)state;
        for (size_t k = 0; k < ARRAY_LEN(groups); k++) {
                struct doctor_answer answers[DOCTOR_CHECKS_MAX];
                struct fake f = WHOLE;
                struct doctor_verdict v;

                f.kvm_error = -EACCES;
                f.kvm_group = groups[k];
                ask(&f, answers, &v);
                assert_string_equal(list[0].id, "kvm-device");
                assert_non_null(strstr(answers[0].remedy, groups[k] ? groups[k] : "chmod 0660"));
                assert_int_equal(strstr(answers[0].remedy, "membership") != NULL, groups[k] != NULL);
        }
}

/* The obstacles of an ordinary user: each changes its own line, which names the remedy, and only what holds up every
 * guest holds up his. */
static void test_ordinary_user(void **state)
{
        static const struct {
                unsigned int feature;
                const char *id, *remedy;
                bool guests;
        } obstacles[] = {
                {FEATURE_CGROUP_MEMORY, "cgroup-memory", "loginctl enable-linger", true},
                {FEATURE_CGROUP_PIDS, "cgroup-pids", "Delegate=", true},
                {FEATURE_CGROUP_CPU, "cgroup-cpu", "Delegate=", true},
                {FEATURE_CGROUP_IO, "cgroup-io", "Delegate=", true},
                {FEATURE_SUBORDINATE_IDS, "subordinate-ids", "--add-subuids", true},
                {FEATURE_ID_PROGRAMS, "id-programs", "uidmap", true},
                {FEATURE_USERS_NAMESPACES, "users-namespaces", "unprivileged_userns_clone", false},
                {FEATURE_USERS_APPARMOR, "users-apparmor", "AppArmor profile", false},
                {LAYER_USER_NS, "user-namespace", "max_user_namespaces", false},
                {LAYER_MEMFD_NOEXEC, "memfd-never-executable", "root", true},
        };

        (void)state;
        count = doctor_checks(false, list);
        for (size_t k = 0; k < ARRAY_LEN(obstacles); k++) {
                struct fake f = WHOLE;
                struct doctor_verdict v;
                size_t i;

                f.feature_missing = (int)obstacles[k].feature;
                f.feature_error = -EACCES;
                i = only_one(&f, RESULT_MISSING, &v);
                assert_string_equal(list[i].id, obstacles[k].id);
                assert_non_null(strstr(list[i].remedy, obstacles[k].remedy));
                assert_int_equal(v.guests, obstacles[k].guests);
        }
        count = doctor_checks(true, list);
        for (size_t k = 0; k < ARRAY_LEN(obstacles); k++) {
                struct fake f = WHOLE;
                struct doctor_verdict v;

                f.feature_missing = (int)obstacles[k].feature;
                verdict_fits(&list[only_one(&f, RESULT_MISSING, &v)], &v);
        }
}

/* A limit on namespaces has another remedy than a kernel without them. */
static void test_namespace_limit(void **state)
{
        struct doctor_answer answers[DOCTOR_CHECKS_MAX];
        struct fake f = WHOLE;
        struct doctor_verdict v;

        (void)state;
        f.feature_missing = LAYER_NET_NS;
        f.feature_error = -ENOSPC;
        ask(&f, answers, &v);
        assert_int_equal(v.missing, 1);
        for (size_t i = 0; i < count; i++)
                if (answers[i].result == RESULT_MISSING)
                        assert_non_null(strstr(answers[i].remedy, "max_*_namespaces"));
}

static int child_answer(int arg)
{
        if (arg == 100)
                abort();
        return arg;
}

static void test_child_call(void **state)
{
        static const int answers[] = {0, 7, 99, -1, -EPERM, -ENOSPC, -127};

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(answers); i++)
                assert_int_equal(child_call(child_answer, answers[i]), answers[i]);
        assert_int_equal(child_call(child_answer, 100), -ECHILD);
}

/* A child that never ends is ended, and nothing of it is left to wait for. */
static void test_child_hangs(void **state)
{
        int status = -7;
        pid_t pid = fork();

        (void)state;
        assert_true(pid >= 0);
        if (pid == 0)
                for (;;)
                        pause();
        assert_int_equal(child_wait(pid, 50, &status), -ETIMEDOUT);
        assert_int_equal(status, -7);
        assert_int_equal(kill(pid, 0), -1);
        assert_int_equal(errno, ESRCH);
}

static void test_table(void **state)
{
        (void)state;
        assert_int_equal(count, 3 + kvm_needs_count + PROBE_COUNT + FEATURE_COUNT - 2);
        for (size_t i = 0; i < count; i++) {
                assert_true(strlen(list[i].title) > 0 && strlen(list[i].remedy) > 0 && strlen(list[i].id) > 0);
                for (const char *p = list[i].id; *p; p++)
                        assert_true(isalnum((unsigned char)*p) || *p == '-' || *p == '_');
                for (size_t k = 0; k < i; k++)
                        assert_string_not_equal(list[i].id, list[k].id);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table),
                cmocka_unit_test(test_whole_host),
                cmocka_unit_test(test_each_fault_changes_its_line_only),
                cmocka_unit_test(test_instruction_is_named),
                cmocka_unit_test(test_each_bad_end_of_a_guest_counts),
                cmocka_unit_test(test_no_kvm_device),
                cmocka_unit_test(test_permission_names_the_group),
                cmocka_unit_test(test_ordinary_user),
                cmocka_unit_test(test_namespace_limit),
                cmocka_unit_test(test_child_call),
                cmocka_unit_test(test_child_hangs),
        };

        count = doctor_checks(true, list);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
