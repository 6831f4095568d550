#include "supervisor/resources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/beside.h"
#include "base/cleanup.h"

#define KVM_DEVICE "/dev/kvm"
#define VMM_NAME   "bulkhead-vmm"

static int kvm_open(struct resources *res, struct err *e)
{
        int r, version;

        res->kvm_fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
        if (res->kvm_fd < 0) {
                r = -errno;
                err_set(e, r, "open " KVM_DEVICE);
                if (r == -ENOENT)
                        err_hint(e, "enable virtualization in the firmware and load kvm_intel or kvm_amd; "
                                    "see bulkhead doctor");
                else
                        err_hint(e, "join group kvm or run as root; see bulkhead doctor");
                if (e)
                        e->status = STATUS_HOST;
                return r;
        }
        version = ioctl(res->kvm_fd, KVM_GET_API_VERSION, 0);
        if (version < 0) {
                r = err_set(e, -errno, "ask " KVM_DEVICE " for its API version");
                if (e)
                        e->status = STATUS_HOST;
                return r;
        }
        if (version != KVM_API_VERSION) {
                err_bad(e, STATUS_HOST, KVM_DEVICE " answers API version %d instead of %d", version, KVM_API_VERSION);
                err_hint(e, "see bulkhead doctor");
                return -EINVAL;
        }
        return 0;
}

static int image_open(const char *path, const char *what, int *ret_fd, struct err *e)
{
        /* Non-blocking, so that a FIFO cannot hold the start up; the loader takes regular files only. */
        int r, fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

        if (fd < 0) {
                r = err_set(e, -errno, "open %s %s", what, path);
                err_hint(e, "give the path of a file that this user may read");
                if (e)
                        e->status = STATUS_IMAGE;
                return r;
        }
        *ret_fd = fd;
        return 0;
}

int resources_open(const struct guest_spec *spec, struct resources *res, struct err *e)
{
        int r = kvm_open(res, e);

        if (r == 0)
                r = image_open(spec->kernel, "the kernel", &res->kernel_fd, e);
        if (r == 0 && spec->initrd[0])
                r = image_open(spec->initrd, "the initrd", &res->initrd_fd, e);
        if (r == 0)
                r = res->program_fd = beside_open(VMM_NAME, e);
        return r < 0 ? r : 0;
}

void resources_close(struct resources *res)
{
        fd_closep(&res->kvm_fd);
        fd_closep(&res->kernel_fd);
        fd_closep(&res->initrd_fd);
        fd_closep(&res->program_fd);
}

int resources_query_cpuid(struct resources *res, struct err *e)
{
        struct { /* struct kvm_cpuid2 with room for its entries */
                uint32_t nent, padding;
                struct kvm_cpuid_entry2 entries[CONTROL_CPUID_MAX];
        } table;

        if (res->cpuid_count > 0)
                return 0;
        table.padding = 0;
        table.nent = CONTROL_CPUID_MAX;
        if (ioctl(res->kvm_fd, KVM_GET_SUPPORTED_CPUID, &table) < 0)
                return err_set(e, -errno, "ask KVM which CPUID it supports");
        if (table.nent == 0 || table.nent > CONTROL_CPUID_MAX)
                return err_set(e, -EPROTO, "ask KVM which CPUID it supports: %u entries", table.nent);
        memcpy(res->cpuid, table.entries, table.nent * sizeof(table.entries[0]));
        res->cpuid_count = table.nent;
        return 0;
}
