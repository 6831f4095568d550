#include "base/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* From PREFIX/bin to PREFIX/libexec/bulkhead. */
#define LIBEXEC_FROM_BIN "../libexec/bulkhead"

int beside_open(const char *name, struct err *e)
{
        char self[PATH_MAX], path[PATH_MAX + 64];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        int fd, r;

        if (n < 0)
                return err_set(e, -errno, "find this program's directory (is /proc mounted?)");
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        snprintf(path, sizeof(path), "%s/" LIBEXEC_FROM_BIN "/%s", self, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
                snprintf(path, sizeof(path), "%s/%s", self, name);
                fd = open(path, O_RDONLY | O_CLOEXEC);
        }
        if (fd < 0) {
                r = err_set(e, -errno, "open %s", path);
                err_hint(e, "install bulkhead again");
                return r;
        }
        return fd;
}
