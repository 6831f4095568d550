/*
 * The back end's memory: the regions that the front end hands over, and the in-flight region. Queues stand still while
 * a region comes or goes, and find their rings anew; one whose ring is in no region waits until it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "vhost_user/backend_parts.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* linux/memfd.h, 6.3 */
#endif

#define PAGE_BYTES 4096

static int region_add(struct guest_ram *ram, int fd, const struct vu_region *r, struct err *e)
{
        return guest_ram_add(ram, fd, r->off_bytes, r->base, r->len_bytes, r->peer, e);
}

int vu_on_mem_table(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        struct guest_ram fresh = {0};
        int r = 0;

        for (unsigned int i = 0; i < m->body.mem_table.count && r == 0; i++)
                r = region_add(&fresh, m->fds[i], &m->body.mem_table.regions[i], e);
        if (r < 0) {
                guest_ram_unmap(&fresh);
                return r;
        }
        vu_queues_pause(b);
        guest_ram_unmap(&b->ram);
        b->ram = fresh;
        return vu_queues_resume(b, e);
}

int vu_on_max_mem_slots(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        m->body.u64 = GUEST_RAM_REGIONS_MAX;
        return 0;
}

int vu_on_add_mem_reg(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        int r, resumed;

        vu_queues_pause(b);
        r = region_add(&b->ram, m->fds[0], &m->body.mem_reg.region, e);
        resumed = vu_queues_resume(b, r < 0 ? NULL : e);
        return r < 0 ? r : resumed;
}

/* The offset is not looked at, nor a descriptor. */
int vu_on_rem_mem_reg(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        const struct vu_region *region = &m->body.mem_reg.region;
        int r, resumed;

        vu_queues_pause(b);
        r = guest_ram_remove(&b->ram, region->base, region->len_bytes, region->peer);
        if (r < 0)
                err_set(e, r, "remove guest memory at %#llx", (unsigned long long)region->base);
        resumed = vu_queues_resume(b, r < 0 ? NULL : e);
        return r < 0 ? r : resumed;
}

void vu_inflight_drop(struct vu_backend *b)
{
        if (b->inflight_map)
                munmap(b->inflight_map, b->inflight_bytes);
        b->inflight_map = NULL;
        b->inflight_bytes = 0;
        b->inflight_queues = b->inflight_size = 0;
}

static int inflight_check(const struct vu_backend *b, const struct vu_payload_inflight *i, struct err *e)
{
        if (i->queues == 0 || i->queues > b->ops->queues || i->queue_size == 0 || i->queue_size > VIRTQ_SIZE_MAX)
                return err_set(e, -EINVAL, "an in-flight region for %u queues of %u entries", i->queues, i->queue_size);
        return 0;
}

static int inflight_memfd(uint64_t bytes)
{
        _cleanup_fd_ int fd =
                (int)syscall(SYS_memfd_create, "inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

        if (fd < 0 && errno == EINVAL) /* before 6.3 */
                fd = (int)syscall(SYS_memfd_create, "inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
                return -errno;
        return TAKE_FD(fd);
}

/* Makes a region, which becomes this back end's only when the front end hands it back. */
int vu_on_get_inflight(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        struct vu_payload_inflight *i = &m->body.inflight;
        uint64_t bytes;
        int r = inflight_check(b, i, e);

        if (r < 0)
                return r;
        bytes = (vu_inflight_bytes(i->queues, i->queue_size) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        r = inflight_memfd(bytes);
        if (r < 0)
                return err_set(e, r, "make an in-flight region of %llu bytes", (unsigned long long)bytes);
        i->size_bytes = bytes;
        i->off_bytes = 0;
        m->fds[0] = r;
        m->fd_count = 1;
        return 0;
}

/* A mapping of a file that can shrink is one that faults when the front end wants it to: the file's seals say that it
 * cannot. */
static int inflight_map(const struct vu_payload_inflight *i, int fd, uint64_t bytes, void **ret, struct err *e)
{
        int seals = fcntl(fd, F_GET_SEALS);
        struct stat st;
        void *p;

        if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) < 0)
                return err_set(e, -EINVAL, "an in-flight region whose file can shrink");
        if (i->off_bytes % PAGE_BYTES || bytes > i->size_bytes ||
            !range_fits(i->off_bytes, i->size_bytes, (uint64_t)st.st_size))
                return err_set(e, -EINVAL, "an in-flight region of %llu bytes at %llu",
                               (unsigned long long)i->size_bytes, (unsigned long long)i->off_bytes);
        p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)i->off_bytes);
        if (p == MAP_FAILED)
                return err_set(e, -errno, "map the in-flight region");
        *ret = p;
        return 0;
}

int vu_on_set_inflight(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        const struct vu_payload_inflight *i = &m->body.inflight;
        uint64_t bytes;
        void *map = NULL;
        int r = inflight_check(b, i, e);

        if (r < 0)
                return r;
        if (vu_queues_live(b))
                return err_set(e, -EBUSY, "an in-flight region for queues that run");
        bytes = vu_inflight_bytes(i->queues, i->queue_size);
        r = inflight_map(i, m->fds[0], bytes, &map, e);
        if (r < 0)
                return r;
        vu_inflight_drop(b);
        b->inflight_map = map;
        b->inflight_bytes = bytes;
        b->inflight_queues = i->queues;
        b->inflight_size = i->queue_size;
        return 0;
}
