/* Devices: the host's that a guest drives, and those its monitor and the kernel show it. */
#include "audit/probes/devices.h"

#include "audit/probes/tables.h"

const struct check checks_devices[] = {
        {
                .id = "DEV-IOMMU",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "A device of the host that a guest drives reaches that guest's memory alone.",
                .examined =
                        "VFIO groups among the guest's descriptors, and type and devices of each in /sys/kernel/iommu_groups",
                .rule = "FAIL: no IOMMU, a group of type identity, a device of the group with a driver of the host's, or a group that "
                        "two guests have",
                .source = "Documentation/driver-api/vfio.rst, groups; NIST SP 800-125A Rev. 1, direct device access",
                .remedy = "bind every device of the group to vfio-pci, and boot with the IOMMU translating",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .host = iommu_host,
        },
        {
                .id = "DEV-UNSAFE",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "No setting of this host weakens the isolation of devices that guests drive.",
                .examined =
                        "allow_unsafe_interrupts, enable_unsafe_noiommu_mode, and pcie_acs_override on the kernel's command line",
                .rule = "FAIL: one of them is set",
                .source = "drivers/vfio/vfio_iommu_type1.c, drivers/vfio/vfio_main.c",
                .remedy = "leave them at their defaults; use hardware with interrupt remapping and ACS",
                .needs = "",
                .host = unsafe_host,
        },
        {
                .id = "DEV-RESET",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "The host can reset each device that a guest drives before the next guest gets it.",
                .examined = "reset_method of each PCI device in the guest's VFIO groups",
                .rule = "WARN: none",
                .source =
                        "Documentation/ABI/testing/sysfs-bus-pci, reset_method; OpenStack Security Guide, PCI passthrough",
                .remedy = "give guests only devices with function-level reset",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .guest = reset_guest,
        },
        {
                .id = "DEV-VHOST",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "The host's kernel parses no rings that a guest writes.",
                .examined = "/dev/vhost-net, -vsock, -scsi and the like among the guest's descriptors",
                .rule = "WARN: one is open",
                .source = "drivers/vhost; CVE-2019-14835 (vhost-net); Firecracker docs/vsock.md, which does without",
                .remedy = "use devices in user space, or vhost-user in a process of its own",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .guest = vhost_guest,
        },
        {
                .id = "DEV-LEGACY",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_WARN,
                .claim = "A guest has no emulated device that is known for letting guests out.",
                .examined = "devices on the command line of QEMU; other monitors by their kind",
                .rule = "WARN: floppy, IDE, rtl8139, e1000, pcnet, cirrus, USB, sdhci, nvme and others, virtio-blk with scsi=on, or no "
                        "-nodefaults",
                .source =
                        "OpenStack Security Guide, minimizing the QEMU code base; CVE-2015-3456, CVE-2020-14364, CVE-2021-3929",
                .remedy = "-nodefaults, and virtio devices only",
                .needs = "",
                .guest = legacy_guest,
        },
        {
                .id = "DEV-NODES",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A guest has no device of the host's open but those a monitor needs.",
                .examined =
                        "device numbers of all character devices among the descriptors of every process of the guest",
                .rule = "FAIL: memory, ports, log, console and terminals of the host, fuse, input, graphics, control nodes; WARN: a "
                        "pseudo terminal, an unknown device",
                .source = "Documentation/admin-guide/devices.txt; libvirt docs/drvqemu.rst, device list",
                .remedy = "open with O_CLOEXEC, and close_range(2) before the monitor is executed",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .guest = nodes_guest,
        },
        {
                .id = "DEV-CG",
                .severity = SEVERITY_MEDIUM,
                .worst = VERDICT_FAIL,
                .claim = "A guest can open no device of the host's but those it was given.",
                .examined =
                        "options of every mount in mountinfo, and where one allows devices devices.list of its cgroup (v1)",
                .rule = "PASS: every mount is nodev, or the list names devices; WARN: no cgroup of its own; FAIL: its list allows "
                        "everything; UNKNOWN with cgroup v2, whose programs are not looked at",
                .source = "Documentation/admin-guide/cgroup-v1/devices.rst; libvirt docs/drvqemu.rst, device list",
                .remedy = "mount with nodev, or limit devices by cgroup",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .guest = devcg_guest,
        },
        {.id = NULL},
};
