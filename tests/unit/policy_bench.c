#include "policy_bench.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"

int policy_bench_setup(void **state)
{
        struct bench *b = calloc(1, sizeof(*b));

        if (!b)
                return -1;
        *state = b;
        snprintf(b->dir, sizeof(b->dir), "/tmp/test_policy.XXXXXX");
        b->prog = calloc(1, sizeof(*b->prog));
        return b->prog && mkdtemp(b->dir) ? 0 : -1;
}

int policy_bench_teardown(void **state)
{
        struct bench *b = *state;
        static const char *const names[] = {"a.policy", "b.policy", "c.policy", "x.h", "y.h"};
        char path[PATH_MAX];

        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                snprintf(path, sizeof(path), "%s/%s", b->dir, names[i]);
                unlink(path);
        }
        rmdir(b->dir);
        free(b->policy);
        free(b->prog);
        free(b);
        return 0;
}

void file_put(struct bench *b, const char *name, const char *text)
{
        char path[PATH_MAX];
        int fd;

        snprintf(path, sizeof(path), "%s/%s", b->dir, name);
        fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(io_write_all(fd, text, strlen(text)), 0);
        close(fd);
}

int defines_read(struct bench *b, const char *name)
{
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%s/%s", b->dir, name);
        return policy_read_defines(b->policy, path, &b->err);
}

void policy_reset(struct bench *b)
{
        free(b->policy);
        b->policy = policy_new();
        assert_non_null(b->policy);
        b->err = ERR_INIT;
}

int parse_file(struct bench *b)
{
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%s/a.policy", b->dir);
        return policy_parse(b->policy, path, &b->err);
}

int compile_file(struct bench *b)
{
        int r = parse_file(b);

        if (r == 0)
                r = policy_emit(b->policy, b->prog, &b->err);
        if (r == 0)
                r = policy_verify(b->policy, b->prog, &b->err);
        return r;
}

int compile_text(struct bench *b, const char *text)
{
        policy_reset(b);
        file_put(b, "a.policy", text);
        return compile_file(b);
}

void must_compile(struct bench *b, const char *text)
{
        if (compile_text(b, text) < 0)
                fail_msg("%s", b->err.text);
}

bool allowed(const struct bench *b, int nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
        struct seccomp_data d = {.nr = nr, .arch = AUDIT_ARCH_X86_64, .args = {a0, a1, a2}};
        uint32_t action = bpf_run(b->prog->filter, b->prog->len, &d);

        assert_true(action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_KILL_PROCESS);
        return action == SECCOMP_RET_ALLOW;
}

char *many_entries(unsigned int count, unsigned int conditions)
{
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        for (unsigned int i = 0; i < count; i++) {
                fprintf(f, "fcntl [arg1 == %u", i);
                for (unsigned int j = 1; j < conditions; j++)
                        fprintf(f, ", arg2 & %u == 0", 1U << j);
                fputs("] : r\n", f);
        }
        fputs("read : r\n", f);
        assert_int_equal(fclose(f), 0);
        return text;
}
