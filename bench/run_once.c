/*
 * run_once: runs one monitor once and tells how long it took and what it weighs, as one line of JSON.
 *
 *   run_once [-s SETTLE_MS] [-t TIMEOUT_MS] [-g GUEST_BYTES] -- PROGRAM [ARGUMENT]...
 *
 * The clock starts in the child right before execve(2), so that forking costs nobody anything, and stops when
 * read(2) returns the first byte of the program's standard output. After SETTLE_MS, with the guest idle, the
 * proportional set size of each process of the program is summed up from /proc/PID/smaps, guest RAM apart: a
 * mapping of the memfd guest_ram, or one of at least GUEST_BYTES. Then the program is asked to end and, if it
 * does not, killed.
 *
 * This process is a subreaper: whatever the program starts stays its descendant, in whatever namespaces it
 * sits, and it leaves none behind.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TASKS_MAX      4096 /* processes on this host that are looked at */
#define COMM_MAX       16   /* TASK_COMM_LEN */
#define END_TIMEOUT_MS 3000 /* from SIGTERM to SIGKILL */
#define RAM_NAME       "/memfd:guest_ram"

struct task {
        pid_t pid, parent;
        char comm[COMM_MAX];
        bool ours;
};

struct weight {
        uint64_t pss_kib, guest_kib; /* without guest RAM; guest RAM */
};

static struct task tasks[TASKS_MAX];
static size_t task_count;

static _Noreturn void fail(const char *what)
{
        fprintf(stderr, "run_once: %s: %s\n", what, strerror(errno));
        exit(1);
}

static int64_t now_ns(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A number of 0..max, or the end. */
static long number(const char *text, long max)
{
        char *end;
        long n;

        errno = 0;
        n = strtol(text, &end, 10);
        if (errno || end == text || *end || n < 0 || n > max) {
                fprintf(stderr, "run_once: not a number of 0 to %ld: %s\n", max, text);
                exit(2);
        }
        return n;
}

/* Reads pid's parent and name; false when the process is gone. */
static bool task_read(pid_t pid, struct task *ret)
{
        char path[32], line[512], *open_paren, *close_paren;
        FILE *f;
        bool ok;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        f = fopen(path, "re");
        if (!f)
                return false;
        ok = fgets(line, sizeof(line), f) != NULL;
        fclose(f);
        if (!ok)
                return false;
        open_paren = strchr(line, '(');
        close_paren = strrchr(line, ')'); /* the name may hold parentheses */
        if (!open_paren || !close_paren || sscanf(close_paren + 1, " %*c %d", &ret->parent) != 1)
                return false;
        *close_paren = '\0';
        snprintf(ret->comm, sizeof(ret->comm), "%s", open_paren + 1);
        ret->pid = pid;
        ret->ours = false;
        return true;
}

/* Fills tasks[] and marks this process's descendants. */
static void tasks_find(void)
{
        DIR *d = opendir("/proc");
        struct dirent *entry;
        bool more = true;

        if (!d)
                fail("/proc");
        task_count = 0;
        while ((entry = readdir(d))) {
                pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

                if (pid <= 0)
                        continue;
                if (task_count == TASKS_MAX) {
                        errno = E2BIG;
                        fail("/proc");
                }
                if (task_read(pid, &tasks[task_count]))
                        task_count++;
        }
        closedir(d);
        while (more) {
                more = false;
                for (size_t i = 0; i < task_count; i++) {
                        bool ours = tasks[i].parent == getpid();

                        for (size_t k = 0; k < task_count && !ours; k++)
                                ours = tasks[k].ours && tasks[k].pid == tasks[i].parent;
                        more = more || (ours && !tasks[i].ours);
                        tasks[i].ours = ours;
                }
        }
}

static struct weight task_weigh(pid_t pid, uint64_t guest_bytes)
{
        struct weight w = {0, 0};
        char path[32], line[512];
        bool guest = false;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
        f = fopen(path, "re");
        if (!f)
                fail(path);
        while (fgets(line, sizeof(line), f)) {
                uint64_t start, end, kib;

                if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2)
                        guest = strstr(line, RAM_NAME) || end - start >= guest_bytes;
                else if (sscanf(line, "Pss: %" SCNu64 " kB", &kib) == 1)
                        *(guest ? &w.guest_kib : &w.pss_kib) += kib;
        }
        fclose(f);
        return w;
}

/* How long the threads of pid have stood in a run queue while others had the processor, in nanoseconds (the
 * second figure of /proc/PID/schedstat; Documentation/scheduler/sched-stats.rst). Zero on a kernel that does
 * not say. */
