/*
 * Sweeping. A supervisor that was killed takes its guest's processes with it, by the kernel's hand; what stays on disk
 * is found by its lock, which nobody holds. Ids are given back last, after the VMM's end, and the removal of the cgroup
 * where there is one, have proved that no process of the guest is left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "jail/jail_cgroup.h"
#include "state/state.h"

/* Kills the VMM that the dead guest's state names, in case it is only just dying. Returns false when it lives on. One
 * that is in no state yet has not seen its guest: it finds its channel closed, and ends. */
static bool vmm_kill(const struct state_dir *d, const char *name)
{
        struct guest_state s;
        _cleanup_fd_ int pidfd = -1;
        struct pollfd p = {.events = POLLIN};

        if (state_read(d, name, &s) < 0 || s.vmm.pid <= 0)
                return true;
        p.fd = pidfd = sys_pidfd_open(s.vmm.pid);
        if (pidfd < 0 || s.vmm.start_time != process_start_time(s.vmm.pid))
                return true;
        (void)sys_pidfd_send_signal(pidfd, SIGKILL); /* gone already: fine */
        return poll(&p, 1, CGROUP_REMOVE_MS) == 1;
}

/* Removes the guest's cgroup, if it has one. Returns false when something in there lives on. */
static bool cgroup_remove(const struct state_dir *d, const char *name)
{
        char base[CGROUP_BASE_MAX];
        int r = state_cgroup_base(d, name, base);

        return r == -ENOENT || (r == 0 && jail_cgroup_remove(base, name, NULL) == 0);
}

bool state_guest_end(const struct state_dir *d, const char *name)
{
        return vmm_kill(d, name) && cgroup_remove(d, name);
}

static void guest_sweep(struct state_dir *d, const char *name)
{
        struct state_guest g;

        if (!guest_name_valid(name) || state_lock_owner(d, name) != 0)
                return;
        if (state_guest_take_dead(d, name, &g) < 0)
                return;
        if (!state_guest_end(d, name)) {
                /* Something of it still lives: keep the name and the ids until it does not. */
                fd_closep(&g.lock_fd);
                fd_closep(&g.dir_fd);
                return;
        }
        state_guest_drop(d, name, &g);
}

static void ids_sweep(struct state_dir *d, const char *slot)
{
        char name[SPEC_NAME_MAX];
        ssize_t n = readlinkat(d->ids_fd, slot, name, sizeof(name) - 1);
        struct stat st;

        if (n <= 0)
                return;
        name[n] = '\0';
        if (fstatat(d->guests_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
                (void)unlinkat(d->ids_fd, slot, 0); /* somebody else swept it first */
}

/* Returns how many there were beside own. */
static size_t each_entry(struct state_dir *d, int dir_fd, const char *own,
                         void (*sweep)(struct state_dir *, const char *))
{
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;
        size_t count = 0;

        if (!dir) {
                fd_closep(&fd);
                return 0;
        }
        while ((entry = readdir(dir))) {
                if (entry->d_name[0] == '.' || (own && strcmp(entry->d_name, own) == 0))
                        continue;
                sweep(d, entry->d_name);
                count++;
        }
        closedir(dir);
        return count;
}

void state_sweep(struct state_dir *d, const char *own)
{
        size_t guests = each_entry(d, d->guests_fd, own, guest_sweep);

        /* A guest that takes its name after this look finds the cgroups' parent gone, or makes its own cgroup first and
         * the removal fails. */
        if (guests == 0 && !own && geteuid() == 0)
                jail_cgroup_remove_parent("");
        each_entry(d, d->ids_fd, NULL, ids_sweep);
}
