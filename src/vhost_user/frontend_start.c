/* The front end starts a device and stops it: features, memory, in-flight region, rings. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vhost_user/frontend_parts.h"

#define STATUS_READY   (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define STATUS_RUNNING (STATUS_READY | VIRTIO_CONFIG_S_DRIVER_OK)

#define INFLIGHT_MAX (16ULL << 20) /* bytes: a queue of 32768 entries takes 512 KiB */

/* The guest has chosen these: nothing is asked of a device that cannot be. */
static int queue_check(const struct guest_ram *ram, const struct vu_frontend_queue *q, unsigned int index,
                       struct err *e)
{
        uint64_t size = q->size;

        if ((size & (size - 1)) || q->descriptors % 16 || q->driver % 2 || q->device % 4 || q->kick_fd < 0)
                return err_set(e, -EINVAL, "queue %u", index);
        if (!guest_ram_at(ram, q->descriptors, size * sizeof(struct vring_desc)) ||
            !guest_ram_at(ram, q->driver, sizeof(struct vring_avail) + (size + 1) * sizeof(uint16_t)) ||
            !guest_ram_at(ram, q->device,
                          sizeof(struct vring_used) + size * sizeof(struct vring_used_elem) + sizeof(uint16_t)))
                return err_set(e, -EFAULT, "queue %u at %#llx, %#llx, %#llx", index, (unsigned long long)q->descriptors,
                               (unsigned long long)q->driver, (unsigned long long)q->device);
        return 0;
}

static int start_check(const struct vu_frontend *f, const struct guest_ram *ram, uint64_t features,
                       const struct vu_frontend_queue *queues, unsigned int count, struct err *e)
{
        bool any = false;

        for (unsigned int i = 0; i < count && count <= f->queues; i++) {
                int r = queues[i].size > 0 ? queue_check(ram, &queues[i], i, e) : 0;

                if (r < 0)
                        return r;
                any = any || queues[i].size > 0;
        }
        if (!any || (features & ~f->features))
                return err_set(e, -EINVAL, "start %u queues of %u with features %#llx of %#llx", count, f->queues,
                               (unsigned long long)features, (unsigned long long)f->features);
        return 0;
}

static struct vu_region region_of(const struct ram_region *r)
{
        return (struct vu_region){
                .base = r->base, .len_bytes = r->len_bytes, .peer = r->peer, .off_bytes = r->file_off_bytes};
}

static int memory_add(struct vu_frontend *f, const struct guest_ram *ram, int ram_fd, struct err *e)
{
        uint64_t slots;
        int r = vu_ask_u64(f, VU_GET_MAX_MEM_SLOTS, &slots, e);

        if (r < 0)
                return r;
        if (slots < ram->region_count)
                return err_set(e, -ENOSPC, "guest memory in %u regions, the device takes %llu", ram->region_count,
                               (unsigned long long)slots);
        for (unsigned int i = 0; i < ram->region_count && r == 0; i++) {
                struct vu_message m = {.body.mem_reg.region = region_of(&ram->regions[i]),
                                       .fds = {ram_fd},
                                       .fd_count = 1};

                r = vu_tell(f, VU_ADD_MEM_REG, sizeof(m.body.mem_reg), &m, e);
        }
        return r;
}

static int memory_table(struct vu_frontend *f, const struct guest_ram *ram, int ram_fd, struct err *e)
{
        struct vu_message m = {.body.mem_table.count = ram->region_count, .fd_count = ram->region_count};

        if (ram->region_count > VU_REGIONS_MAX)
                return err_set(e, -ENOSPC, "guest memory in %u regions, the device takes %d", ram->region_count,
                               VU_REGIONS_MAX);
        for (unsigned int i = 0; i < ram->region_count; i++) {
                m.body.mem_table.regions[i] = region_of(&ram->regions[i]);
                m.fds[i] = ram_fd;
        }
        return vu_tell(f, VU_SET_MEM_TABLE, (uint32_t)VU_MEM_TABLE_BYTES(ram->region_count), &m, e);
}

/* Once: the guest's RAM does not change. */
static int memory_give(struct vu_frontend *f, const struct guest_ram *ram, int ram_fd, struct err *e)
{
        int r;

        if (f->has_memory)
                return 0;
        if (f->protocol_features & VU_PROTOCOL_CONFIGURE_MEM_SLOTS)
                r = memory_add(f, ram, ram_fd, e);
        else
                r = memory_table(f, ram, ram_fd, e);
        f->has_memory = r == 0;
        return r;
}

