/* The program bulkhead-json, argv[1]: its limits, its exit statuses, and the cell that it builds around
 * itself. */
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <seccomp.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cli/json/report_json.h"
#include "cli/json/seal.h"
#include "cli/json/spec_json.h"

static const char *program;

static int memory_file(void)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        assert_true(fd >= 0);
        return fd;
}

struct result {
        int status; /* of waitpid(2) */
        size_t out_len, err_len;
        char out[32768], err[1024]; /* terminated by a zero, longer output is cut */
};

static size_t file_text(int fd, char *buf, size_t size)
{
        ssize_t n = pread(fd, buf, size - 1, 0);
        struct stat st;

        assert_true(n >= 0);
        buf[n] = '\0';
        assert_int_equal(fstat(fd, &st), 0);
        return (size_t)st.st_size;
}

/* Starts the program on the three files; prepare, if any, runs in the child before exec. */
static pid_t start(const char *mode, int in, int out, int err, void (*prepare)(int), int arg)
{
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
                        _exit(99);
                if (prepare)
                        prepare(arg);
                execl(program, "bulkhead-json", mode, NULL);
                _exit(98);
        }
        return pid;
}

static struct result run_prepared(const char *mode, int in, void (*prepare)(int), int arg)
{
        _cleanup_fd_ int out = memory_file(), err = memory_file();
        struct result res = {0};

        assert_true(lseek(in, 0, SEEK_SET) == 0);
        assert_true(waitpid(start(mode, in, out, err, prepare, arg), &res.status, 0) > 0);
        res.out_len = file_text(out, res.out, sizeof(res.out));
        res.err_len = file_text(err, res.err, sizeof(res.err));
        return res;
}

static struct result run_bytes(const char *mode, const void *buf, size_t len)
{
        _cleanup_fd_ int in = memory_file();

        assert_int_equal(io_write_all(in, buf, len), 0);
        return run_prepared(mode, in, NULL, 0);
}

static struct result run_text(const char *mode, const char *text)
{
        return run_bytes(mode, text, strlen(text));
}

/* Ended by exit(status), with nothing on fd 1 and exactly one line on fd 2 that starts as given. */
static void assert_refused(const struct result *res, enum exit_status status, const char *line)
{
        if (!WIFEXITED(res->status) || WEXITSTATUS(res->status) != (int)status)
                fail_msg("wait status 0x%x, '%s'", (unsigned int)res->status, res->err);
        assert_int_equal(res->out_len, 0);
        if (strncmp(res->err, line, strlen(line)) != 0)
                fail_msg("'%s' instead of '%s'", res->err, line);
        assert_true(res->err_len < sizeof(res->err));
        assert_ptr_equal(strchr(res->err, '\n'), res->err + res->err_len - 1);
}

static void assert_done(const struct result *res)
{
        if (res->status != 0 || res->err_len != 0)
                fail_msg("wait status 0x%x, '%s'", (unsigned int)res->status, res->err);
}

static void round_trip(void **state)
{
        struct result json, bytes = run_text("parse-spec",
                                             "{\"name\": \"vm\", \"kernel\": \"k\", \"cpus\": 3, \"memory\": \"1G\"}");
        struct guest_spec s;

        assert_done(&bytes);
        assert_int_equal(guest_spec_draft_from_bytes(bytes.out, bytes.out_len, &s, NULL), 0);
        assert_string_equal(s.name, "vm");
        assert_int_equal(s.vcpus, 3);
        json = run_bytes("print-spec", &s, sizeof(s));
        assert_done(&json);
        assert_non_null(strstr(json.out, "\n  \"cpus\": 3,\n"));
        bytes = run_bytes("parse-spec", json.out, json.out_len);
        assert_done(&bytes);
        assert_int_equal(bytes.out_len, sizeof(s));
        assert_memory_equal(bytes.out, &s, sizeof(s));
}

static void device_path(void **state)
{
        struct result res =
                run_text("parse-spec", "{\"io_limits\": [{\"device\": \"/dev/null\", \"read_ops_per_s\": 1}]}");

        /* stat(2) works in the cell: this is its answer. */
        assert_refused(&res, STATUS_USAGE, "bulkhead-json: io_limits[0]: device /dev/null: not a block device\n");
}

