#include "supervisor/devices.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "spec/disk_spec.h"
#include "supervisor/device_outside.h"
#include "supervisor/device_process.h"
#include "supervisor/device_storage.h"
#include "supervisor/disk.h"
#include "supervisor/disk_qcow2.h"

#define QUEUES_DEFAULT_MAX 4 /* of a disk: one for each vCPU, but no more */

void devices_init(struct devices *d)
{
        *d = (struct devices){.program_fds = {-1, -1, -1},
                              .storage = STORAGE_PROGRAM_INIT,
                              .namespaces = JAIL_NAMESPACES_INIT};
}

static struct device *device_add(struct devices *d, const struct device_role *role, const char *id)
{
        struct device *dv = &d->list[d->count];

        *dv = (struct device){
                .role = role,
                .id = id,
                .index = (uint32_t)d->count++,
                .queues = 1,
                .resource_fd = -1,
                .pid = -1,
                .pidfd = -1,
                .control_fd = -1,
                .ending_fd = -1,
                .vmm_socket = -1,
                .own_socket = -1,
        };
        return dv;
}

/* In use: by this guest itself, by another, or by somebody else. */
static int disk_in_use(const struct devices *d, const struct device *dv, const struct guest_spec *spec,
                       const struct state_dir *dir, struct err *e)
{
        for (size_t i = 0; i < dv->index; i++)
                if (memcmp(&d->list[i].resource, &dv->resource, sizeof(dv->resource)) == 0) {
                        err_bad(e, STATUS_IMAGE, "the disks %s and %s are one, and one of them would write it",
                                d->list[i].id, dv->id);
                        return -EBUSY;
                }
        return disk_refuse(dv->disk, &dv->resource, dir, spec->name, e);
}

static int program_open(struct devices *d, const struct device_role *role, struct err *e)
{
        int fd = beside_open(role->program, e);

        if (fd < 0)
                return fd;
        d->program_fds[role->number] = fd;
        return 0;
}

static int disk_add(struct devices *d, const struct guest_spec *spec, const struct disk_spec *disk,
                    const struct state_dir *dir, struct err *e)
{
        const bool qcow2 = disk->format == DISK_FORMAT_QCOW2;
        struct device *dv = device_add(d, qcow2 ? &device_role_storage : &device_role_blk, disk->id);
        int r = 0;

        dv->disk = disk;
        dv->queues = disk->queues ? disk->queues : spec->vcpus > QUEUES_DEFAULT_MAX ? QUEUES_DEFAULT_MAX : spec->vcpus;
        if (qcow2)
                r = device_storage_allow(spec, dv, e);
        if (r == 0)
                r = disk_open(disk, &dv->resource_fd, &dv->resource, e);
        if (r == -EBUSY)
                return disk_in_use(d, dv, spec, dir, e);
        return r == 0 && qcow2 ? disk_qcow2_check(disk, dv->resource.block_device != 0, dv->resource_fd, e) : r;
}

static bool has_disk(const struct guest_spec *spec, uint32_t format)
{
        for (uint32_t i = 0; i < spec->disk_count; i++)
                if (spec->disks[i].format == format)
                        return true;
        return false;
}

static int outside_add(struct devices *d, const struct guest_spec *spec, const struct backend_spec *backend,
                       struct err *e)
{
        const bool blk = backend->type == BACKEND_BLK;
        struct device *dv = device_add(d, blk ? &device_role_outside_blk : &device_role_outside_rng, backend->id);

        dv->outside = backend;
        if (blk)
                dv->queues = spec->vcpus > QUEUES_DEFAULT_MAX ? QUEUES_DEFAULT_MAX : spec->vcpus;
        if (!spec->require_all_layers)
                return 0;
        err_bad(e, STATUS_ISOLATION, "the device %s would map all guest RAM outside of the jail", dv->id);
        err_hint(e, "serve it by a process of the guest's own, or leave out --require-all-layers");
        return -EPERM;
}

