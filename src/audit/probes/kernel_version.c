/*
 * The age of the running kernel: against those that are installed, and against a few errors of KVM that guests can
 * reach.
 *
 * A version number proves little: distributions fix errors without changing it. So only a release of kernel.org itself
 * (three numbers and nothing else) can fail by its number; any other kernel with a lower number is undetermined.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/kernel.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define NUMBERS_MAX 8

struct version {
        unsigned long numbers[NUMBERS_MAX];
        size_t count;
        bool plain; /* numbers and dots only */
};

static struct version version_parse(const char *release)
{
        struct version v = {.plain = strspn(release, "0123456789.") == strlen(release)};

        while (*release && v.count < NUMBERS_MAX) {
                release += strcspn(release, "0123456789");
                if (*release)
                        v.numbers[v.count++] = strtoul(release, (char **)(uintptr_t)&release, 10);
        }
        return v;
}

/* Names of kernels differ in words, too (rt, cloud, debug): only the numbers tell which is newer. */
static int version_order(const struct version *a, const struct version *b, size_t most)
{
        for (size_t i = 0; i < most && i < NUMBERS_MAX; i++) {
                unsigned long x = i < a->count ? a->numbers[i] : 0, y = i < b->count ? b->numbers[i] : 0;

                if (x != y)
                        return x < y ? -1 : 1;
        }
        return 0;
}

/* Errors of KVM on x86-64 that a guest can reach, from the CVE records of the kernel's own CNA as of the date. The
 * first version is the first with the error, the last the first release of Linux without it; between them the stable
 * releases that fixed it. */
static const struct {
        const char *id, *date;
        const char *versions[10];
} fixes[] = {
        {"CVE-2025-40300",
         "2025-09-11",
         {"2.6.12", "5.10.244", "5.15.193", "6.1.152", "6.6.106", "6.12.47", "6.16.7", "6.17"}},
        {"CVE-2026-23401",
         "2026-04-01",
         {"5.13", "5.15.203", "6.1.168", "6.6.131", "6.12.80", "6.18.21", "6.19.11", "7.0"}},
        {"CVE-2026-31588", "2026-04-24", {"3.5", "6.6.136", "6.12.83", "6.18.24", "6.19.14", "7.0.1", "7.1"}},
};

/* PASS: the error is not there or fixed, by the number. FAIL: it is there. UNKNOWN: the number does not say. */
static enum verdict fix_verdict(const struct version *running, const char *const *versions)
{
        struct version first = version_parse(versions[0]), v = {0};

        if (version_order(running, &first, 3) < 0)
                return VERDICT_PASS;
        for (size_t i = 1; versions[i]; i++) {
                v = version_parse(versions[i]);
                if (versions[i + 1] && version_order(running, &v, 2) == 0) { /* of this stable series */
                        if (version_order(running, &v, 3) >= 0)
                                return VERDICT_PASS;
                        return running->plain ? VERDICT_FAIL : VERDICT_UNKNOWN;
                }
        }
        /* Another series: from the first release without the error on it is fixed, before it may have been since. */
        return version_order(running, &v, 3) >= 0 ? VERDICT_PASS : VERDICT_UNKNOWN;
}

/* One that is newer than the running one, or NULL; *ret_error: why the list could not be read. */
static char *newest_installed(struct audit *a, const struct version *running, int *ret_error)
{
        struct version newest = *running;
        struct name_list names = {0};
        char *name = NULL;

        *ret_error = observe_list(a->observer, "/lib/modules", &names);
        if (*ret_error == -ENOENT) /* none has modules */
                *ret_error = 0;
        for (size_t i = 0; i < names.count; i++) {
                struct version v = version_parse(names.items[i]);

                if (version_order(&v, &newest, NUMBERS_MAX) > 0) {
                        newest = v;
                        name = names.items[i];
                }
        }
        return name;
}

void krn_version_host(struct audit *a)
{
        struct version running = version_parse(a->host.kernel);
        int r;
        char *newer = newest_installed(a, &running, &r), *bad = arena_text(a->arena, ""),
             *unclear = arena_text(a->arena, "");
        enum verdict v = r < 0 ? VERDICT_UNKNOWN : newer ? VERDICT_WARN : VERDICT_PASS;
        char *text = arena_text(a->arena, "");
        struct finding *f;

        for (size_t i = 0; i < ARRAY_LEN(fixes); i++) {
                enum verdict one = running.count < 2 ? VERDICT_UNKNOWN : fix_verdict(&running, fixes[i].versions);

                v = verdict_worse(v, one);
                if (one == VERDICT_FAIL)
                        bad = arena_printf(a->arena, "%s%s %s (%s)", bad, *bad ? "," : "", fixes[i].id, fixes[i].date);
                else if (one == VERDICT_UNKNOWN)
                        unclear = arena_printf(a->arena, "%s%s %s (%s)", unclear, *unclear ? "," : "", fixes[i].id,
                                               fixes[i].date);
        }
        if (*bad)
                text = arena_printf(a->arena, "The running kernel has errors of KVM that are long fixed:%s.", bad);
        else if (!*unclear)
                text = arena_text(
                        a->arena,
                        "By its number the running kernel has none of the few errors of KVM that are looked for here.");
        if (*unclear)
                text = arena_printf(a->arena, "%s%sIts number does not say whether the running kernel still has%s.",
                                    text, *text ? " " : "", unclear);
        f = finding_add(a, v, NULL, "%s%s", text,
                        r < 0   ? " Whether a newer kernel is installed is not known."
                        : newer ? " A newer kernel is installed but not running."
                                : "");
        if (v == VERDICT_UNKNOWN)
                f->needs = a->check->needs;
        finding_show(a, f, EVIDENCE_HOST, "read /proc/sys/kernel/osrelease", a->host.kernel, strlen(a->host.kernel));
        if (r < 0)
                finding_show_error(a, f, EVIDENCE_HOST, "list /lib/modules", r);
        if (newer)
                finding_show(a, f, EVIDENCE_HOST, "list /lib/modules", newer, strlen(newer));
}
