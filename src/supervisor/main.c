/*
 * bulkhead-supervisor: one per guest, started by `bulkhead run` through exec with the guest's specification in a sealed
 * file on descriptor 3. Not meant to be started by hand.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "spec/guest_spec.h"
#include "spec/supervisor_fds.h"
#include "supervisor/supervisor.h"

static int spec_read(struct guest_spec *ret, struct err *e)
{
        struct guest_spec bytes;
        int r = io_pread_all(SUPERVISOR_FD_SPEC, &bytes, sizeof(bytes), 0);

        if (r < 0) {
                err_set(e, r, "read the guest's specification from descriptor %d", SUPERVISOR_FD_SPEC);
                err_hint(e, "start guests with: bulkhead run");
                return r;
        }
        close(SUPERVISOR_FD_SPEC);
        return guest_spec_from_bytes(&bytes, sizeof(bytes), ret, e);
}

/*
 * Whoever started this may have closed 0, 1 or 2. The next descriptors opened would take their numbers, and
 * be read as console input or written to as output.
 */
static int standard_fds_fill(struct err *e)
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

int main(void)
{
        struct err e = ERR_INIT;
        static struct guest_spec spec;
        int status;

        if (standard_fds_fill(&e) < 0 || spec_read(&spec, &e) < 0)
                status = (int)e.status;
        else
                status = supervise(&spec, &e);
        if (e.text[0])
                err_print(&e, STDERR_FILENO, "bulkhead");
        return status;
}