static void reports(void **state)
{
        struct result res = run_text("report", "s\ta/0\tx\n");

        assert_done(&res);
        assert_string_equal(res.out, "{\n  \"a\": [\n    \"x\"\n  ]\n}\n");
        res = run_text("report", "s\ta/1\tx\n");
        assert_refused(&res, STATUS_FAILURE, "bulkhead-json: report, line 1: index 1 is not at most");
}

static void errors(void **state)
{
        struct guest_spec s;
        struct result res = run_text("parse-spec", "{\"bogus\": 1}");

        assert_refused(&res, STATUS_USAGE, "bulkhead-json: unknown key \"bogus\"\n");
        res = run_text("parse-spec", "{\"bo\\ngus\\u001b\": 1}");
        assert_refused(&res, STATUS_USAGE, "bulkhead-json: unknown key \"bo?gus?\"\n");
        res = run_text("parse-spec", "");
        assert_refused(&res, STATUS_USAGE, "bulkhead-json: line 1");
        guest_spec_init(&s);
        res = run_bytes("print-spec", &s, sizeof(s) - 1);
        assert_refused(&res, STATUS_FAILURE, "bulkhead-json: guest description has");
        s.vcpus = 0;
        res = run_bytes("print-spec", &s, sizeof(s));
        assert_refused(&res, STATUS_USAGE, "bulkhead-json: cpus must");
        res = run_text("bogus", "");
        assert_refused(&res, STATUS_USAGE, "bulkhead-json: usage: bulkhead-json");
}

static void sizes(void **state)
{
        _cleanup_free_ char *text = malloc(SPEC_JSON_MAX + 1);
        _cleanup_fd_ int huge = memory_file(), endless = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        struct guest_spec twice[2];
        struct result res;

        assert_non_null(text);
        memset(text, ' ', SPEC_JSON_MAX + 1);
        memcpy(text, "{}", 2);
        res = run_bytes("parse-spec", text, SPEC_JSON_MAX);
        assert_done(&res);
        res = run_bytes("parse-spec", text, SPEC_JSON_MAX + 1);
        assert_refused(&res, STATUS_USAGE, "bulkhead-json: larger than 1048576 bytes\n");

        assert_int_equal(ftruncate(huge, 100 << 20), 0);
        res = run_prepared("parse-spec", huge, NULL, 0);
        assert_refused(&res, STATUS_USAGE, "bulkhead-json: larger than 1048576 bytes\n");
        res = run_prepared("report", huge, NULL, 0);
        assert_refused(&res, STATUS_FAILURE, "bulkhead-json: larger than 16777216 bytes\n");
        res = run_prepared("parse-spec", endless, NULL, 0);
        assert_refused(&res, STATUS_USAGE, "bulkhead-json: larger than 1048576 bytes\n");

        guest_spec_init(&twice[0]);
        guest_spec_init(&twice[1]);
        res = run_bytes("print-spec", twice, sizeof(twice));
        assert_refused(&res, STATUS_FAILURE, "bulkhead-json: larger than ");
}

static void depth(void **state)
{
        enum { DEPTH = 100000 };
        static char text[DEPTH * 5 + 1];
        struct result res;

        memset(text, '[', DEPTH);
        res = run_bytes("parse-spec", text, DEPTH);
        assert_refused(&res, STATUS_USAGE, "bulkhead-json: line 1, column 2049: maximum parsing depth reached");
        for (size_t i = 0; i < DEPTH; i++)
                memcpy(text + 5 * i, "{\"a\":", 5);
        res = run_bytes("parse-spec", text, 5 * DEPTH);
        assert_refused(&res, STATUS_USAGE, "bulkhead-json: line 1, column 10241: maximum parsing depth reached");
}

/* The greatest report, of the kind that the command line writes, and one made to take more memory than there
 * is. */
static void report_memory(void **state)
{
        _cleanup_free_ char *text = malloc(REPORT_JSON_MAX);
        size_t len = 0;
        struct result res;

        assert_non_null(text);
        for (unsigned int i = 0; len < REPORT_JSON_MAX - 128; i++)
                len += (size_t)snprintf(text + len, 128, "s\tguests/%u/state\t%064u\n", i, i);
        res = run_bytes("report", text, len);
        assert_done(&res);
        assert_true(res.out_len > len);

        len = 0;
        for (unsigned int i = 0; len < REPORT_JSON_MAX - 128; i++)
                len += (size_t)snprintf(text + len, 128, "n\t%u/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a\t\n", i);
        res = run_bytes("report", text, len);
        assert_refused(&res, STATUS_FAILURE, "bulkhead-json: report, line ");
        assert_non_null(strstr(res.err, "Cannot allocate memory"));
}

