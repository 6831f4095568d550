#include "supervisor/id_mapper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/prctl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"

#define NEWUIDMAP "/usr/bin/newuidmap"
#define NEWGIDMAP "/usr/bin/newgidmap"

#define MAPPER_FD      3
#define MAP_TIMEOUT_MS 30000 /* they look users up, which may take a name service */

struct map_answer {
        int32_t failed; /* 0: mapped */
        char text[256]; /* what the program said */
};

bool id_mapper_available(void)
{
        return access(NEWUIDMAP, X_OK) == 0 && access(NEWGIDMAP, X_OK) == 0;
}

static _Noreturn void program_exec(const char *path, pid_t pid, uint32_t first, uint32_t count, int out)
{
        char target[16], host[16], size[16];
        char *const argv[] = {(char *)(uintptr_t)path, target, (char *)(uintptr_t) "1", host, size, NULL};
        char *const envp[] = {NULL};

        snprintf(target, sizeof(target), "%d", (int)pid);
        snprintf(host, sizeof(host), "%u", first);
        snprintf(size, sizeof(size), "%u", count);
        if (dup2(out, STDOUT_FILENO) >= 0 && dup2(out, STDERR_FILENO) >= 0)
                execve(path, argv, envp);
        _exit(STATUS_FAILURE);
}

/* What the program said, up to its first line's end. */
static void output_read(int fd, char *text, size_t size)
{
        size_t used = 0;
        ssize_t n;

        while (used < size - 1 && (n = read(fd, text + used, size - 1 - used)) > 0)
                used += (size_t)n;
        text[used] = '\0';
        text[strcspn(text, "\n")] = '\0';
}

/* Runs one of the programs. Returns true when it did its work, else text says why not. */
static bool program_run(const char *path, pid_t target, uint32_t first, uint32_t count, char *text, size_t size)
{
        int pipe_fds[2], status = 0;
        pid_t pid;

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return false;
        pid = fork();
        if (pid == 0)
                program_exec(path, target, first, count, pipe_fds[1]);
        close(pipe_fds[1]);
        output_read(pipe_fds[0], text, size);
        close(pipe_fds[0]);
        while (pid > 0 && waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return false;
        return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static _Noreturn void mapper_main(int fd, const struct jail_ids *ids)
{
        int32_t pid;

        /* Nothing that the supervisor has open, and no longer than it lives. */
        if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || dup2(fd, MAPPER_FD) < 0 ||
            sys_close_range(MAPPER_FD + 1, UINT_MAX) < 0)
                _exit(STATUS_FAILURE);
        for (int i = 0; i < MAPPER_FD; i++)
                close(i);
        if (open("/dev/null", O_RDWR) != 0 || dup(0) != 1 || dup(0) != 2 || fcntl(MAPPER_FD, F_SETFD, FD_CLOEXEC) < 0)
                _exit(STATUS_FAILURE);
        while (recv(MAPPER_FD, &pid, sizeof(pid), 0) == sizeof(pid)) {
                struct map_answer a = {.failed = 1};

                if (program_run(NEWUIDMAP, pid, ids->uid, ids->count, a.text, sizeof(a.text)) &&
                    program_run(NEWGIDMAP, pid, ids->gid, ids->count, a.text, sizeof(a.text)))
                        a.failed = 0;
                if (send(MAPPER_FD, &a, sizeof(a), MSG_NOSIGNAL) < 0)
                        break;
        }
        _exit(STATUS_OK);
}

int id_mapper_start(struct id_mapper *ret, const struct jail_ids *ids, struct err *e)
{
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return err_set(e, -errno, "create a socket pair");
        ret->pid = fork();
        if (ret->pid == 0)
                mapper_main(fds[1], ids);
        close(fds[1]);
        ret->fd = fds[0];
        return ret->pid < 0 ? err_set(e, -errno, "start the process that maps ids") : 0;
}

int id_mapper_map(const struct id_mapper *m, pid_t pid, struct err *e)
{
        struct map_answer a = {.failed = 1, .text = "no answer"};
        struct pollfd p = {.fd = m->fd, .events = POLLIN};
        int32_t target = pid;

        if (send(m->fd, &target, sizeof(target), MSG_NOSIGNAL) < 0 || poll(&p, 1, MAP_TIMEOUT_MS) != 1 ||
            recv(m->fd, &a, sizeof(a), 0) != sizeof(a))
                a.failed = 1;
        if (!a.failed)
                return 0;
        a.text[sizeof(a.text) - 1] = '\0';
        err_bad(e, STATUS_ISOLATION, "map the guest's ids with newuidmap and newgidmap: %s",
                a.text[0] ? a.text : "they gave no reason");
        err_hint(e, "see bulkhead doctor");
        return -EPERM;
}

void id_mapper_stop(struct id_mapper *m)
{
        if (m->pid > 0) {
                kill(m->pid, SIGKILL); /* our own unreaped child: the pid is nobody else's */
                while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        m->pid = -1;
        fd_closep(&m->fd);
}
