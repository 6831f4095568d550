#include "supervisor/storage_program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "spec/storage.h"

#define ANSWER_MAX        32768 /* bytes */
#define ANSWER_TIMEOUT_MS 10000
#define LOADER_CPU_S      5
#define NOBODY            65534U

/* Modes in the new root: for programs, and for what they map. */
#define MODE_PROGRAM 0555
#define MODE_LIBRARY 0444

/* ---- asking the loader ---- */

static int rights_drop(void)
{
        const struct rlimit cpu = {LOADER_CPU_S, LOADER_CPU_S}, none = {0, 0};

        if (geteuid() == 0 &&
            (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) < 0 ||
             syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) < 0))
                return -errno;
        if (syscall(SYS_prctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0, 0) < 0 || setrlimit(RLIMIT_CPU, &cpu) < 0 ||
            setrlimit(RLIMIT_FSIZE, &none) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
                return -errno;
        return 0;
}

/* ld.so(8): with this variable, it says what it would map, and does not run the program. */
static _Noreturn void loader_run(int program, int answer)
{
        char *const argv[] = {(char *)(uintptr_t)STORAGE_PROGRAM, (char *)(uintptr_t) "--version", NULL};
        char *const envp[] = {(char *)(uintptr_t) "LD_TRACE_LOADED_OBJECTS=1", NULL};
        sigset_t none;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        sigemptyset(&none);
        if (null >= 0 && dup2(null, STDIN_FILENO) == STDIN_FILENO && dup2(answer, STDOUT_FILENO) == STDOUT_FILENO &&
            dup2(null, STDERR_FILENO) == STDERR_FILENO && sigprocmask(SIG_SETMASK, &none, NULL) == 0 &&
            rights_drop() == 0)
                sys_execveat(program, "", argv, envp, AT_EMPTY_PATH);
        _exit(STATUS_FAILURE);
}

/* Reads until the other end is closed. Returns the length, -ETIMEDOUT, -EFBIG or another negative errno. */
static ssize_t answer_read(int fd, char buf[ANSWER_MAX])
{
        const int64_t deadline = clock_now_ms() + ANSWER_TIMEOUT_MS;
        size_t used = 0;

        for (;;) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                int64_t left = deadline - clock_now_ms();
                ssize_t n;

                if (left <= 0)
                        return -ETIMEDOUT;
                if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
                        return -errno;
                if (!p.revents)
                        continue;
                n = read(fd, buf + used, ANSWER_MAX - 1 - used);
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                used += (size_t)n;
                if (used == ANSWER_MAX - 1)
                        return -EFBIG;
        }
        buf[used] = '\0';
        return (ssize_t)used;
}

static int loader_ask(int program, char buf[ANSWER_MAX], struct err *e)
{
        struct clone_args args = {.exit_signal = SIGCHLD};
        int fds[2], status = 0;
        ssize_t n;
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return err_set(e, -errno, "create a pipe");
        pid = sys_clone3(&args);
        if (pid == 0)
                loader_run(program, fds[1]);
        close(fds[1]);
        n = pid < 0 ? -errno : answer_read(fds[0], buf);
        close(fds[0]);
        if (pid > 0) {
                if (n < 0)
                        kill(pid, SIGKILL);
                while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                        ;
        }
        if (n >= 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
                n = -ECHILD;
        return n < 0 ? err_set(e, (int)n, "ask which files %s maps", STORAGE_PROGRAM) : 0;
}

/* ---- its answer ---- */

static int inside_name(char ret[STORAGE_NAME_MAX], const char *directory, const char *name)
{
        int n = snprintf(ret, STORAGE_NAME_MAX, "%s%s", directory, name);

        return n < 0 || n >= STORAGE_NAME_MAX ? -EPROTO : 1;
}

int storage_program_line(char *line, const char **ret_path, char ret_inside[STORAGE_NAME_MAX])
{
        char *end = strrchr(line, '('), *arrow, *name = line + 1;

        if (line[0] != '\t' || !end || end - line < 3 || strncmp(end, "(0x", 3) != 0 || end[-1] != ' ')
                return -EPROTO; /* "not found" among others */
        end[-1] = '\0';
        arrow = strstr(name, " => ");
        if (!arrow) {
                *ret_path = name;
                /* What the kernel maps has no file. The loader's path is what the program calls for. */
                return name[0] != '/' ? 0 : inside_name(ret_inside, "", name);
        }
        *arrow = '\0';
        *ret_path = arrow + 4;
        if (name[0] == '\0' || strchr(name, '/') || (*ret_path)[0] != '/')
                return -EPROTO;
        return inside_name(ret_inside, STORAGE_LIBRARIES "/", name);
}

static int file_add(struct storage_files *f, int fd, const char *inside, unsigned int mode, struct err *e)
{
        struct stat st;

        if (f->count == JAIL_FILES_MAX || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                close(fd);
                err_bad(e, STATUS_HOST, "%s maps %s, which cannot be had", STORAGE_PROGRAM, inside);
                return -EPROTO;
        }
        snprintf(f->paths[f->count], STORAGE_NAME_MAX, "%s", inside);
        f->list[f->count] = (struct jail_file){.fd = fd, .path = f->paths[f->count], .mode = mode};
        f->count++;
        return 0;
}

static int line_open(struct storage_files *f, char *line, struct err *e)
{
        char inside[STORAGE_NAME_MAX];
        const char *path;
        int fd, r = storage_program_line(line, &path, inside);

        if (r < 0)
                return err_bad(e, STATUS_HOST, "the dynamic loader says of %s: %s", STORAGE_PROGRAM, line);
        if (r == 0)
                return 0;
        fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return err_set(e, -errno, "open %s, which %s maps", path, STORAGE_PROGRAM);
        return file_add(f, fd, inside, strcmp(path, inside) == 0 ? MODE_PROGRAM : MODE_LIBRARY, e);
}

int storage_files_find(struct storage_files *f, struct err *e)
{
        static char answer[ANSWER_MAX];
        char *rest = answer, *line;
        int r, fd = open(STORAGE_PROGRAM, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

        if (fd < 0) {
                r = err_set(e, -errno, "open %s, which serves disks in format qcow2", STORAGE_PROGRAM);
                if (r == -ENOENT)
                        err_hint(e, "apt install qemu-system-common, or make a raw image with qemu-img convert -O raw");
                if (e)
                        e->status = STATUS_HOST;
                return r;
        }
        r = file_add(f, fd, "/" STORAGE_NAME, MODE_PROGRAM, e);
        if (r == 0)
                r = loader_ask(fd, answer, e);
        while (r == 0 && (line = strsep(&rest, "\n")))
                r = line[0] ? line_open(f, line, e) : 0;
        return r;
}

void storage_files_close(struct storage_files *f)
{
        for (size_t i = 0; i < f->count; i++)
                fd_closep(&f->list[i].fd);
        f->count = 0;
}

int storage_program_open(struct storage_program *p, struct err *e)
{
        static struct storage_files files;
        int r = storage_files_find(&files, e);

        if (r == 0)
                r = beside_open(STORAGE_SEAL, e);
        if (r >= 0)
                r = file_add(&files, r, STORAGE_LIBRARIES "/" STORAGE_SEAL, MODE_LIBRARY, e);
        if (r == 0)
                r = jail_files_make(files.list, files.count, &p->root_fd, &p->program_fd, e);
        storage_files_close(&files);
        return r;
}

void storage_program_close(struct storage_program *p)
{
        fd_closep(&p->root_fd);
        fd_closep(&p->program_fd);
}
