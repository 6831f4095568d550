/* Which guest has a resource of the host. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "state/state.h"

static bool is_same(const struct state_resource *a, const struct state_resource *b)
{
        if (a->block_device || b->block_device)
                return a->block_device == b->block_device;
        return a->inode && a->device == b->device && a->inode == b->inode;
}

static bool has(const struct guest_state *s, const struct state_resource *resource)
{
        for (uint32_t i = 0; i < s->device_count; i++)
                if (is_same(&s->devices[i].resource, resource))
                        return true;
        return false;
}

bool state_resource_owner(const struct state_dir *d, const char *own, const struct state_resource *resource,
                          char name[SPEC_NAME_MAX], bool *ret_starting)
{
        int fd = openat(d->guests_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;
        struct guest_state s;
        bool found = false;

        *ret_starting = false;
        if (!dir) {
                fd_closep(&fd);
                return false;
        }
        while (!found && (entry = readdir(dir))) {
                const char *guest = entry->d_name;

                if (!guest_name_valid(guest) || strcmp(guest, own) == 0 || state_lock_owner(d, guest) == 0)
                        continue;
                if (state_read(d, guest, &s) < 0)
                        *ret_starting = true;
                else if (has(&s, resource)) {
                        memcpy(name, guest, strlen(guest) + 1);
                        found = true;
                }
        }
        closedir(dir);
        return found;
}
