#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "state/state.h"

/* Finds the first line for user or uid in /etc/subuid or /etc/subgid (subuid(5)) with room for a block. Returns 0,
 * -ENOENT without such a file or line, or another negative errno. */
static int subordinate_range(const char *file, const char *user, const char *uid, uint32_t *ret_first,
                             uint32_t *ret_blocks)
{
        FILE *f = fopen(file, "re");
        char line[256];
        int r = -ENOENT;

        if (!f)
                return -errno;
        while (r < 0 && fgets(line, sizeof(line), f)) {
                char *save = NULL, *owner = strtok_r(line, ":\n", &save), *start = strtok_r(NULL, ":\n", &save),
                     *size = strtok_r(NULL, ":\n", &save);
                uint64_t first, count;

                if (!owner || !start || !size || (strcmp(owner, user) != 0 && strcmp(owner, uid) != 0))
                        continue;
                if (number_parse(start, UINT32_MAX - 1, &first) < 0 || number_parse(size, UINT32_MAX - 1, &count) < 0)
                        continue;
                if (first == 0 || first + count > UINT32_MAX || count < JAIL_IDS_PER_GUEST)
                        continue;
                *ret_first = (uint32_t)first;
                *ret_blocks = (uint32_t)(count / JAIL_IDS_PER_GUEST);
                r = 0;
        }
        if (ferror(f))
                r = -EIO;
        fclose(f);
        return r;
}

int state_ids_range(struct state_ids_range *ret)
{
        const bool root = geteuid() == 0;
        const struct passwd *pw = root ? NULL : getpwuid(geteuid());
        char uid[16] = "";
        struct state_ids_range range = {0};
        uint32_t gid_blocks = 0;
        int r;
        const char *user = root ? "bulkhead" : pw ? pw->pw_name : "";

        if (!root)
                snprintf(uid, sizeof(uid), "%u", (unsigned int)geteuid());
        r = subordinate_range("/etc/subuid", user, uid, &range.first_uid, &range.blocks);
        if (r == 0)
                r = subordinate_range("/etc/subgid", user, uid, &range.first_gid, &gid_blocks);
        if (r == -ENOENT && root) {
                *ret = (struct state_ids_range){STATE_IDS_DEFAULT_FIRST, STATE_IDS_DEFAULT_FIRST,
                                                STATE_IDS_DEFAULT_COUNT / JAIL_IDS_PER_GUEST};
                return 0;
        }
        if (r < 0)
                return r;
        if (gid_blocks < range.blocks)
                range.blocks = gid_blocks;
        *ret = range;
        return 0;
}

static bool link_is(const struct state_dir *d, const char *link, const char *name)
{
        char owner[SPEC_NAME_MAX];
        ssize_t n = readlinkat(d->ids_fd, link, owner, sizeof(owner));

        return n == (ssize_t)strlen(name) && memcmp(owner, name, (size_t)n) == 0;
}

int state_ids_take(struct state_dir *d, const struct state_ids_range *range, const char *name, uint32_t *ret_slot,
                   struct jail_ids *ret_ids, struct err *e)
{
        for (uint32_t slot = 0; slot < range->blocks; slot++) {
                char link[16];

                snprintf(link, sizeof(link), "%u", slot);
                /* Creating a symbolic link is atomic and carries the owner's name: no moment without either. */
                if (symlinkat(name, d->ids_fd, link) == 0 || (errno == EEXIST && link_is(d, link, name))) {
                        *ret_slot = slot;
                        *ret_ids = (struct jail_ids){.uid = range->first_uid + slot * JAIL_IDS_PER_GUEST,
                                                     .gid = range->first_gid + slot * JAIL_IDS_PER_GUEST,
                                                     .count = JAIL_IDS_PER_GUEST};
                        return 0;
                }
                if (errno != EEXIST && errno != ENOENT) /* ENOENT: gone since, its turn comes with the next start */
                        return err_set(e, -errno, "take ids for guest \"%s\"", name);
        }
        return err_set(e, -EUSERS, "take ids for guest \"%s\": all %u blocks are in use", name, range->blocks);
}

void state_ids_drop(struct state_dir *d, uint32_t slot)
{
        char link[16];

        snprintf(link, sizeof(link), "%u", slot);
        (void)unlinkat(d->ids_fd, link, 0); /* one that stays is swept with its guest's name */
}
