#include "cli/json_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"

#define HELPER "bulkhead-json"

/* Runs the helper with these descriptors as its standard input and output. Returns 0 or a negative errno. */
static int helper_run(const char *mode, int in_fd, int out_fd, struct err *e)
{
        char *const argv[] = {(char *)(uintptr_t)HELPER, (char *)(uintptr_t)mode, NULL}, *const envp[] = {NULL};
        _cleanup_fd_ int program = beside_open(HELPER, e);
        int status;
        pid_t pid;

        if (program < 0)
                return program;
        pid = fork();
        if (pid < 0)
                return err_set(e, -errno, "start " HELPER);
        if (pid == 0) {
                struct err failure = ERR_INIT;

                if (dup2(in_fd, STDIN_FILENO) >= 0 && dup2(out_fd, STDOUT_FILENO) >= 0)
                        sys_execveat(program, "", argv, envp, AT_EMPTY_PATH);
                err_set(&failure, -errno, "execute " HELPER);
                err_print(&failure, STDERR_FILENO, "bulkhead");
                _exit(STATUS_FAILURE);
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return err_set(e, -errno, "wait for " HELPER);
        if (!WIFEXITED(status))
                return err_bad(e, STATUS_FAILURE, HELPER " was killed by signal %d", WTERMSIG(status));
        if (WEXITSTATUS(status) == 0)
                return 0;
        if (e) { /* the helper, or the child that should have become it, has said why */
                e->status = (enum exit_status)WEXITSTATUS(status);
                e->text[0] = '\0';
        }
        return -EINVAL;
}

/* A scratch file in memory, with len bytes of data at its start. */
static int scratch_open(const void *data, size_t len, struct err *e)
{
        _cleanup_fd_ int fd = memfd_create("bulkhead", MFD_CLOEXEC);
        int r = fd < 0 ? -errno : io_write_all(fd, data, len);

        if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
                r = -errno;
        return r < 0 ? err_set(e, r, "create a scratch file") : TAKE_FD(fd);
}

int json_spec_read(const char *path, struct guest_spec *ret, struct err *e)
{
        _cleanup_fd_ int in = open(path, O_RDONLY | O_CLOEXEC), out = -1;
        struct guest_spec bytes;
        struct stat st;
        int r;

        if (in < 0) {
                r = err_set(e, -errno, "open the configuration %s", path);
                if (e)
                        e->status = STATUS_USAGE;
                return r;
        }
        if (fstat(in, &st) == 0 && S_ISDIR(st.st_mode)) {
                err_bad(e, STATUS_USAGE, "the configuration %s is a directory; give a JSON file", path);
                return -EISDIR;
        }
        out = scratch_open("", 0, e);
        if (out < 0)
                return out;
        r = helper_run("parse-spec", in, out, e);
        if (r < 0)
                return r;
        r = io_pread_all(out, &bytes, sizeof(bytes), 0);
        if (r < 0)
                return err_set(e, r, "read the configuration %s", path);
        return guest_spec_draft_from_bytes(&bytes, sizeof(bytes), ret, e);
}

int json_spec_print(const struct guest_spec *spec, struct err *e)
{
        _cleanup_fd_ int in = scratch_open(spec, sizeof(*spec), e);

        return in < 0 ? in : helper_run("print-spec", in, STDOUT_FILENO, e);
}

int json_report_print(const char *lines, size_t len, struct err *e)
{
        _cleanup_fd_ int in = scratch_open(lines, len, e);

        return in < 0 ? in : helper_run("report", in, STDOUT_FILENO, e);
}
