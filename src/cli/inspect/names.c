#include <linux/virtio_ids.h>

#include "cli/inspect/show.h"

const char *const ns_names[NS_COUNT] = {
        [NS_USER] = "user", [NS_PID] = "pid", [NS_MNT] = "mnt",       [NS_NET] = "net",
        [NS_IPC] = "ipc",   [NS_UTS] = "uts", [NS_CGROUP] = "cgroup", [NS_TIME] = "time",
};

const char *const cap_set_names[CAPS_COUNT] = {
        [CAPS_INHERITABLE] = "inheritable", [CAPS_PERMITTED] = "permitted", [CAPS_EFFECTIVE] = "effective",
        [CAPS_BOUNDING] = "bounding",       [CAPS_AMBIENT] = "ambient",
};

const char *const limit_names[LIMIT_COUNT] = {
        [LIMIT_CORE] = "core",         [LIMIT_FSIZE] = "fsize",   [LIMIT_MEMLOCK] = "memlock",
        [LIMIT_MSGQUEUE] = "msgqueue", [LIMIT_NOFILE] = "nofile", [LIMIT_NPROC] = "nproc",
};

const char *const fd_kind_names[] = {
        [FD_NULL] = "/dev/null",    [FD_SOCKET] = "socket",   [FD_KVM_VM] = "KVM virtual machine",
        [FD_KVM_VCPU] = "KVM vCPU", [FD_EVENTFD] = "eventfd", [FD_OTHER_ANON] = "other anonymous inode",
        [FD_MEMFD] = "memfd",       [FD_EPOLL] = "epoll",     [FD_URING] = "io_uring",
        [FD_TIMER] = "timer",       [FD_FILE] = "file",
};

const char *device_type_name(uint32_t type)
{
        return type == VIRTIO_ID_BLOCK ? "disk" : type == VIRTIO_ID_RNG ? "entropy" : "unknown";
}