int devices_open(struct devices *d, const struct guest_spec *spec, const struct state_dir *dir, struct err *e)
{
        int r = 0;

        if (has_disk(spec, DISK_FORMAT_RAW))
                r = program_open(d, &device_role_blk, e);
        if (r == 0 && has_disk(spec, DISK_FORMAT_QCOW2))
                r = storage_program_open(&d->storage, e);
        for (uint32_t i = 0; i < spec->disk_count && r == 0; i++)
                r = disk_add(d, spec, &spec->disks[i], dir, e);
        for (uint32_t i = 0; i < spec->backend_count && r == 0; i++)
                r = outside_add(d, spec, &spec->backends[i], e);
        if (r == 0 && spec->rng) {
                r = program_open(d, &device_role_rng, e);
                device_add(d, &device_role_rng, SPEC_RNG_ID);
        }
        return r;
}

void devices_close(struct devices *d)
{
        devices_end(d);
        for (size_t i = 0; i < d->count; i++)
                fd_closep(&d->list[i].resource_fd);
        for (size_t i = 0; i < ARRAY_LEN(d->program_fds); i++)
                fd_closep(&d->program_fds[i]);
        storage_program_close(&d->storage);
        d->count = 0;
}

bool devices_have_storage(const struct devices *d)
{
        return d->storage.root_fd >= 0;
}

int devices_connect(struct devices *d, const struct device_jail *jail, struct err *e)
{
        d->jail = *jail;
        for (size_t i = 0; i < d->count; i++) {
                struct device *dv = &d->list[i];
                int r = dv->outside ? device_outside_connect(dv, e) : device_process_connect(dv, e);

                if (r < 0)
                        return r;
                dv->phase = DEVICE_OFF;
                dv->was_up = dv->asked = dv->resizing = false;
                dv->tries = dv->deaths = 0;
        }
        return 0;
}

int devices_start(struct devices *d, const struct jail_namespaces *namespaces, struct err *e)
{
        d->namespaces = *namespaces;
        for (size_t i = 0; i < d->count; i++) {
                int r = 0;

                if (d->list[i].outside)
                        device_outside_start(d, &d->list[i]);
                else
                        r = device_process_start(d, &d->list[i], e);
                if (r < 0)
                        return err_wrap(e, r, "device %s", d->list[i].id);
        }
        return 0;
}

size_t devices_poll(const struct devices *d, struct pollfd *p)
{
        for (size_t i = 0; i < d->count; i++) {
                p[2 * i] = (struct pollfd){.fd = d->list[i].pidfd, .events = POLLIN};
                p[2 * i + 1] = (struct pollfd){.fd = d->list[i].control_fd, .events = POLLIN};
        }
        return 2 * d->count;
}

int devices_wait_ms(const struct devices *d, int64_t now_ms)
{
        int64_t first = INT64_MAX;

        for (size_t i = 0; i < d->count; i++) {
                const struct device *dv = &d->list[i];

                if (device_process_is_due(dv, INT64_MAX) && dv->deadline_ms < first)
                        first = dv->deadline_ms;
        }
        if (first == INT64_MAX)
                return -1;
        return first <= now_ms ? 0 : (int)(first - now_ms);
}

int devices_handle(struct devices *d, const struct pollfd *p, size_t count, int vmm_fd, struct err *e)
{
        for (size_t i = 0; i < d->count; i++) {
                struct device *dv = &d->list[i];
                bool told = 2 * i + 1 < count && p[2 * i + 1].revents;
                bool died = 2 * i + 1 < count && p[2 * i].revents;
                int r = 0;

                if (dv->outside)
                        device_outside_handle(d, dv, vmm_fd);
                else
                        r = device_process_handle(d, dv, told, died, vmm_fd, e);
                if (r < 0)
                        return err_wrap(e, r, "device %s", dv->id);
        }
        return 0;
}

int devices_lost(struct devices *d, const struct control_device *m, int vmm_fd, struct err *e)
{
        if (m->index >= d->count)
                return err_set(e, -EPROTO, "the VMM has lost device %u", m->index);
        if (d->list[m->index].outside)
                device_outside_lost(d, &d->list[m->index], m->failed != 0);
        else
                device_process_lost(d, &d->list[m->index], m->failed != 0, vmm_fd);
        return 0;
}

