#include "vmm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "jail/jail_seccomp.h"
#include "spec/vmm_fds.h"
#include "vmm/exits.h"
#include "vmm/x86_64/boot_state.h"

/* Compiled from policy/vcpu.policy and policy/vcpu_devices.policy. */
extern const struct jail_policy policy_vmm_vcpu, policy_vmm_vcpu_devices;

#define KICK_SIGNAL SIGUSR1

/* The page that the kick's handler marks: a signal that lands just before KVM_RUN must not be lost. */
static _Thread_local struct kvm_run *current_run;

static void on_kick(int sig)
{
        (void)sig;
        if (current_run)
                current_run->immediate_exit = 1;
}

/* Under the creation lock: CPUID's table has the fields of one vCPU at a time, and no other thread's new descriptor may
 * stand for a moment where this one's belongs. */
static int vcpu_create(struct vcpu *v, struct err *e)
{
        const struct kvm_enable_cap enforce = {.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = {1}};
        const int target = VMM_FD_VCPU_FIRST + (int)v->id;
        int fd = ioctl(VMM_FD_VM, KVM_CREATE_VCPU, (unsigned long)v->id);

        if (fd < 0 || dup2(fd, target) < 0)
                return err_set(e, -errno, "create vCPU %u", v->id);
        close(fd);

        v->run = mmap(NULL, v->machine->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, target, 0);
        if (v->run == MAP_FAILED)
                return err_set(e, -errno, "map vCPU %u", v->id);

        /* What the template does not name is not there: the hypercalls of such a feature fail, its MSRs are #GP. */
        if (ioctl(target, KVM_ENABLE_CAP, &enforce) < 0)
                return err_set(e, -errno, "hold vCPU %u to the paravirtual features of its CPUID", v->id);
        cpuid_for_vcpu(v->cpuid, v->id);
        if (ioctl(target, KVM_SET_CPUID2, &v->cpuid->head) < 0)
                return err_set(e, -errno, "set the CPUID template of vCPU %u", v->id);
        v->fd = target;
        return boot_msrs_set(target, e);
}

/* Never comes back: this thread has left the guest for good, and the process ends as a whole. */
static _Noreturn void park(struct machine *m)
{
        pthread_mutex_lock(&m->lock);
        m->parked++;
        pthread_cond_broadcast(&m->changed);
        for (;;)
                pthread_cond_wait(&m->changed, &m->lock);
}

/* The boot processor starts where the loaded guest begins, which the main thread may not know yet. */
static int boot_state_await(struct vcpu *v, struct err *e)
{
        struct machine *m = v->machine;

        pthread_mutex_lock(&m->lock);
        while (!m->loaded)
                pthread_cond_wait(&m->changed, &m->lock);
        pthread_mutex_unlock(&m->lock);
        return boot_state_set(v->fd, &m->ram, &m->entry, e);
}

static int prepare(struct vcpu *v, struct err *e)
{
        char name[16];
        sigset_t kick;
        int r;

        v->tid = (pid_t)syscall(SYS_gettid);
        snprintf(name, sizeof(name), "vcpu%u", v->id);
        (void)prctl(PR_SET_NAME, name); /* for the operator's eyes only */
        pthread_mutex_lock(&v->machine->creation);
        r = vcpu_create(v, e);
        pthread_mutex_unlock(&v->machine->creation);
        if (r == 0 && v->id == 0)
                r = boot_state_await(v, e);
        if (r < 0)
                return r;
        current_run = v->run;
        sigemptyset(&kick);
        sigaddset(&kick, KICK_SIGNAL);
        r = -pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
        if (r < 0)
                return err_set(e, r, "unblock the kick signal of vCPU %u", v->id);
        return jail_seccomp_install(v->machine->with_devices ? &policy_vmm_vcpu_devices : &policy_vmm_vcpu, e);
}