/* Moves a descriptor that has come to the number that the VMM's filter knows (which executes nothing, so that it need
 * not close then). */
static int inflight_place(struct vu_frontend *f, int *fd, struct err *e)
{
        if (f->inflight_at <= 0 || *fd == f->inflight_at) {
                f->inflight_fd = TAKE_FD(*fd);
                return 0;
        }
        if (dup2(*fd, f->inflight_at) < 0)
                return err_set(e, -errno, "place the in-flight region's descriptor");
        f->inflight_fd = f->inflight_at;
        return 0;
}

/*
 * This end never maps the region: what it is made of is up to back ends. One that says it has none gets none.
 * Only what would make no sense to any of them is refused.
 */
static int inflight_accept(struct vu_frontend *f, struct vu_message *m, unsigned int queues, uint16_t size,
                           struct err *e)
{
        const struct vu_payload_inflight *i = &m->body.inflight;
        int r;

        if (i->size_bytes == 0 && m->fd_count == 0)
                return 0;
        if (m->fd_count != 1 || i->queues != queues || i->queue_size != size || i->size_bytes == 0 ||
            i->size_bytes > INFLIGHT_MAX || i->off_bytes > INFLIGHT_MAX)
                return err_set(e, -EPROTO, "the device's in-flight region");
        r = inflight_place(f, &m->fds[0], e);
        if (r == 0)
                f->inflight = (struct vu_payload_inflight){.size_bytes = i->size_bytes,
                                                           .off_bytes = i->off_bytes,
                                                           .queues = i->queues,
                                                           .queue_size = i->queue_size};
        return r;
}

static int inflight_fetch(struct vu_frontend *f, const struct vu_frontend_queue *queues, unsigned int count,
                          struct err *e)
{
        struct vu_message m = {.body.inflight.queues = (uint16_t)count};
        uint16_t size = 0;
        int r;

        for (unsigned int i = 0; i < count; i++)
                size = queues[i].size > size ? queues[i].size : size;
        m.body.inflight.queue_size = size;
        r = vu_ask(f, VU_GET_INFLIGHT_FD, sizeof(m.body.inflight), &m, e);
        if (r == 0)
                r = inflight_accept(f, &m, count, size, e);
        vu_message_close(&m);
        return r;
}

static int inflight_give(struct vu_frontend *f, const struct vu_frontend_queue *queues, unsigned int count,
                         struct err *e)
{
        struct vu_message m = {.fd_count = 1};
        int r = 0;

        if (!(f->protocol_features & VU_PROTOCOL_INFLIGHT_SHMFD))
                return f->inflight_fd < 0 ? 0 : err_set(e, -ENOTSUP, "this device cannot go on where another died");
        if (f->inflight_fd < 0)
                r = inflight_fetch(f, queues, count, e);
        if (r < 0 || f->inflight_fd < 0)
                return r;
        m.body.inflight = f->inflight;
        m.fds[0] = f->inflight_fd;
        return vu_tell(f, VU_SET_INFLIGHT_FD, sizeof(m.body.inflight), &m, e);
}

/* What the guest's address is to the back end. The ring was checked to be in RAM. */
static uint64_t peer_of(const struct guest_ram *ram, gpa_t gpa)
{
        for (unsigned int i = 0; i < ram->region_count; i++)
                if (gpa - ram->regions[i].base < ram->regions[i].len_bytes)
                        return gpa - ram->regions[i].base + ram->regions[i].peer;
        return 0;
}

static int vring_state(struct vu_frontend *f, enum vu_request request, unsigned int index, uint32_t num, struct err *e)
{
        struct vu_message m = {.body.state = {.index = index, .num = num}};

        return vu_post(f, request, sizeof(m.body.state), &m, e);
}

static int vring_event(struct vu_frontend *f, enum vu_request request, unsigned int index, int fd, struct err *e)
{
        struct vu_message m = {.body.u64 = index | (fd < 0 ? VU_VRING_NO_FD : 0),
                               .fds = {fd},
                               .fd_count = fd < 0 ? 0 : 1};

        return vu_post(f, request, sizeof(m.body.u64), &m, e);
}

