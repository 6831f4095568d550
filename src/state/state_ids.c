#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "state/state.h"

/* Finds "bulkhead:FIRST:COUNT" in /etc/subuid or /etc/subgid (subuid(5)). Returns 0 or -ENOENT. */
static int subordinate_range(const char *file, uint64_t *ret_first, uint64_t *ret_count)
{
        FILE *f = fopen(file, "re");
        char line[256];
        int r = -ENOENT;

        if (!f)
                return -ENOENT;
        while (r < 0 && fgets(line, sizeof(line), f)) {
                char *save = NULL, *user = strtok_r(line, ":\n", &save), *first = strtok_r(NULL, ":\n", &save),
                     *count = strtok_r(NULL, ":\n", &save);

                if (user && first && count && strcmp(user, "bulkhead") == 0 &&
                    number_parse(first, UINT32_MAX - 1, ret_first) == 0 &&
                    number_parse(count, UINT32_MAX - 1, ret_count) == 0 && *ret_first > 0)
                        r = 0;
        }
        fclose(f);
        return r;
}

/* The same range must serve as uids and gids, because a guest's ids are the same in both. */
static void ids_range(uint32_t *ret_first, uint32_t *ret_slots)
{
        uint64_t uid, uids, gid, gids, end;

        if (subordinate_range("/etc/subuid", &uid, &uids) == 0 && subordinate_range("/etc/subgid", &gid, &gids) == 0) {
                uint64_t first = uid > gid ? uid : gid;

                end = uid + uids < gid + gids ? uid + uids : gid + gids;
                if (end <= UINT32_MAX && first + JAIL_IDS_PER_GUEST <= end) {
                        *ret_first = (uint32_t)first;
                        *ret_slots = (uint32_t)((end - first) / JAIL_IDS_PER_GUEST);
                        return;
                }
        }
        *ret_first = STATE_IDS_DEFAULT_FIRST;
        *ret_slots = STATE_IDS_DEFAULT_COUNT / JAIL_IDS_PER_GUEST;
}

static bool link_is(const struct state_dir *d, const char *link, const char *name)
{
        char owner[SPEC_NAME_MAX];
        ssize_t n = readlinkat(d->ids_fd, link, owner, sizeof(owner));

        return n == (ssize_t)strlen(name) && memcmp(owner, name, (size_t)n) == 0;
}

int state_ids_take(struct state_dir *d, const char *name, uint32_t *ret_slot, uint32_t *ret_host_id, struct err *e)
{
        uint32_t first, slots;

        ids_range(&first, &slots);
        for (uint32_t slot = 0; slot < slots; slot++) {
                char link[16];

                snprintf(link, sizeof(link), "%u", slot);
                /* Creating a symbolic link is atomic and carries the owner's name: no moment without either. */
                if (symlinkat(name, d->ids_fd, link) == 0 || (errno == EEXIST && link_is(d, link, name))) {
                        *ret_slot = slot;
                        *ret_host_id = first + slot * JAIL_IDS_PER_GUEST;
                        return 0;
                }
                if (errno != EEXIST && errno != ENOENT) /* ENOENT: gone since, its turn comes with the next start */
                        return err_set(e, -errno, "take ids for guest \"%s\"", name);
        }
        return err_set(e, -EUSERS, "take ids for guest \"%s\": all %u blocks are in use", name, slots);
}

void state_ids_drop(struct state_dir *d, uint32_t slot)
{
        char link[16];

        snprintf(link, sizeof(link), "%u", slot);
        (void)unlinkat(d->ids_fd, link, 0); /* one that stays is swept with its guest's name */
}
