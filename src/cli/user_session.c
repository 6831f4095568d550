#include "cli/user_session.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "jail/jail_cgroup_delegated.h"
#include "spec/guest_spec.h"

#define SYSTEMD_RUN "/usr/bin/systemd-run"

#define ARGUMENTS_MAX 256 /* of a command line; one that is longer goes without a scope */

bool user_session_exists(void)
{
        const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        _cleanup_fd_ int fd = -1;
        int n = runtime_dir ? snprintf(a.sun_path, sizeof(a.sun_path), "%s/systemd/private", runtime_dir) : -1;

        if (n < 0 || (size_t)n >= sizeof(a.sun_path) || !jail_cgroup_is_unified() || access(SYSTEMD_RUN, X_OK) < 0)
                return false;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        return fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0;
}

void user_session_enter_scope(int argc, char *argv[])
{
        char self[SPEC_PATH_MAX], unit[64], base[CGROUP_BASE_MAX];
        const char *head[] = {SYSTEMD_RUN, "--user", "--scope", "--quiet", "--collect", unit, "--property=Delegate=yes",
                              "--",        self};
        char *list[ARGUMENTS_MAX + ARRAY_LEN(head) + 1];
        size_t count = 0;
        ssize_t n;

        if (geteuid() == 0 || argc > ARGUMENTS_MAX || jail_cgroup_in_own_scope() || jail_cgroup_delegated(base) ||
            !user_session_exists())
                return;
        n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        if (n < 0)
                return;
        self[n] = '\0';
        snprintf(unit, sizeof(unit), "--unit=" CGROUP_SCOPE_FORMAT, (int)getpid());
        for (size_t i = 0; i < ARRAY_LEN(head); i++)
                list[count++] = (char *)(uintptr_t)head[i];
        for (int i = 0; i < argc; i++)
                list[count++] = argv[i];
        list[count] = NULL;
        execv(SYSTEMD_RUN, list);
}
