#include "cli/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spec/guest_spec.h"

int standard_fds_fill(struct err *e)
{
        for (;;) {
                int fd = open("/dev/null", O_RDWR);

                if (fd < 0)
                        return err_set(e, -errno, "open /dev/null");
                if (fd > STDERR_FILENO) {
                        close(fd);
                        return 0;
                }
        }
}

void environment_wipe(void)
{
        static char runtime_dir[SPEC_PATH_MAX];
        static char *kept[] = {NULL, NULL};
        const char *value = getenv("XDG_RUNTIME_DIR");
        int n = geteuid() == 0 || !value ? 0 : snprintf(runtime_dir, sizeof(runtime_dir), "XDG_RUNTIME_DIR=%s", value);

        if (n > 0 && (size_t)n < sizeof(runtime_dir))
                kept[0] = runtime_dir;
        for (char **variable = environ; variable && *variable; variable++)
                explicit_bzero(*variable, strlen(*variable));
        environ = kept;
}
