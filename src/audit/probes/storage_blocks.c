/* What lies below a guest's block devices: whether a new one shows what the one before has left. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/probes/fds.h"
#include "audit/probes/storage.h"
#include "audit/text.h"

#define LOOP_MAJOR 7 /* Documentation/admin-guide/devices.txt */

struct zeroing {
        enum verdict v;
        const char *why;
        char *question, *shown;
        int error;
};

static void worse(struct zeroing *z, enum verdict v, const char *why)
{
        if (v <= z->v)
                return;
        z->v = v;
        z->why = why;
}

/* "... thin POOL ID": the pool's own table says whether it zeroes blocks before it hands them out
 * (Documentation/admin-guide/device-mapper/thin-provisioning.rst). */
static void pool_judge(struct audit *a, const char *pool, struct zeroing *z)
{
        char *question = arena_printf(a->arena, "dm-table %.*s", (int)strcspn(pool, " \n"), pool);
        struct answer table;
        int r = observe(a->observer, &table, "%s", question);

        if (r < 0) {
                z->error = r;
                z->question = question;
                return;
        }
        z->shown = arena_printf(a->arena, "%s\n%s: %s", z->shown, question, table.bytes);
        if (strstr(table.bytes, " skip_block_zeroing"))
                worse(z, VERDICT_FAIL, "from a thin pool that hands out blocks as others have left them");
}

static bool target_is(const char *line, const char *target, const char **ret_parameters)
{
        size_t n = strlen(target);

        for (int i = 0; i < 2; i++) {
                line += strcspn(line, " ");
                line += strspn(line, " ");
        }
        *ret_parameters = line + n + 1;
        return strncmp(line, target, n) == 0 && line[n] == ' ';
}

static void mapped_judge(struct audit *a, const char *device, struct zeroing *z)
{
        char *question = arena_printf(a->arena, "dm-table %s", device), *rest, *line;
        struct answer table;
        int r = observe(a->observer, &table, "%s", question);

        if (r < 0) {
                z->error = r;
                z->question = question;
                return;
        }
        z->shown = arena_printf(a->arena, "%s: %s", question, table.bytes);
        for (rest = arena_text(a->arena, table.bytes); (line = text_next_line(&rest));) {
                const char *parameters;

                if (target_is(line, "thin", &parameters))
                        pool_judge(a, parameters, z);
                else if (!target_is(line, "crypt", &parameters)) /* another key makes noise of what was there */
                        worse(z, VERDICT_WARN, "that nothing clears when it is handed on: prove that you do");
        }
}

static void block_judge(struct audit *a, const struct image *m, struct zeroing *z)
{
        unsigned int major = OBSERVED_MAJOR(m->fd->st.rdev);
        char *device = arena_printf(a->arena, "%u:%u", major, OBSERVED_MINOR(m->fd->st.rdev));
        char *name = arena_printf(a->arena, "/sys/dev/block/%s/dm/name", device);

        z->question = storage_question(a, m);
        z->shown = storage_describe(a, m);
        if (observe_line(a->observer, name, NULL))
                mapped_judge(a, device, z);
        else if (major != LOOP_MAJOR) /* a file's new blocks read as zeroes */
                worse(z, VERDICT_WARN, "that nothing clears when it is handed on: prove that you do");
}

void storage_zero_host(struct audit *a)
{
        for (size_t i = 0; i < a->inv.guests.count; i++) {
                struct guest *g = a->inv.guests.items[i];
                struct zeroing z = {.v = VERDICT_NA}, one;
                struct image_list images = {0};
                struct finding *f;

                if (fds_unread(a, g))
                        continue;
                images_read(a, g, &images);
                for (size_t k = 0; k < images.count; k++) {
                        if (!images.items[k].block)
                                continue;
                        one = (struct zeroing){.v = VERDICT_PASS};
                        block_judge(a, &images.items[k], &one);
                        if (one.v > z.v || one.error < 0)
                                z = one;
                        if (one.v == VERDICT_FAIL)
                                break;
                }
                if (z.error < 0 && z.v < VERDICT_FAIL) {
                        finding_unknown(a, g, z.error, z.question);
                        continue;
                }
                if (z.v == VERDICT_NA) {
                        f = finding_add(a, VERDICT_NA, g, "%s has no block device of the host's.", GUEST_MARK(a, g));
                        finding_showf(a, f, GUEST_OWNER(g), "disk images among its descriptors",
                                      "%zu, none a block device", images.count);
                        continue;
                }
                f = z.v == VERDICT_PASS
                            ? finding_add(a, VERDICT_PASS, g,
                                          "New blocks of each block device of %s read as zeroes or as noise.",
                                          GUEST_MARK(a, g))
                            : finding_add(a, z.v, g, "%s has a block device %s.", GUEST_MARK(a, g), z.why);
                finding_showf(a, f, GUEST_OWNER(g), z.question, "%s", z.shown);
        }
}