int devices_resize(struct devices *d, const char *id, uint64_t bytes, const struct device **ret, struct err *e)
{
        for (size_t i = 0; i < d->count; i++) {
                struct device *dv = &d->list[i];
                int r;

                if (!dv->disk || strcmp(dv->id, id) != 0)
                        continue;
                if (dv->disk->format != DISK_FORMAT_RAW) {
                        err_bad(e, STATUS_USAGE,
                                "the disk %s is in format %s, which cannot be resized while it is used", id,
                                disk_format_name(dv->disk->format));
                        err_hint(e, "end the guest, and use qemu-img resize");
                        return -EINVAL;
                }
                if (dv->phase != DEVICE_UP || dv->resizing)
                        return err_bad(e, STATUS_FAILURE, "the disk %s is not ready; try again", id);
                r = disk_grow(dv->disk, dv->resource_fd, bytes, e);
                if (r == 0)
                        r = device_process_resize(dv, bytes, e);
                if (r == 0)
                        *ret = dv;
                return r;
        }
        return err_bad(e, STATUS_USAGE, "the guest has no disk \"%s\"", id);
}

int devices_blame(struct devices *d, struct err *e)
{
        const int64_t end = clock_now_ms() + DEVICE_BLAME_MS;

        for (size_t i = 0; i < d->count; i++) {
                struct device *dv = &d->list[i];
                int64_t left = end - clock_now_ms();

                if (!dv->was_up && device_process_blame(dv, left > 0 ? (int)left : 0, e) < 0)
                        return err_wrap(e, -ECHILD, "device %s", dv->id);
        }
        return 0;
}

void devices_end(struct devices *d)
{
        /* All are dying before the first is waited for. */
        for (size_t i = 0; i < d->count; i++)
                device_process_kill(&d->list[i]);
        for (size_t i = 0; i < d->count; i++)
                device_process_end(&d->list[i]);
        jail_namespaces_close(&d->namespaces);
}

void devices_describe(const struct devices *d, struct guest_state *s)
{
        s->device_count = (uint32_t)d->count;
        for (size_t i = 0; i < d->count; i++) {
                const struct device *dv = &d->list[i];
                struct device_state *ds = &s->devices[i];

                *ds = (struct device_state){
                        .type = dv->role->virtio_id,
                        .restarts = dv->restarts,
                        .layers = dv->layers,
                        .landlock_abi = dv->landlock_abi,
                        .given_up = dv->phase == DEVICE_GIVEN_UP,
                        .resource = dv->resource,
                        .outside = dv->outside != NULL,
                        .peer_pid = dv->peer_pid,
                        .peer_uid = dv->peer_uid,
                };
                if (dv->pid > 0 && dv->is_up) { /* before, it has said nothing of itself */
                        ds->process.pid = dv->pid;
                        ds->process.start_time = dv->start_time;
                }
                memcpy(ds->id, dv->id, strlen(dv->id) + 1);
        }
}

void devices_configure(const struct devices *d, struct control_config *m)
{
        m->device_count = (uint32_t)d->count;
        for (size_t i = 0; i < d->count; i++) {
                m->devices[i].type = d->list[i].role->virtio_id;
                m->devices[i].queues = (uint16_t)d->list[i].queues;
        }
}

uint64_t devices_tasks(const struct devices *d)
{
        uint64_t tasks = 0;

        for (size_t i = 0; i < d->count; i++)
                tasks += d->list[i].role->tasks;
        return tasks;
}

uint64_t devices_memory(const struct devices *d, uint64_t ram_bytes)
{
        uint64_t bytes = 0;

        for (size_t i = 0; i < d->count; i++)
                if (d->list[i].role == &device_role_storage)
                        bytes += DEVICE_STORAGE_MEMORY;
        /* Each maps all of guest RAM, with page tables of its own, of 8 bytes a page. */
        return bytes + d->count * ((4ULL << 20) + ram_bytes / 512);
}