static int vring_addr(struct vu_frontend *f, const struct guest_ram *ram, const struct vu_frontend_queue *q,
                      unsigned int index, struct err *e)
{
        struct vu_message m = {.body.addr = {.index = index,
                                             .descriptors = peer_of(ram, q->descriptors),
                                             .avail = peer_of(ram, q->driver),
                                             .used = peer_of(ram, q->device)}};

        return vu_tell(f, VU_SET_VRING_ADDR, sizeof(m.body.addr), &m, e);
}

/* After a death, the device goes on behind what was given back; what was taken and not given back, the region names. */
static uint16_t base_of(const struct guest_ram *ram, const struct vu_frontend_queue *q, bool again)
{
        const struct vring_used *used = again ? guest_ram_at(ram, q->device, sizeof(*used)) : NULL;

        return used ? __atomic_load_n(&used->idx, __ATOMIC_RELAXED) : q->next_avail;
}

static int queue_give(struct vu_frontend *f, const struct guest_ram *ram, const struct vu_frontend_queue *q,
                      unsigned int index, bool again, struct err *e)
{
        int r = vring_state(f, VU_SET_VRING_NUM, index, q->size, e);

        if (r == 0)
                r = vring_state(f, VU_SET_VRING_BASE, index, base_of(ram, q, again), e);
        if (r == 0)
                r = vring_addr(f, ram, q, index, e);
        if (r == 0)
                r = vring_event(f, VU_SET_VRING_CALL, index, q->call_fd, e);
        if (r == 0)
                r = vring_event(f, VU_SET_VRING_KICK, index, q->kick_fd, e);
        return r;
}

static int queue_enable(struct vu_frontend *f, unsigned int index, struct err *e)
{
        struct vu_message m = {.body.state = {.index = index, .num = 1}};

        return f->offers_protocol ? vu_tell(f, VU_SET_VRING_ENABLE, sizeof(m.body.state), &m, e) : 0;
}

static int queues_run(struct vu_frontend *f, const struct guest_ram *ram, const struct vu_frontend_queue *queues,
                      unsigned int count, bool again, struct err *e)
{
        int r = 0;

        for (unsigned int i = 0; i < count && r == 0; i++)
                if (queues[i].size > 0)
                        r = queue_give(f, ram, &queues[i], i, again, e);
        for (unsigned int i = 0; i < count && r == 0; i++)
                if (queues[i].size > 0)
                        r = queue_enable(f, i, e);
        return r;
}

static int status_set(struct vu_frontend *f, uint8_t status, struct err *e)
{
        return f->protocol_features & VU_PROTOCOL_STATUS ? vu_tell_u64(f, VU_SET_STATUS, status, e) : 0;
}

int vu_frontend_start(struct vu_frontend *f, const struct guest_ram *ram, int ram_fd, uint64_t features,
                      const struct vu_frontend_queue *queues, unsigned int count, struct err *e)
{
        bool again = f->inflight_fd >= 0;
        int r = start_check(f, ram, features, queues, count, e);

        if (r < 0)
                return r;
        vu_deadline_set(f, VU_REPLY_TIMEOUT_MS);
        f->needs_reset = false;
        r = vu_tell_u64(f, VU_SET_FEATURES, features | (f->offers_protocol ? VU_F_PROTOCOL_FEATURES : 0), e);
        if (r == 0)
                r = status_set(f, STATUS_READY, e);
        if (r == 0)
                r = memory_give(f, ram, ram_fd, e);
        if (r == 0)
                r = inflight_give(f, queues, count, e);
        if (r == 0)
                r = queues_run(f, ram, queues, count, again, e);
        if (r == 0)
                r = status_set(f, STATUS_RUNNING, e);
        return r;
}

static int device_reset(struct vu_frontend *f, struct err *e)
{
        struct vu_message m = {0};

        if (f->protocol_features & VU_PROTOCOL_RESET_DEVICE)
                return vu_tell(f, VU_RESET_DEVICE, 0, &m, e);
        return status_set(f, 0, e);
}

int vu_frontend_stop(struct vu_frontend *f, unsigned int count, struct err *e)
{
        int r = 0;

        vu_deadline_set(f, VU_STOP_TIMEOUT_MS);
        for (unsigned int i = 0; i < count && r == 0; i++) {
                struct vu_message m = {.body.state.index = i};

                r = vu_ask(f, VU_GET_VRING_BASE, sizeof(m.body.state), &m, e);
                if (r == 0 && m.body.state.index != i)
                        r = err_set(e, -EPROTO, "the device's answer to GET_VRING_BASE");
        }
        if (r == 0)
                r = device_reset(f, e);
        vu_inflight_forget(f);
        return r;
}
