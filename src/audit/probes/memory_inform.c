/* Memory: what is worth knowing and no fault. */
#include <errno.h>
#include <string.h>

#include "audit/probes/memory.h"
#include "audit/text.h"
#include "base/cleanup.h"

#define SHOWN_MAX 8

/* ---- MEM-TEXT ---- */

struct programs {
        struct audit *a;
        bool *shared; /* [guest] */
};

static void program_shared(void *ctx, const struct pair_key *keys, size_t count)
{
        struct programs *programs = ctx;
        struct audit *a = programs->a;
        struct finding *f = finding_add(a, VERDICT_PASS, NULL,
                                        "These guests run the same program file, whose code is in the host's memory "
                                        "once: their monitors share its pages, read-only.");

        for (size_t i = 0; i < count; i++) {
                const struct guest *g = a->inv.guests.items[keys[i].guest];

                finding_concern(a, f, g);
                programs->shared[keys[i].guest] = true;
                if (i < SHOWN_MAX)
                        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "stat /proc/%d/exe", g->vmm->pid),
                                      "device %u:%u inode %llu", OBSERVED_MAJOR(keys[i].value[0]),
                                      OBSERVED_MINOR(keys[i].value[0]), (unsigned long long)keys[i].value[1]);
        }
}

void memory_text_pairs(struct audit *a)
{
        struct programs programs = {.a = a, .shared = arena_array(a->arena, a->inv.guests.count, sizeof(bool))};
        struct pair_key_list keys = {0};

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct process *p = a->inv.guests.items[i]->vmm;

                if (p->exe_error == 0)
                        *GROW(a->arena, &keys) =
                                (struct pair_key){.value = {p->exe_stat.dev, p->exe_stat.ino}, .guest = i};
        }
        pair_keys_sort(&keys);
        pair_keys_shared(&keys, program_shared, &programs);
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const struct guest *g = a->inv.guests.items[i];
                char *question = arena_printf(a->arena, "stat /proc/%d/exe", g->vmm->pid);
                struct finding *f;

                if (programs.shared[i])
                        continue;
                if (g->vmm->exe_error < 0) {
                        finding_unknown(a, g, g->vmm->exe_error, question);
                        continue;
                }
                f = finding_add(a, VERDICT_PASS, g, "The monitor of %s runs a program file of its own.",
                                GUEST_MARK(a, g));
                finding_showf(a, f, GUEST_OWNER(g), question, "device %u:%u inode %llu",
                              OBSERVED_MAJOR(g->vmm->exe_stat.dev), OBSERVED_MINOR(g->vmm->exe_stat.dev),
                              (unsigned long long)g->vmm->exe_stat.ino);
        }
}

/* ---- MEM-INITFREE ---- */

/* Of the words of the command line, the last init_on_free counts. */
static const char *cmdline_says(struct audit *a)
{
        char *word = arena_text(a->arena, a->host.cmdline ? a->host.cmdline : "");
        const char *last = NULL;

        while (*word) {
                size_t n = strcspn(word, " \n");
                bool end = word[n] == '\0';

                word[n] = '\0';
                if (text_has_prefix(word, "init_on_free="))
                        last = word;
                word += end ? n : n + 1;
        }
        return last;
}

void memory_init_host(struct audit *a)
{
        const char *word = cmdline_says(a);
        char *path = arena_printf(a->arena, "/boot/config-%s", a->host.kernel), *option = NULL;
        struct answer config = {.error = -ENOENT};
        struct finding *f;
        bool on;

        if (!word) {
                (void)observe(a->observer, &config, "read %s", path);
                if (config.error < 0) {
                        f = finding_add(a, VERDICT_UNKNOWN, NULL,
                                        "Whether the kernel wipes memory when it is freed is its default, which is not "
                                        "told here.");
                        f->needs = "init_on_free= on the kernel's command line, or /boot/config of this kernel";
                        finding_showf(a, f, EVIDENCE_HOST, "read /proc/cmdline", "no init_on_free=");
                        finding_show_error(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", path), config.error);
                        return;
                }
                option = text_field(a->arena, config.bytes, "CONFIG_INIT_ON_FREE_DEFAULT_ON=");
        }
        on = word ? strcmp(word + strlen("init_on_free="), "1") == 0 ||
                             strcmp(word + strlen("init_on_free="), "on") == 0
                  : option && option[0] == 'y';
        f = finding_add(a, VERDICT_PASS, NULL,
                        on ? "The kernel wipes memory when it is freed: what a guest leaves is gone at once."
                           : "The kernel wipes a page before another process gets it, and not when it is freed: what a "
                             "guest leaves stays in free memory until then.");
        finding_showf(a, f, EVIDENCE_HOST, "read /proc/cmdline", "%s", word ? SHOW(a, word) : "no init_on_free=");
        if (!word)
                finding_showf(a, f, EVIDENCE_HOST, arena_printf(a->arena, "read %s", path),
                              "CONFIG_INIT_ON_FREE_DEFAULT_ON=%s", option ? option : "n");
}

/* ---- MEM-CC ---- */

void memory_confidential_guest(struct audit *a, struct guest *g)
{
        static const char *const links[] = {"anon_inode:[kvm-gmem]", "/dev/sev", "/dev/tdx"};
        const struct process *p = g->vmm;
        char *question = arena_printf(a->arena, "list /proc/%d/fd", p->pid);
        const struct fd *found = NULL;
        struct finding *f;

        if (p->fds_error < 0) {
                finding_unknown(a, g, p->fds_error, question);
                return;
        }
        for (size_t i = 0; i < p->fds.count; i++)
                for (size_t k = 0; k < ARRAY_LEN(links); k++)
                        if (text_has_prefix(p->fds.items[i].link, links[k]))
                                found = &p->fds.items[i];
        if (found)
                f = finding_add(
                        a, VERDICT_PASS, g,
                        "The monitor of %s uses memory that the host cannot map, or a processor that encrypts it: "
                        "a stronger class, which this audit does not verify; the guest can.",
                        GUEST_MARK(a, g));
        else
                f = finding_add(
                        a, VERDICT_PASS, g,
                        "RAM of %s is ordinary memory: the host can read it, as everywhere without confidential "
                        "computing.",
                        GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), question, "%s",
                      found ? SHOW(a, found->link) : "no kvm-gmem, /dev/sev or /dev/tdx");
}
