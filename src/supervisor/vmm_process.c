#include "supervisor/vmm_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "spec/vmm_fds.h"

extern const struct jail_policy policy_vmm_setup; /* compiled from src/vmm/policy/setup.policy */

/* Kernel memory that the guest causes beside its RAM: page tables, KVM's rmap and shadow pages, threads, namespaces. */
#define CGROUP_OVERHEAD(ram) ((64ULL << 20) + (ram) / 16)

#define VMM_INSIDE_ID 1 /* the VMM's id in the guest's user namespace; devices get the others */

static int sockets_open(int type, int ours[2], struct err *e)
{
        if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ours) < 0)
                return err_set(e, -errno, "create a socket pair");
        if (fcntl(ours[0], F_SETFL, O_NONBLOCK) < 0)
                return err_set(e, -errno, "make a socket non-blocking");
        return 0;
}

static int cgroup_limit(const struct vmm_start *s, struct err *e)
{
        const struct guest_spec *spec = s->spec;
        const struct cgroup_limits limits = {
                .memory_bytes = spec->memory_bytes + CGROUP_OVERHEAD(spec->memory_bytes) +
                                devices_memory(s->devices, spec->memory_bytes),
                .pids = vmm_process_tasks(s),
                .cpu_percent = spec->cpu_limit_percent ? spec->cpu_limit_percent : (spec->vcpus + 1) * 100,
                .io = spec->io_limits,
                .io_count = spec->io_limit_count,
        };

        return s->cgroup ? jail_cgroup_limit(s->cgroup, &limits, e) : 0;
}

uint64_t vmm_process_tasks(const struct vmm_start *start)
{
        return VMM_TASKS(start->spec->vcpus) + devices_tasks(start->devices);
}

/* The VMM's ends of its devices' sockets. Returns how many. */
static size_t device_fds_add(const struct devices *d, struct jail_fd *fds)
{
        for (size_t i = 0; i < d->count; i++)
                fds[i] = (struct jail_fd){d->list[i].vmm_socket, VMM_FD_DEVICE_FIRST + (int)i};
        return d->count;
}

int vmm_process_start(const struct vmm_start *s, struct vmm_process *ret, struct err *e)
{
        int control[2] = {-1, -1}, console[2] = {-1, -1};
        struct jail_fd fds[JAIL_FDS_MAX] = {
                {-1, VMM_FD_CONTROL},
                {-1, VMM_FD_CONSOLE},
                {s->resources->kvm_fd, VMM_FD_KVM},
                {s->resources->kernel_fd, VMM_FD_KERNEL},
                {s->resources->initrd_fd, VMM_FD_INITRD},
        };
        struct jail_request req = {
                .staging_dir = s->staging_dir,
                .fds = fds,
                .fd_count = s->resources->initrd_fd < 0 ? 4 : 5,
                .give_namespaces = s->devices->count > 0,
                .control_target = VMM_FD_CONTROL,
                .program_fd = s->resources->program_fd,
                .program_name = "bulkhead-vmm",
                .cgroup = s->cgroup,
                .inside_id = VMM_INSIDE_ID,
                .by_user = s->by_user,
                .own_ids = s->own_ids,
                .limits = {.open_files = s->devices->count > 0 ? VMM_FD_LIMIT : VMM_FD_LIMIT_BARE,
                           /* It is per id: who has but one shares it with the devices. */
                           .processes = s->own_ids ? VMM_TASKS(s->spec->vcpus) : vmm_process_tasks(s),
                           .file_size_bytes = s->spec->memory_bytes},
                .policy = &policy_vmm_setup,
        };
        int r = sockets_open(SOCK_SEQPACKET, control, e);

        if (r == 0)
                r = sockets_open(SOCK_STREAM, console, e);
        ret->control_fd = control[0];
        ret->console_fd = console[0];
        fds[0].fd = control[1];
        fds[1].fd = console[1];
        req.fd_count += device_fds_add(s->devices, fds + req.fd_count);
        if (r == 0)
                r = jail_start(&req, &ret->pid, &ret->pidfd, &ret->layers, e);
        if (r == 0) {
                processor_leave(&ret->processor);
                r = cgroup_limit(s, e); /* beside the child, which has a jail to build before it can use anything up */
        }
        fd_closep(&control[1]);
        fd_closep(&console[1]);
        for (size_t i = 0; i < s->devices->count; i++)
                fd_closep(&s->devices->list[i].vmm_socket);
        return r;
}

int vmm_process_map(const struct vmm_start *s, struct vmm_process *p, struct err *e)
{
        const struct control_header mapped = CONTROL_HEADER(CONTROL_MAPPED, sizeof(mapped));
        int r = s->mapper ? id_mapper_map(s->mapper, p->pid, e) : jail_map_ids(p->pid, s->ids, e);

        if (r == 0) {
                r = control_send(p->control_fd, &mapped);
                /* Dead already: its last message, or how it ended, tells more than this does. */
                r = r < 0 && r != -EPIPE ? err_set(e, r, "tell the jailed process that its ids are mapped") : 0;
        }
        /* The child goes on with its jail meanwhile. */
        return r < 0 ? r : resources_query_cpuid(s->resources, e);
}

int vmm_process_configure(const struct vmm_start *s, struct vmm_process *p, uint64_t required_layers, struct err *e)
{
        struct control_config m = {
                .head = CONTROL_HEADER(CONTROL_CONFIG, sizeof(m)),
                .memory_bytes = s->spec->memory_bytes,
                .required_layers = required_layers,
                .vcpus = s->spec->vcpus,
                .cpu_model = s->spec->cpu_model,
                .has_initrd = s->resources->initrd_fd >= 0,
                .test_device = s->spec->test_device,
                .cpuid_count = s->resources->cpuid_count,
        };
        int r = processor_return(&p->processor, e);

        if (r < 0)
                return r;
        memcpy(m.cpuid, s->resources->cpuid, s->resources->cpuid_count * sizeof(m.cpuid[0]));
        devices_configure(s->devices, &m);
        memcpy(m.cmdline, s->spec->cmdline, sizeof(m.cmdline));
        r = control_send(p->control_fd, &m);
        /* Dead already: its last message, or how it ended, tells more than this does. */
        return r < 0 && r != -EPIPE ? err_set(e, r, "send the VMM its configuration") : 0;
}

int vmm_process_end(const struct vmm_start *start, struct vmm_process *p)
{
        int status = 0;

        fd_closep(&p->control_fd); /* a VMM that cannot be killed ends when its channel does */
        if (p->pidfd >= 0)
                (void)sys_pidfd_send_signal(p->pidfd, SIGKILL); /* dead already: that is what we want */
        devices_end(start->devices); /* the first process of a PID namespace ends last of all (pid_namespaces(7)) */
        if (p->pid > 0) {
                while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
                        ;
        }
        p->pid = -1;
        fd_closep(&p->pidfd);
        fd_closep(&p->console_fd);
        return status;
}
