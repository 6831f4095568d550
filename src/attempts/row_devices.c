/* E6: device nodes, and what the role's descriptors let one do to devices. */
#include <asm/ioctls.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/stat.h>

#include "attempts/call.h"
#include "attempts/rows.h"

#define DEVICE(major, minor) ((major) << 8 | (minor)) /* linux/kdev_t.h, as long as both are small */

static struct attempt_result make_disk(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_mknodat, AT_FDCWD, "/disk", S_IFBLK | 0600, DEVICE(8, 0)));
}

static struct attempt_result make_mem(const struct attempt_target *t, const struct attempt *a)
{
        return reached(CALL(SYS_mknodat, AT_FDCWD, "/mem", S_IFCHR | 0600, DEVICE(1, 1)));
}

static struct attempt_result open_device(const struct attempt_target *t, const struct attempt *a)
{
        return reached(open_at_root(a->text, O_RDWR));
}

static long create_vm_by(int fd, const struct attempt *a)
{
        return CALL(SYS_ioctl, fd, KVM_CREATE_VM, 0);
}

static struct attempt_result create_vm(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(create_vm_by, a);
}

static struct attempt_result second_tap(const struct attempt_target *t, const struct attempt *a)
{
        struct ifreq name = {.ifr_name = "tap1", .ifr_flags = IFF_TAP | IFF_NO_PI};

        if (t->tap <= 0)
                return not_run("the role has no tap");
        return reached(CALL(SYS_ioctl, t->tap, TUNSETIFF, &name));
}

static long push_input(int fd, const struct attempt *a)
{
        return CALL(SYS_ioctl, fd, TIOCSTI, a->text);
}

static struct attempt_result push_terminal_input(const struct attempt_target *t, const struct attempt *a)
{
        return on_every_fd(push_input, a);
}

static struct attempt_result extra_vcpu(const struct attempt_target *t, const struct attempt *a)
{
        long r;

        if (t->vm <= 0)
                return not_run("the role has no virtual machine");
        r = CALL(SYS_ioctl, t->vm, KVM_CREATE_VCPU, a->number);
        return r < 0 ? refused(r) : contained("a vCPU of its own machine");
}

const struct attempt row_devices[] = {
        {"E6.1", "mknod block 8:0", make_disk, 0, NULL},
        {"E6.2", "mknod character 1:1", make_mem, 0, NULL},
        {"E6.3", "open /dev/mem", open_device, 0, "/dev/mem"},
        {"E6.4", "open /dev/kmsg", open_device, 0, "/dev/kmsg"},
        {"E6.5", "open /dev/fuse", open_device, 0, "/dev/fuse"},
        {"E6.6", "open /dev/vhost-net", open_device, 0, "/dev/vhost-net"},
        {"E6.7", "open /dev/vfio/vfio", open_device, 0, "/dev/vfio/vfio"},
        {"E6.8", "open /dev/kvm", open_device, 0, "/dev/kvm"},
        {"E6.9", "open /dev/net/tun", open_device, 0, "/dev/net/tun"},
        {"E6.10", "KVM_CREATE_VM on every descriptor", create_vm, 0, NULL},
        {"E6.11", "KVM_CREATE_VCPU on its machine", extra_vcpu, 40, NULL},
        {"E6.12", "a second TUNSETIFF on its tap", second_tap, 0, NULL},
        {"E6.13", "TIOCSTI on every descriptor", push_terminal_input, 0, "x"},
        {0},
};