static uint64_t task_waited(pid_t pid)
{
        char path[64];
        struct dirent *entry;
        uint64_t sum = 0;
        DIR *d;

        snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
        d = opendir(path);
        while (d && (entry = readdir(d))) {
                uint64_t waited;
                FILE *f;

                if (entry->d_name[0] == '.')
                        continue;
                snprintf(path, sizeof(path), "/proc/%d/task/%.16s/schedstat", (int)pid, entry->d_name);
                f = fopen(path, "re");
                if (f && fscanf(f, "%*u %" SCNu64, &waited) == 1)
                        sum += waited;
                if (f)
                        fclose(f);
        }
        if (d)
                closedir(d);
        return sum;
}

static pid_t program_start(char *const argv[], int out, volatile int64_t *ret_start)
{
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        pid_t pid;

        if (null < 0)
                fail("/dev/null");
        pid = vfork(); /* shares our memory: the child leaves its time stamp in *ret_start */
        if (pid < 0)
                fail("vfork");
        if (pid == 0) {
                dup2(null, STDIN_FILENO);
                dup2(out, STDOUT_FILENO);
                *ret_start = now_ns();
                execv(argv[0], argv);
                _exit(127);
        }
        close(null);
        return pid;
}

/* Waits for the first byte. Returns it, or -1 when the program ended or took too long. */
static int first_byte(int fd, int timeout_ms, int64_t *ret_end)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        unsigned char byte;

        if (poll(&p, 1, timeout_ms) != 1 || read(fd, &byte, 1) != 1)
                return -1;
        *ret_end = now_ns();
        return byte;
}

static void sleep_ms(long ms)
{
        struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

        while (nanosleep(&t, &t) < 0 && errno == EINTR)
                ;
}

/* SIGTERM to the program, SIGKILL to all that is left; returns when nothing is. */
static void program_end(pid_t pid)
{
        int64_t limit = now_ns() + END_TIMEOUT_MS * 1000000LL;

        kill(pid, SIGTERM);
        while (waitpid(pid, NULL, WNOHANG) == 0 && now_ns() < limit)
                sleep_ms(1);
        for (;;) {
                pid_t reaped = waitpid(-1, NULL, WNOHANG);

                if (reaped > 0)
                        continue;
                if (reaped < 0 && errno == ECHILD)
                        return;
                tasks_find();
                for (size_t i = 0; i < task_count; i++)
                        if (tasks[i].ours)
                                kill(tasks[i].pid, SIGKILL);
                sleep_ms(1);
        }
}

/* Names of processes come from the kernel, but a process chooses its own. */
static void print_name(const char *name)
{
        for (; *name; name++)
                putchar(*name < 0x20 || *name > 0x7e || *name == '"' || *name == '\\' ? '?' : *name);
}

static void report(int64_t ns, int byte, uint64_t guest_bytes)
{
        const char *comma = "";

        tasks_find();
        printf("{\"first_byte_ns\": %" PRId64 ", \"byte\": %d, \"processes\": [", ns, byte);
        for (size_t i = 0; i < task_count; i++) {
                struct weight w;

                if (!tasks[i].ours)
                        continue;
                w = task_weigh(tasks[i].pid, guest_bytes);
                printf("%s{\"name\": \"", comma);
                print_name(tasks[i].comm);
                printf("\", \"pss_kib\": %" PRIu64 ", \"guest_ram_kib\": %" PRIu64 ", \"waited_ns\": %" PRIu64 "}",
                       w.pss_kib, w.guest_kib, task_waited(tasks[i].pid));
                comma = ", ";
        }
        printf("]}\n");
        fflush(stdout);
}

int main(int argc, char *argv[])
{
        long settle_ms = 100, timeout_ms = 20000, guest_bytes = 128L << 20;
        volatile int64_t start = 0;
        int64_t end = 0;
        int out[2], byte, option;
        pid_t pid;

        while ((option = getopt(argc, argv, "+s:t:g:")) != -1) {
                if (option == 's')
                        settle_ms = number(optarg, 60000);
                else if (option == 't')
                        timeout_ms = number(optarg, 600000);
                else if (option == 'g')
                        guest_bytes = number(optarg, INT64_MAX);
                else
                        return 2;
        }
        if (optind == argc) {
                fputs("usage: run_once [-s SETTLE_MS] [-t TIMEOUT_MS] [-g GUEST_BYTES] -- PROGRAM "
                      "[ARGUMENT]...\n",
                      stderr);
                return 2;
        }
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                fail("become a subreaper");
        if (pipe2(out, O_CLOEXEC) < 0)
                fail("pipe");
        pid = program_start(argv + optind, out[1], &start);
        close(out[1]);
        byte = first_byte(out[0], (int)timeout_ms, &end);
        if (byte >= 0) {
                sleep_ms(settle_ms);
                report(end - start, byte, (uint64_t)guest_bytes);
        } else {
                fprintf(stderr, "run_once: no output from %s\n", argv[optind]);
        }
        program_end(pid);
        return byte >= 0 ? 0 : 1;
}
