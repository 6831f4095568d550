#include "memory/guest_ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/number.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* linux/memfd.h, 6.3 */
#endif

/* The memfd's name as /proc shows it; auditors recognise guest RAM by it. */
#define RAM_NAME "guest_ram"

static int ram_memfd(void)
{
        int fd = (int)syscall(SYS_memfd_create, RAM_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

        if (fd < 0 && errno == EINVAL) /* before 6.3 */
                fd = (int)syscall(SYS_memfd_create, RAM_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        return fd < 0 ? -errno : fd;
}

int guest_ram_map(struct guest_ram *ret, uint64_t len_bytes, gpa_t hole_start, gpa_t hole_end, int *ret_fd,
                  struct err *e)
{
        struct guest_ram ram = {.len_bytes = len_bytes};
        uint64_t below = len_bytes < hole_start ? len_bytes : hole_start;
        _cleanup_fd_ int fd = -1;
        uint8_t *host;

        if (len_bytes == 0 || len_bytes % 4096 || len_bytes > INT64_MAX)
                return err_set(e, -EINVAL, "guest memory of %llu bytes", (unsigned long long)len_bytes);

        fd = ram_memfd();
        if (fd < 0)
                return err_set(e, fd, "create guest memory");
        if (ftruncate(fd, (off_t)len_bytes) < 0)
                return err_set(e, -errno, "size guest memory to %llu bytes", (unsigned long long)len_bytes);
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
                return err_set(e, -errno, "seal guest memory");

        host = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        if (host == MAP_FAILED)
                return err_set(e, -errno, "map %llu bytes of guest memory", (unsigned long long)len_bytes);
        /* A shared mapping is never merged (ksm ignores it); saying so costs nothing where the kernel
         * listens. */
        if (madvise(host, len_bytes, MADV_DONTDUMP) < 0 ||
            (madvise(host, len_bytes, MADV_UNMERGEABLE) < 0 && errno != EINVAL)) {
                int r = -errno;

                munmap(host, len_bytes);
                return err_set(e, r, "keep guest memory out of core dumps and merging");
        }

        ram.regions[ram.region_count++] = (struct ram_region){.base = 0, .len_bytes = below, .host = host};
        if (below < len_bytes)
                ram.regions[ram.region_count++] = (struct ram_region){.base = hole_end,
                                                                      .len_bytes = len_bytes - below,
                                                                      .host = host + below,
                                                                      .file_off_bytes = below};
        *ret = ram;
        if (ret_fd)
                *ret_fd = TAKE_FD(fd);
        return 0;
}

void guest_ram_unmap(struct guest_ram *ram)
{
        if (ram->region_count > 0)
                munmap(ram->regions[0].host, ram->len_bytes);
        memset(ram, 0, sizeof(*ram));
}

void *guest_ram_at(const struct guest_ram *ram, gpa_t gpa, uint64_t len_bytes)
{
        for (unsigned int i = 0; i < ram->region_count; i++) {
                const struct ram_region *r = &ram->regions[i];

                if (gpa >= r->base && range_fits(gpa - r->base, len_bytes, r->len_bytes))
                        return r->host + (gpa - r->base);
        }
        return NULL;
}

int guest_ram_write(const struct guest_ram *ram, gpa_t gpa, const void *data, uint64_t len_bytes)
{
        void *p = guest_ram_at(ram, gpa, len_bytes);

        if (!p)
                return -EFAULT;
        memcpy(p, data, len_bytes);
        return 0;
}

int guest_ram_read_file(const struct guest_ram *ram, gpa_t gpa, uint64_t len_bytes, int fd, uint64_t off)
{
        void *p = guest_ram_at(ram, gpa, len_bytes);

        if (!p)
                return -EFAULT;
        return io_pread_all(fd, p, len_bytes, off);
}
