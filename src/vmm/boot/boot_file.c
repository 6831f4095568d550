/* Reading the files a guest is started from. They are never mapped: whoever can write them could change what
 * was validated. */
#include <errno.h>
#include <sys/stat.h>

#include "base/io.h"
#include "vmm/boot/boot_internal.h"

int boot_file_init(struct boot_file *ret, int fd, const char *what, struct err *e)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return err_set(e, -errno, "look at the %s", what);
        if (!S_ISREG(st.st_mode))
                return err_bad(e, STATUS_IMAGE,
                               "%s is not a regular file; a directory, pipe or device cannot be booted", what);
        if (st.st_size <= 0)
                return err_bad(e, STATUS_IMAGE, "%s is empty", what);

        *ret = (struct boot_file){.fd = fd, .len_bytes = (uint64_t)st.st_size, .what = what};
        return 0;
}

static int read_failed(const struct boot_file *f, int r, struct err *e)
{
        if (r == -ENODATA)
                return err_bad(e, STATUS_IMAGE, "%s shrank while it was read; leave it alone and try again", f->what);
        return err_set(e, r, "read the %s", f->what);
}

int boot_file_read(const struct boot_file *f, void *buf, size_t len, uint64_t off, struct err *e)
{
        int r = io_pread_all(f->fd, buf, len, off);

        return r < 0 ? read_failed(f, r, e) : 0;
}

int boot_file_read_to_guest(const struct boot_file *f, const struct guest_ram *ram, gpa_t gpa, uint64_t len_bytes,
                            uint64_t off, struct err *e)
{
        int r = guest_ram_read_file(ram, gpa, len_bytes, f->fd, off);

        return r < 0 ? read_failed(f, r, e) : 0;
}
