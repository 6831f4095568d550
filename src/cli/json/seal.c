/*
 * Should: leave a process that reads fd 0, writes fds 1 and 2, allocates bounded memory and ends.
 * Mustn't: open, run, connect to or signal anything, gain a privilege, leave a core with the input in it.
 * How it fails closed: every step is required; the caller ends the process when one fails.
 */
#include "cli/json/seal.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "jail/jail_seccomp.h"

/* Compiled from json.policy and json_stat.policy. */
extern const struct jail_policy policy_json, policy_json_stat;

#define CPU_SECONDS  5            /* the largest input takes under one */
#define MEMORY_BYTES (256U << 20) /* of address space; libraries take some 10 MiB of it */
/* Not less: it is the size of the file behind fds 1 and 2 that counts, which may be a log written for long.
 */
#define FILE_BYTES   (1ULL << 40)

static const struct {
        int resource;
        rlim_t max;
        const char *name;
} limits[] = {
        {RLIMIT_CORE, 0, "core size"},
        {RLIMIT_NOFILE, 0, "open files"}, /* no new ones; 0, 1 and 2 stay */
        {RLIMIT_FSIZE, FILE_BYTES, "file size"},
        {RLIMIT_CPU, CPU_SECONDS, "CPU time"},
        {RLIMIT_AS, MEMORY_BYTES, "address space"},
};

/* The lower of max and what is allowed already: raising a hard limit is a privilege. */
static int limit_set(int resource, rlim_t max)
{
        struct rlimit now;

        if (getrlimit(resource, &now) < 0)
                return -errno;
        if (now.rlim_max < max)
                max = now.rlim_max;
        return setrlimit(resource, &(struct rlimit){max, max}) < 0 ? -errno : 0;
}

int seal_self(bool with_stat, struct err *e)
{
        int r = 0;

        if (close_range(3, ~0U, 0) < 0)
                r = err_set(e, -errno, "close inherited files");
        else if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                r = err_set(e, -errno, "PR_SET_DUMPABLE");
        else if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                r = err_set(e, -errno, "PR_SET_NO_NEW_PRIVS");
        for (size_t i = 0; r == 0 && i < ARRAY_LEN(limits); i++) {
                r = limit_set(limits[i].resource, limits[i].max);
                if (r < 0)
                        r = err_set(e, r, "limit %s", limits[i].name);
        }
        if (r == 0)
                r = jail_seccomp_install(with_stat ? &policy_json_stat : &policy_json, e);
        if (r < 0 && e)
                e->status = STATUS_ISOLATION;
        return r;
}
