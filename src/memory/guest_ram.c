#include "memory/guest_ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

#define PAGE_BYTES 4096

static int ram_memfd(void)
{
        int fd = (int)syscall(SYS_memfd_create, RAM_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

        if (fd < 0 && errno == EINVAL) /* before 6.3 */
                fd = (int)syscall(SYS_memfd_create, RAM_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        return fd < 0 ? -errno : fd;
}

/* Maps part of a file as RAM: read and write, shared, out of core dumps and merging. */
static int map_shared(int fd, uint64_t off_bytes, uint64_t len_bytes, uint8_t **ret, struct err *e)
{
        uint8_t *host = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)off_bytes);

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
        *ret = host;
        return 0;
}

int guest_ram_map(struct guest_ram *ret, uint64_t len_bytes, gpa_t hole_start, gpa_t hole_end, int *ret_fd,
                  struct err *e)
{
        struct guest_ram ram = {.len_bytes = len_bytes};
        uint64_t below = len_bytes < hole_start ? len_bytes : hole_start;
        _cleanup_fd_ int fd = -1;
        uint8_t *host = NULL;
        int r;

        if (len_bytes == 0 || len_bytes % PAGE_BYTES || len_bytes > INT64_MAX)
                return err_set(e, -EINVAL, "guest memory of %llu bytes", (unsigned long long)len_bytes);

        fd = ram_memfd();
        if (fd < 0)
                return err_set(e, fd, "create guest memory");
        if (ftruncate(fd, (off_t)len_bytes) < 0)
                return err_set(e, -errno, "size guest memory to %llu bytes", (unsigned long long)len_bytes);
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
                return err_set(e, -errno, "seal guest memory");

        r = map_shared(fd, 0, len_bytes, &host, e);
        if (r < 0)
                return r;

        /* Peer addresses are the guest's: they say nothing of where this process maps RAM. */
        ram.regions[ram.region_count++] = (struct ram_region){.base = 0, .len_bytes = below, .host = host};
        if (below < len_bytes)
                ram.regions[ram.region_count++] = (struct ram_region){.base = hole_end,
                                                                      .len_bytes = len_bytes - below,
                                                                      .host = host + below,
                                                                      .file_off_bytes = below,
                                                                      .peer = hole_end};
        *ret = ram;
        if (ret_fd)
                *ret_fd = TAKE_FD(fd);
        return 0;
}

/* A region of a front end, of any values: page-aligned, not empty, without wrapping, inside the file. */
static int region_check(int fd, const struct ram_region *r, struct err *e)
{
        struct stat st;
        uint64_t end;

        if ((r->file_off_bytes | r->base | r->len_bytes | r->peer) % PAGE_BYTES || r->len_bytes == 0 ||
            add_overflows(r->base, r->len_bytes, &end) || add_overflows(r->peer, r->len_bytes, &end) ||
            add_overflows(r->file_off_bytes, r->len_bytes, &end) || end > INT64_MAX)
                return err_set(e, -EINVAL, "guest memory at %#llx, %#llx bytes, offset %#llx, peer %#llx",
                               (unsigned long long)r->base, (unsigned long long)r->len_bytes,
                               (unsigned long long)r->file_off_bytes, (unsigned long long)r->peer);
        if (fstat(fd, &st) < 0)
                return err_set(e, -errno, "ask for the size of guest memory");
        if (!S_ISREG(st.st_mode) || end > (uint64_t)st.st_size)
                return err_set(e, -EINVAL, "guest memory of %#llx bytes at offset %#llx is not in its file",
                               (unsigned long long)r->len_bytes, (unsigned long long)r->file_off_bytes);
        return 0;
}

static bool ranges_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
        return a < b ? b - a < a_len : a - b < b_len;
}

int guest_ram_add(struct guest_ram *ram, int fd, uint64_t off_bytes, gpa_t base, uint64_t len_bytes, uint64_t peer,
                  struct err *e)
{
        struct ram_region region = {.base = base, .len_bytes = len_bytes, .file_off_bytes = off_bytes, .peer = peer};
        int r = region_check(fd, &region, e);

        if (r < 0)
                return r;
        for (unsigned int i = 0; i < ram->region_count; i++) {
                const struct ram_region *o = &ram->regions[i];

                if (ranges_overlap(base, len_bytes, o->base, o->len_bytes) ||
                    ranges_overlap(peer, len_bytes, o->peer, o->len_bytes))
                        return err_set(e, -EEXIST, "guest memory at %#llx overlaps that at %#llx",
                                       (unsigned long long)base, (unsigned long long)o->base);
        }
        if (ram->region_count == GUEST_RAM_REGIONS_MAX)
                return err_set(e, -ENOSPC, "guest memory in more than %d regions", GUEST_RAM_REGIONS_MAX);
        r = map_shared(fd, off_bytes, len_bytes, &region.host, e);
        if (r < 0)
                return r;
        ram->regions[ram->region_count++] = region;
        ram->len_bytes += len_bytes; /* regions do not overlap: the sum cannot wrap */
        return 0;
}

int guest_ram_remove(struct guest_ram *ram, gpa_t base, uint64_t len_bytes, uint64_t peer)
{
        for (unsigned int i = 0; i < ram->region_count; i++) {
                struct ram_region *r = &ram->regions[i];

                if (r->base != base || r->len_bytes != len_bytes || r->peer != peer)
                        continue;
                munmap(r->host, r->len_bytes);
                ram->len_bytes -= r->len_bytes;
                *r = ram->regions[--ram->region_count];
                ram->regions[ram->region_count] = (struct ram_region){0};
                return 0;
        }
        return -ENOENT;
}

int guest_ram_from_peer(const struct guest_ram *ram, uint64_t peer, uint64_t len_bytes, gpa_t *ret)
{
        for (unsigned int i = 0; i < ram->region_count; i++) {
                const struct ram_region *r = &ram->regions[i];

                if (peer >= r->peer && range_fits(peer - r->peer, len_bytes, r->len_bytes)) {
                        *ret = r->base + (peer - r->peer);
                        return 0;
                }
        }
        return -EFAULT;
}

/* Regions of guest_ram_map() lie in one mapping, which may be unmapped piece by piece. */
void guest_ram_unmap(struct guest_ram *ram)
{
        for (unsigned int i = 0; i < ram->region_count; i++)
                munmap(ram->regions[i].host, ram->regions[i].len_bytes);
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

void *guest_ram_part(const struct guest_ram *ram, gpa_t gpa, uint64_t len_bytes, uint64_t *ret_bytes)
{
        for (unsigned int i = 0; i < ram->region_count; i++) {
                const struct ram_region *r = &ram->regions[i];
                uint64_t left;

                if (len_bytes == 0 || gpa < r->base || gpa - r->base >= r->len_bytes)
                        continue;
                left = r->len_bytes - (gpa - r->base);
                *ret_bytes = len_bytes < left ? len_bytes : left;
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
