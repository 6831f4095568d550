/* Storage: disk images, the files below them, and shared directories. */
#include "audit/probes/storage.h"

#include "audit/probes/tables.h"

const struct check checks_storage[] = {
        {
                .id = "STO-RW",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim =
                        "No two guests have one disk image, block device or other file open where one can write what the other reads.",
                .examined =
                        "device and inode (or device number) and access mode of every regular file and block device that guests have open, "
                        "whatever it is named and used for",
                .rule = "FAIL: the same object in two guests, open for writing in one of them and for reading in another; memory that both have mapped is MEM-SHRW's",
                .source =
                        "OpenStack Security Guide, sVirt; DISA Virtual Machine Manager SRG, V-207403, shared system resources",
                .remedy = "give each guest an image of its own",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .pairs = storage_rw_pairs,
        },
        {
                .id = "STO-RO",
                .severity = SEVERITY_LOW,
                .worst = VERDICT_WARN,
                .claim = "No two guests read the same disk image.",
                .examined = "device and inode of every disk image that guests have open for reading only",
                .rule = "WARN: the same object in two guests: how long a read takes tells one what the other has read",
                .source = "libvirt docs/drvqemu.rst: read-only images have one label for all guests",
                .remedy = "copy the image for each guest",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .pairs = storage_ro_pairs,
        },
        {
                .id = "STO-CHAIN",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "No disk image leads its monitor to a file that is not the guest's.",
                .examined =
                        "first 64 KiB of each disk image that is not taken for raw, and of each image that it names: backing file "
                        "and data file of qcow2, backing file of qed, extents and parent of VMDK, parent of VHD",
                .rule = "FAIL: names a file outside of its directory that the command line does not name, a device or system file, a "
                        "file that a guest writes to, one that is not there, a loop, more than 16 images; WARN: guests rest on one "
                        "base, or the monitor's user may write to it; UNKNOWN: VHDX, and VDI by UUID",
                .source =
                        "QEMU docs/interop/qcow2.rst, block/vmdk.c; CVE-2024-32498; GHSA-jmr4-g2hv-mjj6 (Cloud Hypervisor)",
                .remedy =
                        "flatten images before they are used (qemu-img convert), and name every layer with its format",
                .needs = "CAP_SYS_PTRACE and the right to read the images",
                .host = storage_chain_host,
        },
        {
                .id = "STO-PROBE",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No guest can make its monitor take a raw disk image for another format.",
                .examined = "first bytes of each disk image, and the format on the monitor's command line",
                .rule = "FAIL: a raw image that the guest writes to, of a monitor that finds out the format by itself; WARN: a raw image "
                        "that begins like another format, or another format that nobody told the monitor",
                .source = "qemu(1), -drive format=; Cloud Hypervisor docs/disk_images.md",
                .remedy = "name the format: format=raw, image_type=raw",
                .needs = "CAP_SYS_PTRACE and the right to read the images",
                .guest = storage_probe_guest,
        },
        {
                .id = "STO-PERM",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "No local user and no other guest can open a guest's disk images.",
                .examined =
                        "owner, mode and access list of each disk image and of each directory up to it, against the ids of all "
                        "other guests",
                .rule = "FAIL: everybody may open it, or another guest's ids; WARN: those may, and a mount namespace or MAC label keeps "
                        "that guest away; UNKNOWN: its name leads elsewhere, or it has others",
                .source =
                        "acl(5); Firecracker docs/jailer.md; OpenStack Security Guide, hardening the virtualization layers",
                .remedy = "chmod 0600 the image, and give each guest a user of its own",
                .needs = "CAP_SYS_PTRACE and the right to search the directories",
                .host = storage_perm_host,
        },
        {
                .id = "STO-HOSTMNT",
                .severity = SEVERITY_CRITICAL,
                .worst = VERDICT_FAIL,
                .claim = "The host itself uses no block device that a guest has.",
                .examined =
                        "device numbers of the guest's block devices, against the host's mounts and swap and what those lie on: "
                        "disks of partitions, slaves of mapped devices",
                .rule = "FAIL: the host has it, or something on it, mounted or as swap",
                .source = "mount(8); the host's kernel parses what the guest writes, and both write at once",
                .remedy = "unmount it, or give the guest another device",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .host = storage_hostmnt_host,
        },
        {
                .id = "STO-ZERO",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim = "A new block device shows nothing of what the one before has left on the disk.",
                .examined = "device-mapper tables of guests' block devices and of their thin pools",
                .rule = "FAIL: a thin pool with skip_block_zeroing; WARN: a disk, partition or plain volume, which nothing clears; "
                        "PASS: thin with zeroing, crypt, loop",
                .source = "Documentation/admin-guide/device-mapper/thin-provisioning.rst",
                .remedy = "zero volumes before they are handed on, or encrypt each with a key of its own",
                .needs = "root",
                .host = storage_zero_host,
        },
        {
                .id = "STO-LOCK",
                .severity = SEVERITY_LOW,
                .worst = VERDICT_WARN,
                .claim = "No second guest can be started by mistake on an image that a guest writes to.",
                .examined = "lock lines in fdinfo of each image file that is open for writing",
                .rule = "WARN: none",
                .source = "fcntl(2), open file description locks; Cloud Hypervisor docs/disk_locking.md",
                .remedy = "do not switch the monitor's locking off (QEMU: locking=on)",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .guest = storage_lock_guest,
        },
        {
                .id = "STO-SHAREFS",
                .severity = SEVERITY_HIGH,
                .worst = VERDICT_FAIL,
                .claim =
                        "Each directory of the host's that a guest sees is that guest's alone, and its server is in a sandbox.",
                .examined =
                        "directories on the command lines of virtiofsd and of monitors (-fsdev, -virtfs, --9p, --shared-dir), each "
                        "directory above them, disk images, and the root directory of each virtiofsd",
                .rule = "FAIL: the host's root, a directory that contains or is another guest's or holds its image, a server with the "
                        "host's root directory or --sandbox none",
                .source = "virtiofsd README, sandbox modes; CVE-2020-35517 (virtiofsd), CVE-2023-2861 (9p)",
                .remedy = "share a directory per guest, from a server with --sandbox namespace",
                .needs = "CAP_SYS_PTRACE or the guest's own user",
                .host = storage_sharefs_host,
        },
        {.id = NULL},
};
