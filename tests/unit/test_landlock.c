/* Landlock stage: a child tries everything once before and once after sealing itself. */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "jail/jail_landlock.h"

/* What the attempts work on, made by the parent. */
struct scene {
        char dir[64];
        char file[96], program[96];
        struct sockaddr_in listener; /* TCP on the loopback */
        struct sockaddr_un abstract;
        socklen_t abstract_len;
        int dir_fd, urandom_fd, file_fd;
        pid_t parent;
};

/* Each attempt returns 0 or the errno it got, and leaves nothing behind that would make the next one fail. */
typedef int attempt_fn(const struct scene *s);

static int result(int r)
{
        return r < 0 ? errno : 0;
}

static int open_result(int fd)
{
        int r = result(fd);

        if (fd >= 0)
                close(fd);
        return r;
}

static int try_read_file(const struct scene *s)
{
        return open_result(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int try_read_dir(const struct scene *s)
{
        return open_result(open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int try_write_file(const struct scene *s)
{
        return open_result(open(s->file, O_WRONLY | O_CLOEXEC));
}

static int try_open_below_held_dir(const struct scene *s)
{
        return open_result(openat(s->dir_fd, "file", O_RDONLY | O_CLOEXEC));
}

static int try_truncate(const struct scene *s)
{
        return result(truncate(s->file, 0));
}

static int try_create(const struct scene *s)
{
        int fd = openat(s->dir_fd, "new", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        int r = open_result(fd);

        unlinkat(s->dir_fd, "new", 0);
        return r;
}

static int try_mkdir(const struct scene *s)
{
        int r = result(mkdirat(s->dir_fd, "new", 0700));

        unlinkat(s->dir_fd, "new", AT_REMOVEDIR);
        return r;
}

static int try_fifo(const struct scene *s)
{
        int r = result(mknodat(s->dir_fd, "new", S_IFIFO | 0600, 0));

        unlinkat(s->dir_fd, "new", 0);
        return r;
}

static int try_symlink(const struct scene *s)
{
        int r = result(symlinkat("file", s->dir_fd, "new"));

        unlinkat(s->dir_fd, "new", 0);
        return r;
}

static int try_rename(const struct scene *s)
{
        int r = result(renameat(s->dir_fd, "file", s->dir_fd, "moved"));

        if (r == 0)
                renameat(s->dir_fd, "moved", s->dir_fd, "file");
        return r;
}

static int try_unlink(const struct scene *s)
{
        int r = result(unlinkat(s->dir_fd, "victim", 0));

        if (r == 0)
                close(openat(s->dir_fd, "victim", O_CREAT | O_WRONLY | O_CLOEXEC, 0700));
        return r;
}

/* Executes a file that is no program: ENOEXEC says that it was allowed to try. */
static int try_execute(const struct scene *s)
{
        char name[] = "program";
        char *const argv[] = {name, NULL}, *const none[] = {NULL};

        execve(s->program, argv, none);
        return errno == ENOEXEC ? 0 : errno;
}

static int try_tcp_connect(const struct scene *s)
{
        _cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        return result(connect(fd, (const struct sockaddr *)&s->listener, sizeof(s->listener)));
}

static int try_tcp_bind(const struct scene *s)
{
        _cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

        return result(bind(fd, (const struct sockaddr *)&any, sizeof(any)));
}

static int try_abstract_connect(const struct scene *s)
{
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        return result(connect(fd, (const struct sockaddr *)&s->abstract, s->abstract_len));
}

static int try_signal_parent(const struct scene *s)
{
        return result(kill(s->parent, 0));
}

static int try_device_ioctl(const struct scene *s)
{
        _cleanup_fd_ int fd = -1;
        int bits;

        /* Denied at the open; a descriptor held from before stays usable (try_held_device_ioctl). */
        fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
        return fd < 0 ? errno : result(ioctl(fd, RNDGETENTCNT, &bits));
}

static int try_held_device_ioctl(const struct scene *s)
{
        int bits;

        return result(ioctl(s->urandom_fd, RNDGETENTCNT, &bits));
}

static int try_held_file_io(const struct scene *s)
{
        char byte;

        if (pwrite(s->file_fd, "x", 1, 0) != 1 || pread(s->file_fd, &byte, 1, 0) != 1)
                return errno ? errno : EIO;
        return result(ftruncate(s->file_fd, 1));
}

static int try_signal_own_thread(const struct scene *s)
{
        return result((int)syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), 0));
}

/*
 * Two rights cannot be told from what stands around them: REFER is denied by every ruleset, named or not, and
 * IOCTL_DEV matters only for a device that could be opened.
 */
static const struct {
        const char *name;
        attempt_fn *attempt;
        unsigned int since_abi; /* the ABI from which the attempt must fail; 0: it must go on working */
        int denied_as;
} attempts[] = {
        {"open a file", try_read_file, 1, EACCES},
        {"open a directory", try_read_dir, 1, EACCES},
        {"open for writing", try_write_file, 1, EACCES},
        {"open below a directory held open", try_open_below_held_dir, 1, EACCES},
        {"create a file", try_create, 1, EACCES},
        {"mkdir", try_mkdir, 1, EACCES},
        {"make a fifo", try_fifo, 1, EACCES},
        {"make a symlink", try_symlink, 1, EACCES},
        {"rename", try_rename, 1, EACCES},
        {"unlink", try_unlink, 1, EACCES},
        {"execute", try_execute, 1, EACCES},
        {"open a device and use it", try_device_ioctl, 1, EACCES},
        {"truncate", try_truncate, 3, EACCES},
        {"TCP connect", try_tcp_connect, 4, EACCES},
        {"TCP bind", try_tcp_bind, 4, EACCES},
        {"connect to an abstract socket", try_abstract_connect, 6, EPERM},
        {"signal the parent", try_signal_parent, 6, EPERM},
        {"ioctl on a device held open", try_held_device_ioctl, 0, 0},
        {"read, write, truncate a file held open", try_held_file_io, 0, 0},
        {"signal a thread of its own", try_signal_own_thread, 0, 0},
};

/* What the child reports. */
struct report {
        int sealed; /* what jail_landlock_seal() returned */
        unsigned int abi;
        int before[ARRAY_LEN(attempts)], after[ARRAY_LEN(attempts)];
};

static void child(const struct scene *s, int report_fd)
{
        struct report r = {.sealed = -ENODATA, .abi = 0};

        for (size_t i = 0; i < ARRAY_LEN(attempts); i++)
                r.before[i] = attempts[i].attempt(s);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
                r.sealed = jail_landlock_seal(&r.abi, NULL);
        for (size_t i = 0; i < ARRAY_LEN(attempts); i++)
                r.after[i] = attempts[i].attempt(s);
        _exit(io_write_all(report_fd, &r, sizeof(r)) < 0);
}

static void scene_make(struct scene *s, int *ret_tcp, int *ret_abstract)
{
        socklen_t len = sizeof(s->listener);

        *s = (struct scene){.parent = getpid(),
                            .listener = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
                            .abstract = {.sun_family = AF_UNIX}};
        snprintf(s->dir, sizeof(s->dir), "/tmp/test_landlock.XXXXXX");
        assert_non_null(mkdtemp(s->dir));
        snprintf(s->file, sizeof(s->file), "%s/file", s->dir);
        snprintf(s->program, sizeof(s->program), "%s/victim", s->dir);
        s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        s->file_fd = openat(s->dir_fd, "file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        close(openat(s->dir_fd, "victim", O_CREAT | O_WRONLY | O_CLOEXEC, 0700));
        s->urandom_fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
        assert_true(s->dir_fd >= 0 && s->file_fd >= 0 && s->urandom_fd >= 0);

        *ret_tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(*ret_tcp, (struct sockaddr *)&s->listener, len), 0);
        assert_int_equal(listen(*ret_tcp, 8), 0);
        assert_int_equal(getsockname(*ret_tcp, (struct sockaddr *)&s->listener, &len), 0);

        /* An address of nothing but the family makes the kernel choose an abstract name. */
        *ret_abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(*ret_abstract, (struct sockaddr *)&s->abstract, sizeof(sa_family_t)), 0);
        assert_int_equal(listen(*ret_abstract, 8), 0);
        s->abstract_len = sizeof(s->abstract);
        assert_int_equal(getsockname(*ret_abstract, (struct sockaddr *)&s->abstract, &s->abstract_len), 0);
}

static void scene_remove(struct scene *s)
{
        unlinkat(s->dir_fd, "file", 0);
        unlinkat(s->dir_fd, "victim", 0);
        unlinkat(s->dir_fd, "new", 0);
        rmdir(s->dir);
        close(s->dir_fd);
        close(s->file_fd);
        close(s->urandom_fd);
}

static void report_check(const struct report *r)
{
        for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
                bool denied = attempts[i].since_abi > 0 && attempts[i].since_abi <= r->abi;
                int want = denied ? attempts[i].denied_as : 0;

                /* Without this a typing error in an attempt would look like a denial. */
                if (r->before[i] != 0)
                        fail_msg("%s: %s before the seal", attempts[i].name, strerror(r->before[i]));
                if (r->after[i] != want)
                        fail_msg("%s: %s after the seal, wanted %s (ABI %u)", attempts[i].name, strerror(r->after[i]),
                                 strerror(want), r->abi);
        }
}

static void denies_everything_new(void **state)
{
        _cleanup_fd_ int tcp = -1, abstract = -1;
        struct report r;
        struct scene s;
        int fds[2], status;
        pid_t pid;

        scene_make(&s, &tcp, &abstract);
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                child(&s, fds[1]);
        close(fds[1]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        scene_remove(&s);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(read(fds[0], &r, sizeof(r)), sizeof(r));
        close(fds[0]);

        assert_int_equal(r.sealed, 0);
        if (r.abi == 0) {
                print_message("skipped: this kernel has no Landlock\n");
                skip();
        }
        print_message("Landlock ABI %u\n", r.abi);
        report_check(&r);
}

/* Runs seal in a child as an ordinary user without no_new_privs: there is Landlock, and it must say no. */
static void refuses_without_no_new_privs(void **state)
{
        int fds[2], status;
        struct {
                int sealed;
                unsigned int abi;
        } r = {.abi = 77};
        pid_t pid;

        if (syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1U) < 0) {
                print_message("skipped: this kernel has no Landlock\n");
                skip();
        }
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
                        _exit(1);
                r.sealed = jail_landlock_seal(&r.abi, NULL);
                _exit(io_write_all(fds[1], &r, sizeof(r)) < 0);
        }
        close(fds[1]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(read(fds[0], &r, sizeof(r)), sizeof(r));
        close(fds[0]);
        assert_int_equal(r.sealed, -EPERM);
        assert_int_equal(r.abi, 77);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(denies_everything_new),
                cmocka_unit_test(refuses_without_no_new_privs),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