/* One line of /proc/PID/FILE, from its name to the newline. */
static void proc_line(pid_t pid, const char *file, const char *name, char *ret, size_t size)
{
        static char text[16384];
        char path[64];
        const char *line;

        snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
        assert_true(io_read_file_at(AT_FDCWD, path, text, sizeof(text)) > 0);
        line = strstr(text, name);
        assert_non_null(line);
        snprintf(ret, size, "%.*s", (int)strcspn(line, "\n"), line);
}

static void assert_limit(pid_t pid, const char *name, unsigned long long max)
{
        unsigned long long soft = 0, hard = 0;
        char line[128];

        proc_line(pid, "limits", name, line, sizeof(line));
        assert_int_equal(sscanf(line + strlen(name), "%llu %llu", &soft, &hard), 2);
        assert_true(soft == max && hard == max);
}

/* A file that it inherits, of which nothing may be left. */
static void inherit_file(int unused)
{
        if (fcntl(0, F_DUPFD, 100) < 0)
                _exit(97);
}

/* The process as it waits for its input. */
static void cell(void **state)
{
        _cleanup_fd_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        int in[2], status;
        char line[128], path[64];
        pid_t pid;

        assert_int_equal(pipe2(in, O_CLOEXEC), 0);
        pid = start("report", in[0], null, null, inherit_file, 0);
        for (int i = 0; i < 1000; i++) { /* 10 s at most */
                proc_line(pid, "status", "Seccomp:", line, sizeof(line));
                if (strcmp(line, "Seccomp:\t2") == 0)
                        break;
                usleep(10000);
        }
        assert_string_equal(line, "Seccomp:\t2");
        proc_line(pid, "status", "NoNewPrivs:", line, sizeof(line));
        assert_string_equal(line, "NoNewPrivs:\t1");
        assert_limit(pid, "Max open files", 0);
        assert_limit(pid, "Max core file size", 0);
        assert_limit(pid, "Max cpu time", 5);
        assert_limit(pid, "Max address space", 256 << 20);
        assert_limit(pid, "Max file size", 1ULL << 40);
        for (int fd = 0; fd <= 100; fd += fd < 3 ? 1 : 97) {
                snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
                assert_int_equal(readlink(path, line, sizeof(line)) < 0 ? errno : 0, fd < 3 ? 0 : ENOENT);
        }
        close(in[0]);
        close(in[1]);
        assert_true(waitpid(pid, &status, 0) == pid);
        assert_int_equal(status, 0);
}

/* Runs act in a child, in the cell or not; returns the wait status. */
static int act_in_child(void (*act)(void), bool sealed, bool with_stat)
{
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
                if (sealed && seal_self(with_stat, NULL) < 0)
                        _exit(99);
                act();
                _exit(0);
        }
        assert_true(waitpid(pid, &status, 0) == pid);
        return status;
}

static void act_open(void)
{
        syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);
}

static void act_socket(void)
{
        syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
}

static void act_exec(void)
{
        syscall(SYS_execve, "/nonesuch", NULL, NULL);
}

static void act_fork(void)
{
        if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
                _exit(0);
}

static void act_kill(void)
{
        syscall(SYS_kill, getppid(), 0);
}

