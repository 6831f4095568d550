#include "supervisor/place.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "jail/jail_cgroup_delegated.h"

static bool is_root(void)
{
        return geteuid() == 0;
}

void place_say(const char *what, const char *name, bool raw, const char *fmt, ...)
{
        char text[4096], line[sizeof(text) + SPEC_NAME_MAX + 32];
        va_list ap;
        int n;

        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        for (char *c = text; *c; c++) /* some of it may have been said by a jailed process */
                if (*c < ' ' || *c > '~')
                        *c = '?';
        n = snprintf(line, sizeof(line), "bulkhead: %s \"%s\" %s%s\n", what, name, text, raw ? "\r" : "");
        if (n > 0)
                (void)io_write_all(STDERR_FILENO, line, (size_t)n); /* nobody to tell */
}

void place_say_absent(const char *what, const char *name, bool raw, uint64_t layers)
{
        char line[4096];
        size_t used = 0;

        for (unsigned int i = 0; i < LAYER_COUNT && used < sizeof(line); i++)
                if (!(layers & LAYER_BIT(i)))
                        used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s (needs %s)", used ? ", " : "",
                                                 jail_layers[i].name, jail_layers[i].remedy);
        if (used > 0)
                place_say(what, name, raw, "runs without: %s", line);
}

uint64_t place_required_layers(bool all)
{
        uint64_t bits = 0;

        for (unsigned int i = 0; i < LAYER_COUNT; i++)
                if (all || jail_layers[i].requirement == REQUIRED ||
                    (jail_layers[i].requirement == REQUIRED_FOR_ROOT && is_root()))
                        bits |= LAYER_BIT(i);
        return bits;
}

static int signals_open(int *ret_fd, struct err *e)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGUSR1);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return err_set(e, -errno, "block signals");
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
                return err_set(e, -errno, "ignore SIGPIPE");
        *ret_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
        return *ret_fd < 0 ? err_set(e, -errno, "open a signal descriptor") : 0;
}

static int cgroup_make(struct place *p, struct err *e)
{
        int r = jail_cgroup_create(p->cgroup_base, p->name, &p->cgroup, e);

        p->cgroup_made = r == 0;
        return r;
}

/* What an ordinary user can have of what root always has: a cgroup, where one was delegated. */
static int user_cgroup_make(struct place *p, bool limits_asked, struct err *e)
{
        int r;

        if (!state_guest_end(&p->dir, p->name))
                return err_set(e, -EBUSY, "end what is left of an earlier guest \"%s\"", p->name);
        p->delegated = jail_cgroup_delegated(p->cgroup_base);
        if (!p->delegated) {
                p->cgroup_base[0] = '\0';
                if (!limits_asked)
                        return 0;
                err_bad(e, STATUS_ISOLATION, "limits of CPU time and I/O were asked for, and no cgroup can be had");
                err_hint(e, "they need %s", jail_layers[LAYER_CGROUP_LIMITS].remedy);
                return -EPERM;
        }
        r = state_cgroup_note(&p->guest, p->cgroup_base, e);
        if (r == 0)
                r = jail_cgroup_enter_leaf(p->cgroup_base, e);
        return r < 0 ? r : cgroup_make(p, e);
}

static int ids_take(struct place *p, struct err *e)
{
        struct state_ids_range range;
        int r = state_ids_range(&range);

        if (r < 0 && r != -ENOENT)
                return err_set(e, r, "read /etc/subuid and /etc/subgid");
        p->own_ids = r == 0 && (is_root() || id_mapper_available());
        if (!p->own_ids) {
                p->slot = STATE_SLOT_NONE;
                p->ids = (struct jail_ids){.uid = geteuid(), .gid = getegid(), .count = 1};
                return 0;
        }
        r = state_ids_take(&p->dir, &range, p->name, &p->slot, &p->ids, e);
        p->slot_taken = r == 0;
        if (r == 0 && !is_root())
                r = id_mapper_start(&p->mapper, &p->ids, e);
        return r;
}

int place_take(struct place *p, struct err *e)
{
        int r;

        (void)prctl(PR_SET_NAME, "bulkhead-supervisor"); /* of which the kernel keeps 15 characters */
        if (prctl(PR_SET_DUMPABLE, 0) < 0)
                return err_set(e, -errno, "become undumpable");
        r = signals_open(&p->signal_fd, e);
        if (r == 0)
                r = state_dir_open(&p->dir, e);
        return r == 0 ? state_guest_take(&p->dir, p->name, &p->guest, e) : r;
}

int place_furnish(struct place *p, bool limits_asked, struct err *e)
{
        /* The cgroup first: making it proves that nothing is left of a dead guest of this name, whose ids it may get.
         */
        int r = is_root() ? cgroup_make(p, e) : user_cgroup_make(p, limits_asked, e);

        return r == 0 ? ids_take(p, e) : r;
}

void place_sweep(struct place *p)
{
        if (!p->swept && p->dir.fd >= 0)
                state_sweep(&p->dir, p->guest.lock_fd >= 0 ? p->name : NULL);
        p->swept = true;
}

int place_release(struct place *p, struct err *e)
{
        int r = 0;

        place_sweep(p); /* where the start failed before it came to that */
        id_mapper_stop(&p->mapper);
        jail_cgroup_close(&p->cgroup);
        if (p->cgroup_made)
                r = jail_cgroup_remove(p->cgroup_base, p->name, e);
        if (p->delegated)
                jail_cgroup_leave_leaf(p->cgroup_base);
        if (r == 0 && p->slot_taken)
                state_ids_drop(&p->dir, p->slot);
        if (r == 0 && p->guest.lock_fd >= 0)
                state_guest_drop(&p->dir, p->name, &p->guest);
        state_dir_close(&p->dir);
        fd_closep(&p->signal_fd);
        return r;
}