/* One thread more is ready, or never will be; returns when all are or one is not: 0 or -ECANCELED. */
static int meet(struct machine *m, bool ok)
{
        int r;

        pthread_mutex_lock(&m->lock);
        m->ready++;
        m->start_failed |= !ok;
        if (m->ready == m->vcpus + 1 || m->start_failed)
                pthread_cond_broadcast(&m->changed);
        while (m->ready < m->vcpus + 1 && !m->start_failed)
                pthread_cond_wait(&m->changed, &m->lock);
        r = m->start_failed ? -ECANCELED : 0;
        pthread_mutex_unlock(&m->lock);
        return r;
}

static void *vcpu_main(void *arg)
{
        struct vcpu *v = arg;

        if (meet(v->machine, prepare(v, &v->start_error) == 0) < 0)
                park(v->machine);
        while (!machine_stopping(v->machine)) {
                int r = ioctl(v->fd, KVM_RUN, 0) < 0 ? -errno : 0;

                /* EINTR: kicked. EAGAIN: the vCPU was waiting for its start and is asked to look again. */
                if (r == -EINTR || r == -EAGAIN) {
                        v->run->immediate_exit = 0;
                        continue;
                }
                vcpu_handle_exit(v, r);
        }
        park(v->machine);
}

int vcpus_start(struct machine *m, struct cpuid_table *cpuid, struct vcpu *vcpus, unsigned int count, struct err *e)
{
        struct sigaction kick = {.sa_handler = on_kick}; /* no SA_RESTART: KVM_RUN must return */

        int size = ioctl(VMM_FD_KVM, KVM_GET_VCPU_MMAP_SIZE, 0);
        int max = ioctl(VMM_FD_KVM, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

        if (size < 0 || max < 0)
                return err_set(e, -errno, "ask KVM about vCPUs");
        if (max < (int)count)
                return err_bad(e, STATUS_HOST, "this host's KVM runs %d vCPUs in a guest, not %u", max, count);
        if (size < (int)sizeof(struct kvm_run))
                return err_set(e, -EPROTO, "ask KVM for the size of a vCPU's shared page: %d bytes", size);
        m->run_bytes = (size_t)size;
        if (sigaction(KICK_SIGNAL, &kick, NULL) < 0)
                return err_set(e, -errno, "handle the kick signal");
        for (unsigned int i = 0; i < count; i++) {
                int r;

                vcpus[i] = (struct vcpu){.id = i, .fd = -1, .machine = m, .cpuid = cpuid};
                r = -pthread_create(&vcpus[i].thread, NULL, vcpu_main, &vcpus[i]);
                if (r < 0)
                        return err_set(e, r, "start the thread of vCPU %u", i);
        }
        return 0;
}

void vcpus_loaded(struct machine *m, const struct boot_entry *entry)
{
        pthread_mutex_lock(&m->lock);
        m->entry = *entry;
        m->loaded = true;
        pthread_cond_broadcast(&m->changed);
        pthread_mutex_unlock(&m->lock);
}

int vcpus_meet(struct vcpu *vcpus, unsigned int count, struct err *e)
{
        int r = meet(vcpus[0].machine, true);

        for (unsigned int i = 0; r < 0 && e && i < count; i++)
                if (vcpus[i].start_error.text[0]) {
                        *e = vcpus[i].start_error;
                        break;
                }
        return r;
}

void vcpus_stop(struct vcpu *vcpus, unsigned int count, int timeout_ms)
{
        struct machine *m = vcpus[0].machine;
        struct timespec end;

        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_nsec += (long)timeout_ms % 1000 * 1000000;
        end.tv_sec += timeout_ms / 1000 + end.tv_nsec / 1000000000;
        end.tv_nsec %= 1000000000;

        pthread_mutex_lock(&m->lock);
        for (unsigned int i = 0; i < count; i++)
                /* Fails only for a thread that is gone, and none ever goes. */
                (void)syscall(SYS_tgkill, getpid(), vcpus[i].tid, KICK_SIGNAL);
        while (m->parked < count)
                if (pthread_cond_timedwait(&m->changed, &m->lock, &end) != 0)
                        break;
        pthread_mutex_unlock(&m->lock);
}
