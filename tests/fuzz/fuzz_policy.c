/*
 * A policy file, as policy-compiler reads it at build time, and behind a zero a header with names. What it takes, it
 * must also compile, and its own check of the program must then agree: the only complaint left is an entry that can
 * never match. The policy may include itself, and nothing else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../tools/policy/policy.h"
#include "base/cleanup.h"
#include "fuzz.h"

static char policy_path[32], header_path[32];

int __real_stat64(const char *path, struct stat *st);
int __wrap_stat64(const char *path, struct stat *st);

/* Includes lead nowhere else: the host's files are no part of an input. */
int __wrap_stat64(const char *path, struct stat *st)
{
        if (!target_runs || strcmp(path, policy_path) == 0)
                return __real_stat64(path, st);
        errno = ENOENT;
        return -1;
}

static void check(const struct policy *p)
{
        struct bpf_program *prog = malloc(sizeof(*prog));
        struct err e = ERR_INIT;
        int r;

        MUST(prog);
        MUST(p->rule_count >= 1 && p->rule_count <= POLICY_RULES_MAX);
        for (unsigned int i = 0; i < p->rule_count; i++) {
                MUST(p->rules[i].nr >= 0 && p->rules[i].reason[0] != '\0');
                MUST(p->rules[i].condition_count <= POLICY_CONDITIONS_MAX);
                if (strcmp(p->rules[i].call, "ioctl") == 0)
                        MUST(p->rules[i].condition_count > 0);
        }
        r = policy_emit(p, prog, &e);
        MUST(r == 0);
        r = policy_verify(p, prog, &e);
        MUST(r == 0 || !strstr(e.text, "compiler is broken"));
        free(prog);
}

static int file_new(const uint8_t *data, size_t len, char path[32])
{
        int fd = memfd_create("policy", MFD_CLOEXEC);

        MUST(fd >= 0 && write(fd, data, len) == (ssize_t)len);
        snprintf(path, 32, "/proc/self/fd/%d", fd);
        return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        const uint8_t *zero = len > 0 ? memchr(data, '\0', len) : NULL;
        const size_t policy_len = zero ? (size_t)(zero - data) : len;
        int policy = file_new(data, policy_len, policy_path);
        int header = file_new(zero ? zero + 1 : data, zero ? len - policy_len - 1 : 0, header_path);
        _cleanup_free_ struct policy *p = policy_new();
        struct err e = ERR_INIT;
        int r;

        MUST(p);
        target_runs = true;
        r = policy_read_defines(p, header_path, &e);
        if (r == 0)
                r = policy_parse(p, policy_path, &e);
        target_runs = false;
        if (r < 0)
                must_be_error(&e, r, STATUS_BIT(STATUS_FAILURE));
        else
                check(p);
        close(policy);
        close(header);
        return 0;
}
