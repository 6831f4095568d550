/*
 * Stage fds: the descriptors of the role's table at their fixed numbers, /dev/null on 0-2, nothing else.
 *
 * Should:  hand over exactly req->fds; keep the program and /proc for the stages that follow; make room for all that
 * the process may ever have.
 * Mustn't: leave anything inherited open, whatever its number; rely on close-on-exec of code elsewhere.
 * Fails closed: any dup or close_range that fails ends the child.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "jail/jail_stages.h"

/* Where descriptors wait while the low numbers are being rearranged: above every target. */
#define PARKING (JAIL_FD_ROOT + 1)

static int close_others(const int *keep, size_t count)
{
        unsigned int first = 0;

        for (size_t i = 0; i < count; i++) {
                unsigned int k = (unsigned int)keep[i];

                if (k > first && sys_close_range(first, k - 1) < 0)
                        return -errno;
                first = k + 1;
        }
        return sys_close_range(first, UINT_MAX) < 0 ? -errno : 0;
}

static void sort(int *a, size_t count)
{
        for (size_t i = 1; i < count; i++)
                for (size_t k = i; k > 0 && a[k - 1] > a[k]; k--) {
                        int t = a[k];

                        a[k] = a[k - 1];
                        a[k - 1] = t;
                }
}

static int place(int fd, int target, int flags)
{
        return dup3(fd, target, flags) < 0 ? -errno : 0;
}

/* The host's /proc and /dev/null, above every target too. */
static int host_fds_open(const struct jail *j, int *ret_proc, int *ret_null, struct err *e)
{
        if (j->proc_fd >= 0) {
                *ret_proc = fcntl(j->proc_fd, F_DUPFD_CLOEXEC, PARKING);
                *ret_null = fcntl(j->null_fd, F_DUPFD_CLOEXEC, PARKING);
        } else {
                *ret_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
                *ret_null = open("/dev/null", O_RDWR | O_CLOEXEC);
        }
        return *ret_proc < 0 || *ret_null < 0 ? err_set(e, -errno, "open /proc and /dev/null") : 0;
}

/*
 * Room for every descriptor that the process may ever have, or that the host lets it have. When a process has threads,
 * its table grows only after an RCU grace period, which takes milliseconds.
 */
static int table_grow(int fd, rlim_t open_files, struct err *e)
{
        struct rlimit now;
        rlim_t room;

        if (getrlimit(RLIMIT_NOFILE, &now) < 0)
                return err_set(e, -errno, "read RLIMIT_NOFILE");
        room = open_files < now.rlim_cur ? open_files : now.rlim_cur;
        if (room > PARKING && fcntl(fd, F_DUPFD_CLOEXEC, (int)room - 1) < 0)
                return err_set(e, -errno, "make room for %llu descriptors", (unsigned long long)room);
        return 0;
}

int jail_stage_fds(struct jail *j, struct err *e)
{
        const struct jail_request *req = j->req;
        int parked[JAIL_FDS_MAX], keep[JAIL_FDS_MAX + 6];
        int program, root, proc, null, r = 0;
        size_t kept = 0;

        for (size_t i = 0; i < req->fd_count; i++) {
                parked[i] = fcntl(req->fds[i].fd, F_DUPFD_CLOEXEC, PARKING);
                if (parked[i] < 0)
                        return err_set(e, -errno, "duplicate descriptor %d", req->fds[i].fd);
        }
        program = fcntl(req->program_fd, F_DUPFD_CLOEXEC, PARKING);
        if (program < 0)
                return err_set(e, -errno, "duplicate the program's descriptor");
        root = req->own_root ? fcntl(req->root_fd, F_DUPFD_CLOEXEC, PARKING) : -1;
        if (req->own_root && root < 0)
                return err_set(e, -errno, "duplicate the descriptor of the program's root");
        r = host_fds_open(j, &proc, &null, e);
        if (r == 0)
                r = table_grow(null, req->limits.open_files, e); /* what it takes for that is closed with the others */
        if (r < 0)
                return r;

        for (int i = 0; i < 3 && r == 0; i++) {
                r = place(null, i, 0);
                keep[kept++] = i;
        }
        for (size_t i = 0; i < req->fd_count && r == 0; i++) {
                r = place(parked[i], req->fds[i].target, 0);
                keep[kept++] = req->fds[i].target;
        }
        if (r == 0)
                r = place(program, JAIL_FD_PROGRAM, O_CLOEXEC);
        keep[kept++] = JAIL_FD_PROGRAM;
        if (r == 0)
                r = place(proc, JAIL_FD_PROC, O_CLOEXEC);
        keep[kept++] = JAIL_FD_PROC;
        if (r == 0 && root >= 0) {
                r = place(root, JAIL_FD_ROOT, O_CLOEXEC);
                keep[kept++] = JAIL_FD_ROOT;
        }
        if (r < 0)
                return err_set(e, r, "place the role's descriptors");

        sort(keep, kept);
        r = close_others(keep, kept);
        if (r < 0)
                return err_set(e, r, "close every other descriptor");
        j->control_fd = req->control_target;
        j->proc_fd = JAIL_FD_PROC;
        j->null_fd = -1;
        j->layers |= LAYER_BIT(LAYER_FDS);
        return 0;
}
