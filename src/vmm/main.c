/*
 * bulkhead-vmm: PID 1 of its guest's PID namespace, started by the supervisor in its jail with the descriptors of
 * spec/vmm_fds.h. It narrows itself in two phases: jail_seal() right after exec; the filters of its thread roles once
 * the guest is loaded and before its first instruction.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "jail/jail.h"
#include "jail/jail_seccomp.h"
#include "spec/control.h"
#include "spec/vmm_fds.h"
#include "vmm/boot/boot.h"
#include "vmm/event_loop.h"
#include "vmm/machine.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"
#include "vmm/x86_64/acpi/acpi.h"
#include "vmm/x86_64/layout.h"

/* Compiled from policy/main.policy and policy/main_devices.policy. */
extern const struct jail_policy policy_vmm_main, policy_vmm_main_devices;

static struct machine machine;
static struct vcpu vcpus[SPEC_VCPUS_MAX];
static struct cpuid_table cpuid;
static struct device devices[VMM_DEVICES_MAX];

static int config_receive(union control_message *m, struct err *e)
{
        int r = control_receive(VMM_FD_CONTROL, m);

        if (r == 0 && m->head.type != CONTROL_CONFIG)
                r = -EPROTO;
        if (r < 0)
                return err_set(e, r, "receive the guest's configuration");
        if (m->config.vcpus < 1 || m->config.vcpus > SPEC_VCPUS_MAX || m->config.cpuid_count > CPUID_ENTRIES_MAX ||
            m->config.device_count > VMM_DEVICES_MAX)
                return err_set(e, -EPROTO, "receive the guest's configuration");
        return 0;
}

static int cpuid_prepare(const struct control_config *c, struct err *e)
{
        static struct cpuid_table supported;

        supported.head.nent = c->cpuid_count;
        memcpy(supported.entries, c->cpuid, c->cpuid_count * sizeof(c->cpuid[0]));
        return cpuid_build((enum cpu_model)c->cpu_model, &supported, c->vcpus, &cpuid, e);
}

/* RAM must end where the processor's physical addresses do. */
static int memory_check(uint64_t memory_bytes, struct err *e)
{
        unsigned int bits = 36; /* what every 64-bit processor has, when leaf 0x80000008 is not there */
        uint64_t end = memory_bytes;

        for (uint32_t i = 0; i < cpuid.head.nent; i++)
                if (cpuid.entries[i].function == 0x80000008)
                        bits = cpuid.entries[i].eax & 0xff;
        if (memory_bytes > LAYOUT_HOLE_START)
                end += LAYOUT_HOLE_END - LAYOUT_HOLE_START;
        if (bits < 64 && end > 1ULL << bits)
                return err_bad(e, STATUS_HOST,
                               "this host has %u-bit physical addresses: a guest can have at most %llu MiB", bits,
                               (unsigned long long)(((1ULL << bits) - (LAYOUT_HOLE_END - LAYOUT_HOLE_START)) >> 20));
        return 0;
}

static int guest_load(const struct control_config *c, struct boot_entry *ret, struct err *e)
{
        struct boot_request req = {
                .ram = &machine.ram,
                .kernel_fd = VMM_FD_KERNEL,
                .initrd_fd = c->has_initrd ? VMM_FD_INITRD : -1,
                .cmdline = c->cmdline,
        };
        int r = acpi_write_tables(&machine.ram, c->vcpus, &req.rsdp, e);

        return r < 0 ? r : boot_load(&req, ret, e);
}

/*
 * Maps RAM. Where there are devices, its descriptor stays, for them: at its number, where no vCPU that is being made
 * may be at that moment.
 */
