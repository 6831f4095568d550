/* Seccomp stage: children install a compiled policy and make one call; the kernel gives the verdict. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../tools/policy/policy.h"
#include "base/io.h"
#include "jail/jail_seccomp.h"

#define GARBAGE   0xdead000000000000UL /* in an upper half */
#define X32_BIT   0x40000000L
#define CHILD_OK  42 /* the child's call returned */
#define CHILD_BAD 43 /* the child did not get that far */

/* getpid by number in the i386 table; the build needs no 32-bit headers for it. */
#define I386_GETPID 20

static const char policy_text[] = "exit_group : the verdict\n"
                                  "getpid : allowed with any arguments\n"
                                  "fcntl [arg0 == 1, arg1 == F_GETFD] : one request on one descriptor\n"
                                  "lseek [arg1:64 <= 0x100000000] : a 64-bit limit\n";

/* Compiles policy_text as the build would. */
static struct bpf_program *compile(void)
{
        _cleanup_free_ struct policy *p = policy_new();
        struct bpf_program *prog = malloc(sizeof(*prog));
        char path[] = "/tmp/test_jail_seccomp.XXXXXX";
        int fd = mkstemp(path);
        struct err e;

        assert_non_null(p);
        assert_non_null(prog);
        assert_true(fd >= 0);
        assert_int_equal(io_write_all(fd, policy_text, sizeof(policy_text) - 1), 0);
        close(fd);
        assert_int_equal(policy_parse(p, path, &e), 0);
        unlink(path);
        assert_int_equal(policy_emit(p, prog, &e), 0);
        assert_int_equal(policy_verify(p, prog, &e), 0);
        return prog;
}

struct call {
        const char *name;
        long nr;
        unsigned long args[3];
        bool allowed;
};

/* Runs in a child: installs (or not), makes the call, says so by its exit status. */
static void child(const struct jail_policy *policy, const struct call *c)
{
        struct rlimit no_core = {0};

        setrlimit(RLIMIT_CORE, &no_core);
        if (policy && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || jail_seccomp_install(policy, NULL) < 0))
                _exit(CHILD_BAD);
        if (c->nr < 0) {
                long r = I386_GETPID;

                __asm__ volatile("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10", "r11");
        } else {
                (void)syscall(c->nr, c->args[0], c->args[1], c->args[2]);
        }
        syscall(SYS_exit_group, CHILD_OK);
}

static int status_of(const struct jail_policy *policy, const struct call *c)
{
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0)
                child(policy, c);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return status;
}

static void kernel_agrees(void **state)
{
        static const struct call calls[] = {
                {"getpid", SYS_getpid, {0}, true},
                {"getppid", SYS_getppid, {0}, false},
                {"fcntl as allowed", SYS_fcntl, {1, F_GETFD}, true},
                {"fcntl with garbage above", SYS_fcntl, {GARBAGE | 1, GARBAGE | F_GETFD}, true},
                {"fcntl on another descriptor", SYS_fcntl, {2, F_GETFD}, false},
                {"fcntl with another request", SYS_fcntl, {1, F_GETFL}, false},
                {"fcntl with another request and garbage", SYS_fcntl, {1, GARBAGE | F_GETFL}, false},
                {"lseek at its limit", SYS_lseek, {99, 0x100000000, SEEK_SET}, true},
                {"lseek past its limit", SYS_lseek, {99, 0x100000001, SEEK_SET}, false},
                {"lseek far past its limit", SYS_lseek, {99, 0x200000000, SEEK_SET}, false},
                {"getpid of x32", SYS_getpid | X32_BIT, {0}, false},
                {"a number that does not exist", 100000, {0}, false},
        };
        _cleanup_free_ struct bpf_program *prog = compile();
        struct jail_policy policy = {.filter = prog->filter, .len = (unsigned short)prog->len};

        for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
                int status = status_of(NULL, &calls[i]);

                /* Without the filter each of them returns: what kills below is the filter. */
                if (!WIFEXITED(status) || WEXITSTATUS(status) != CHILD_OK)
                        fail_msg("%s: status %#x without a filter", calls[i].name, (unsigned int)status);
                status = status_of(&policy, &calls[i]);
                if (calls[i].allowed ? !WIFEXITED(status) || WEXITSTATUS(status) != CHILD_OK
                                     : !WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
                        fail_msg("%s: status %#x with the filter", calls[i].name, (unsigned int)status);
        }
}

static void i386_is_closed(void **state)
{
        static const struct call i386 = {"getpid of i386", -1, {0}, false};
        _cleanup_free_ struct bpf_program *prog = compile();
        struct jail_policy policy = {.filter = prog->filter, .len = (unsigned short)prog->len};
        int status = status_of(NULL, &i386);

        if (WIFSIGNALED(status)) {
                print_message("skipped: this kernel has no i386 system calls\n");
                skip();
        }
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_OK);
        status = status_of(&policy, &i386);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

/* Runs install in a child and returns its result as seen there, with getppid made afterwards to prove it. */
static int install_result(const struct jail_policy *policy, bool no_new_privs)
{
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
                struct rlimit no_core = {0};
                int r;

                setrlimit(RLIMIT_CORE, &no_core);
                if (no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                        _exit(255);
                r = jail_seccomp_install(policy, NULL);
                (void)syscall(SYS_getppid);
                syscall(SYS_exit_group, -r);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status)); /* nothing was installed: getppid returned */
        return -WEXITSTATUS(status);
}

static void refuses(void **state)
{
        _cleanup_free_ struct bpf_program *prog = compile();
        struct sock_filter endless[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
        struct jail_policy good = {.filter = prog->filter, .len = (unsigned short)prog->len};
        struct jail_policy empty = {.filter = prog->filter, .len = 0};
        struct jail_policy cut = {.filter = prog->filter, .len = 4};
        struct jail_policy no_return = {.filter = endless, .len = 1};
        struct err e = ERR_INIT;

        if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0) {
                assert_int_equal(install_result(&good, false), -EPERM);
                assert_int_equal(jail_seccomp_install(&good, &e), -EPERM);
                assert_non_null(strstr(e.text, "no_new_privs is not set"));
        } else {
                print_message("not tried: no_new_privs is set already, so its absence cannot be\n");
        }
        assert_int_equal(install_result(NULL, true), -EINVAL);
        assert_int_equal(install_result(&empty, true), -EINVAL);
        assert_int_equal(install_result(&cut, true), -EINVAL);
        assert_int_equal(install_result(&no_return, true), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(kernel_agrees),
                cmocka_unit_test(i386_is_closed),
                cmocka_unit_test(refuses),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