static void act_executable_memory(void)
{
        syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void act_protect(void)
{
        syscall(SYS_mprotect, NULL, 0, PROT_EXEC);
}

static void act_read_other(void)
{
        char c;

        syscall(SYS_read, 1, &c, 0);
}

static void act_write_other(void)
{
        syscall(SYS_write, 0, "", 0);
}

static void act_x32(void)
{
        syscall(0x40000000 + SYS_write, 1, "", 0);
}

static void act_i386(void)
{
        int nr = 20; /* getpid */

        __asm__ volatile("int $0x80" : "+a"(nr) : : "memory", "r8", "r9", "r10", "r11");
}

static void act_stat(void)
{
        struct stat st;

        if (stat("/", &st) < 0)
                _exit(1);
}

static void act_work(void)
{
        void *p = malloc(1 << 20);

        if (!p || syscall(SYS_write, 1, "", 0) != 0 || syscall(SYS_write, 2, "", 0) != 0)
                _exit(1);
        free(p);
}

static void forbidden_calls(void **state)
{
        static void (*const acts[])(void) = {
                act_open,    act_socket,     act_exec,        act_fork, act_kill, act_executable_memory,
                act_protect, act_read_other, act_write_other, act_x32,  act_i386,
        };

        for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
                /* The control: outside the cell the same act kills nobody. */
                int status = act_in_child(acts[i], false, false);

                if (acts[i] == act_i386 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) {
                        print_message("not tried: a system call of i386, as this kernel has none\n");
                        continue;
                }
                assert_int_equal(status, 0);
                status = act_in_child(acts[i], true, true);
                if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
                        fail_msg("act %zu: wait status 0x%x", i, (unsigned int)status);
        }
        assert_int_equal(act_in_child(act_work, true, false), 0);
        assert_int_equal(act_in_child(act_stat, true, true), 0);
        assert_int_equal(WTERMSIG(act_in_child(act_stat, true, false)), SIGSYS);
}

/* The calls by which the cell is built, and what can be wrong with each. */
static const struct {
        int nr;
        struct scmp_arg_cmp arg;
        const char *line;
} steps[] = {
        {SCMP_SYS(close_range), SCMP_A0_64(SCMP_CMP_EQ, 3), "bulkhead-json: close inherited files: "},
        {SCMP_SYS(prctl), SCMP_A0_64(SCMP_CMP_EQ, PR_SET_DUMPABLE), "bulkhead-json: PR_SET_DUMPABLE: "},
        {SCMP_SYS(prctl), SCMP_A0_64(SCMP_CMP_EQ, PR_SET_NO_NEW_PRIVS), "bulkhead-json: PR_SET_NO_NEW_PRIVS: "},
        {SCMP_SYS(prlimit64), SCMP_A1_64(SCMP_CMP_EQ, RLIMIT_CORE), "bulkhead-json: limit core size: "},
        {SCMP_SYS(prlimit64), SCMP_A1_64(SCMP_CMP_EQ, RLIMIT_NOFILE), "bulkhead-json: limit open files: "},
        {SCMP_SYS(prlimit64), SCMP_A1_64(SCMP_CMP_EQ, RLIMIT_FSIZE), "bulkhead-json: limit file size: "},
        {SCMP_SYS(prlimit64), SCMP_A1_64(SCMP_CMP_EQ, RLIMIT_CPU), "bulkhead-json: limit CPU time: "},
        {SCMP_SYS(prlimit64), SCMP_A1_64(SCMP_CMP_EQ, RLIMIT_AS), "bulkhead-json: limit address space: "},
        {SCMP_SYS(prctl), SCMP_A0_64(SCMP_CMP_EQ, PR_GET_NO_NEW_PRIVS),
         "bulkhead-json: install system-call filter: PR_GET_NO_NEW_PRIVS: "},
        {SCMP_SYS(seccomp), SCMP_A0_64(SCMP_CMP_EQ, 1), "bulkhead-json: install system-call filter of "},
};

/* Makes the call of a step fail with EPERM. */
static void step_deny(int step)
{
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

        if (!filter || seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), steps[step].nr, 1, &steps[step].arg) < 0 ||
            seccomp_load(filter) < 0)
                _exit(97);
}

static void fails_closed(void **state)
{
        _cleanup_fd_ int in = memory_file();

        assert_int_equal(io_write_all(in, "{}", 2), 0);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
                struct result res = run_prepared("parse-spec", in, step_deny, (int)i);

                assert_refused(&res, STATUS_ISOLATION, steps[i].line);
        }
}

int main(int argc, char *argv[])
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(round_trip),    cmocka_unit_test(device_path), cmocka_unit_test(reports),
                cmocka_unit_test(errors),        cmocka_unit_test(sizes),       cmocka_unit_test(depth),
                cmocka_unit_test(report_memory), cmocka_unit_test(cell),        cmocka_unit_test(forbidden_calls),
                cmocka_unit_test(fails_closed),
        };

        if (argc != 2)
                return 1;
        program = argv[1];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