static int ram_open(const struct control_config *c, struct err *e)
{
        _cleanup_fd_ int fd = -1;
        int r;

        r = guest_ram_map(&machine.ram, c->memory_bytes, LAYOUT_HOLE_START, LAYOUT_HOLE_END,
                          c->device_count > 0 ? &fd : NULL, e);
        if (r < 0 || fd < 0)
                return r;
        if (fd == VMM_FD_RAM) {
                (void)TAKE_FD(fd);
                return 0;
        }
        pthread_mutex_lock(&machine.creation);
        if (dup2(fd, VMM_FD_RAM) < 0)
                r = err_set(e, -errno, "keep guest memory for its devices");
        pthread_mutex_unlock(&machine.creation);
        return r;
}

/* The vCPUs' threads make their vCPUs while this one furnishes the machine: on two processors that takes half the time.
 */
static int machine_build(const struct control_config *c, struct err *e)
{
        struct boot_entry entry;
        int r = cpuid_prepare(c, e);

        if (r == 0)
                r = memory_check(c->memory_bytes, e);
        if (r == 0)
                r = vcpus_start(&machine, &cpuid, vcpus, c->vcpus, e);
        if (r == 0)
                r = ram_open(c, e);
        if (r == 0)
                r = vm_register_ram(&machine.ram, e);
        if (r == 0)
                r = guest_load(c, &entry, e);
        if (r == 0)
                vcpus_loaded(&machine, &entry);
        /* Last, because their processes are being started beside this one. */
        if (r == 0 && c->device_count > 0)
                r = devices_open(&machine, devices, c, e);
        return r;
}

/* Phase two: what only loading needed goes away, then this thread gets the filter of its role; the vCPUs' get theirs.
 */
static int narrow(bool has_initrd, struct err *e)
{
        const struct rlimit none = {0, 0};

        close(VMM_FD_KVM);
        close(VMM_FD_KERNEL);
        /* Only what is known to be open: a vCPU that is being made may have any free number for a moment. */
        if (has_initrd)
                close(VMM_FD_INITRD);
        if (setrlimit(RLIMIT_FSIZE, &none) < 0)
                return err_set(e, -errno, "set RLIMIT_FSIZE to 0");
        return jail_seccomp_install(machine.with_devices ? &policy_vmm_main_devices : &policy_vmm_main, e);
}

static int start(struct err *e)
{
        static union control_message m;
        struct control_ready ready = {.head = CONTROL_HEADER(CONTROL_READY, sizeof(ready))};
        uint64_t missing;
        unsigned int abi;
        int wake, r = jail_seal(&ready.layers, &abi, e);

        /* The supervisor is still asking KVM for its CPUID: what needs no configuration is done meanwhile. */
        if (r == 0)
                r = vm_create(e);
        if (r == 0)
                r = config_receive(&m, e);
        if (r < 0)
                return r;
        ready.landlock_abi = abi;
        missing = m.config.required_layers & ~ready.layers;
        for (unsigned int i = 0; i < LAYER_COUNT; i++)
                if (missing & LAYER_BIT(i))
                        return err_bad(e, STATUS_ISOLATION, "the layer \"%s\" cannot be had; it needs %s",
                                       jail_layers[i].name, jail_layers[i].remedy);

        wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (wake < 0 || dup2(wake, VMM_FD_WAKE) < 0)
                return err_set(e, -errno, "create an event descriptor");
        if (wake != VMM_FD_WAKE)
                close(wake);
        machine_init(&machine, m.config.vcpus, m.config.test_device);
        machine.with_devices = m.config.device_count > 0;
        r = machine_build(&m.config, e);
        if (r == 0)
                r = narrow(m.config.has_initrd, e);
        if (r == 0)
                r = vcpus_meet(vcpus, m.config.vcpus, e);
        if (r < 0)
                return r;
        r = control_send(VMM_FD_CONTROL, &ready);
        return r < 0 ? err_set(e, r, "tell the supervisor that the guest is ready") : 0;
}

int main(void)
{
        struct err e = ERR_INIT;
        int r = start(&e);

        if (r == 0)
                r = event_loop(&machine, vcpus, &e);
        if (r < 0)
                (void)control_send_failed(VMM_FD_CONTROL, &e); /* a supervisor that is gone needs no news */
        _exit(r < 0 ? (int)e.status : STATUS_OK);
}
