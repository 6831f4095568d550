/* The policy compiler: what it reads, what it refuses, and what it lists. */
#include <errno.h>
#include <limits.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "policy_bench.h"

static void refuses(void **state)
{
        static const struct {
                const char *text;
                const char *error; /* after the file's path */
        } cases[] = {
                {"read\n", ":1: no reason"},
                {"read :\n", ":1: read: the reason is empty"},
                {"read : ok\nwrite :  \t\n", ":2: write: the reason is empty"},
                {"read [arg0 == 1]\n", ":1: no reason"},
                {"read [arg0 == 1 : reason\n", ":1: [ without ]"},
                {"raed : typo\n", ":1: unknown system call raed"},
                {": nothing\n", ":1: unknown system call "},
                {"socketcall : only i386 has it\n", ":1: unknown system call socketcall"},
                {"read write : two\n", ":1: no reason"},
                {"read [] : r\n", ":1: no arg0 to arg5"},
                {"read [arg6 == 1] : r\n", ":1: no arg0 to arg5"},
                {"read [arg == 1] : r\n", ":1: no arg0 to arg5"},
                {"read [arg0 = 1] : r\n", ":1: no ==, !=, <=, >= or &"},
                {"read [arg0 < 1] : r\n", ":1: no ==, !=, <=, >= or &"},
                {"read [arg0:32 == 1] : r\n", ":1: no ==, !=, <=, >= or &"},
                {"read [arg0 & 1] : r\n", ":1: a mask must be followed by =="},
                {"read [arg0 & 1 != 0] : r\n", ":1: a mask must be followed by =="},
                {"read [arg0 & 1 == 2] : r\n", ":1: never true"},
                {"read [arg0 & 0 == 0] : r\n", ":1: always true"},
                {"read [arg0 >= 0] : r\n", ":1: always true"},
                {"read [arg0 <= 0xffffffff] : r\n", ":1: always true"},
                {"read [arg0 ==] : r\n", ":1: a number or a name is missing"},
                {"read [arg0 == 1|] : r\n", ":1: a number or a name is missing"},
                {"read [arg0 == 1,] : r\n", ":1: no arg0 to arg5"},
                {"read [arg0 == 1 2] : r\n", ":1: not understood"},
                {"read [arg0 == NO_SUCH] : r\n", ":1: unknown constant NO_SUCH"},
                {"read [arg0 == 12x] : r\n", ":1: not a decimal or 0x number"},
                {"read [arg0 == 010] : r\n", ":1: not a decimal or 0x number"},
                {"read [arg0 == 0x] : r\n", ":1: not a decimal or 0x number"},
                {"read [arg0 == 0x100000000] : r\n", ":1: value does not fit the low 32 bits"},
                {"read [arg0 == -2147483649] : r\n", ":1: value does not fit the low 32 bits"},
                {"read [arg0:64 == 0x10000000000000000] : r\n", ":1: number beyond 64 bits"},
                {"read [arg0 == 1, arg0 == 2] : r\n", ":1: no value of arg0 found"},
                {"read [arg0 >= 2, arg0 <= 1] : r\n", ":1: no value of arg0 found"},
                {"read : a\nread : b\n", ":2: read: duplicate of "},
                {"read [arg0 == 1, arg1 == 2] : a\nread [arg1 == 0x2, arg0 == 1] : b\n", ":2: read: duplicate of "},
                {"read : a\nread [arg0 == 1] : b\n", ":2: read: already allowed by the wider entry"},
                {"read [arg0 == 1] : a\nread : b\n", ":2: read: wider than, and so hides,"},
                {"ioctl : all of them\n", ":1: ioctl without its request"},
                {"ioctl [arg0 == 3] : all of them\n", ":1: ioctl without its request"},
                {"ioctl [arg1 != KVM_RUN] : all but one\n", ":1: ioctl without its request"},
                {"", ":1: no entries"},
                {"# nothing\n", ":1: no entries"},
                {"include\n", ":1: include names no file"},
                {"read : [seldom] r\n", ":1: unknown mark [seldom]"},
                {"read : [error r\n", ":1: [ without ]"},
                {"read : [error]\n", ":1: read: the reason is empty"},
                {"require\nread : r\n", ":1: require : only fd"},
                {"require reason\nread : r\n", ":1: require reason: only fd"},
                {"require fd\nread : r\n", ":2: read without its descriptor: add arg0"},
                {"write : r\nrequire fd\n", ":1: write without its descriptor: add arg0"},
                {"require fd\nsendto [arg1 == 3] : r\n", ":2: sendto without its descriptor: add arg0"},
                {"require fd\nrecvfrom [arg0 >= 3] : r\n", ":2: recvfrom without its descriptor: add arg0"},
                {"require fd\nioctl [arg1 == KVM_RUN] : r\n", ":2: ioctl without its descriptor: add arg0"},
                {"require fd\nclose [arg0 != 3] : r\n", ":2: close without its descriptor: add arg0"},
                {"require fd\ndup2 [arg0 == 3] : r\n", ":2: dup2 without its descriptor: add arg1"},
                {"require fd\nmmap [arg2 == PROT_READ] : r\n", ":2: mmap without its descriptor: add arg4"},
        };
        struct bench *b = *state;
        size_t prefix = strlen(b->dir) + strlen("/a.policy");

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                if (compile_text(b, cases[i].text) >= 0)
                        fail_msg("accepted: %s", cases[i].text);
                assert_memory_equal(b->err.text, b->dir, strlen(b->dir));
                if (strncmp(b->err.text + prefix, cases[i].error, strlen(cases[i].error)) != 0)
                        fail_msg("%s gives: %s", cases[i].text, b->err.text);
                assert_null(strchr(b->err.text, '\n'));
        }
}

static void includes(void **state)
{
        struct bench *b = *state;
        char want[128];

        file_put(b, "b.policy", "write : from b\n");
        must_compile(b, "read : from a\ninclude b.policy\nclose : from a\n");
        assert_int_equal(b->policy->rule_count, 3);
        assert_string_equal(b->policy->rules[1].call, "write");
        assert_true(allowed(b, SYS_write, 0, 0, 0));

        /* An error inside an include is placed there, one about the include itself on its line. */
        file_put(b, "b.policy", "write : w\nclose\n");
        assert_int_equal(compile_text(b, "include b.policy\n"), -EINVAL);
        snprintf(want, sizeof(want), "%s/b.policy:2: no reason", b->dir);
        assert_memory_equal(b->err.text, want, strlen(want));
        assert_int_equal(compile_text(b, "read : r\ninclude missing.policy\n"), -ENOENT);
        snprintf(want, sizeof(want), "%s/a.policy:2: ", b->dir);
        assert_memory_equal(b->err.text, want, strlen(want));

        file_put(b, "b.policy", "include a.policy\n");
        assert_int_equal(compile_text(b, "read : r\ninclude b.policy\n"), -EINVAL);
        assert_non_null(strstr(b->err.text, "/b.policy:1: "));
        assert_non_null(strstr(b->err.text, "a.policy includes itself"));

        /* Between files the union holds: a repetition counts once, and the wider entry wins whatever comes
         * first. */
        file_put(b, "b.policy", "read : again\nwrite [arg0 == 1] : narrower\nclose : wider\n");
        must_compile(b, "read : r\nwrite : wider\nclose [arg0 == 1] : narrower\ninclude b.policy\n");
        assert_int_equal(b->policy->rule_count, 4);
}

static void marks(void **state)
{
        struct bench *b = *state;

        must_compile(b, "read : [error] it broke\nwrite : [varies]\tsometimes\nclose : may [error] stand here\n");
        assert_int_equal(b->policy->rules[0].mark, MARK_ERROR);
        assert_string_equal(b->policy->rules[0].reason, "it broke");
        assert_int_equal(b->policy->rules[1].mark, MARK_VARIES);
        assert_string_equal(b->policy->rules[1].reason, "sometimes");
        assert_int_equal(b->policy->rules[2].mark, MARK_NONE);

        /* Of two files the one that needs the call more often is right, whichever comes first. */
        file_put(b, "b.policy", "read : r\nwrite [arg0 == 1] : [error] w\n");
        must_compile(b, "read : [error] r\nwrite : [varies] w\ninclude b.policy\n");
        assert_int_equal(b->policy->rule_count, 2);
        assert_int_equal(b->policy->rules[0].mark, MARK_NONE);
        assert_int_equal(b->policy->rules[1].mark, MARK_VARIES);
}

/* What a file requires holds for what it includes, and for nothing else. */
static void requires_descriptors(void **state)
{
        struct bench *b = *state;

        must_compile(b, "require fd\nread [arg0 == 3] : r\nwrite [arg0 & 0xfffffff0 == 16] : w\npoll : p\n"
                        "dup2 [arg0 == 3, arg1 == 4] : d\n");
        assert_true(b->policy->require_fd);
        assert_int_equal(policy_keep_promises(b->policy, b->prog, &b->err), 0);

        file_put(b, "b.policy", "read : r\n");
        assert_int_equal(compile_text(b, "require fd\ninclude b.policy\n"), -EINVAL);
        assert_non_null(strstr(b->err.text, "/b.policy:1: read without its descriptor"));
        assert_null(strstr(b->err.text, "/a.policy:"));

        file_put(b, "b.policy", "require fd\nread [arg0 == 3] : r\n");
        must_compile(b, "write : w\ninclude b.policy\n");
        assert_false(b->policy->require_fd);
        file_put(b, "b.policy", "require fd\nread : r\n");
        assert_int_equal(compile_text(b, "write : w\ninclude b.policy\n"), -EINVAL);
}

/* A chain of `files` files, each including the next, made in directories inside one another. */
static int chain_compile(struct bench *b, unsigned int files)
{
        char path[PATH_MAX], top[PATH_MAX];
        int r;

        policy_reset(b);
        for (unsigned int i = 0; i < files; i++) {
                FILE *f;

                snprintf(path, sizeof(path), "%s/chain%u", b->dir, i);
                f = fopen(path, "we");
                assert_non_null(f);
                if (i + 1 < files)
                        fprintf(f, "include chain%u\n", i + 1);
                else
                        fputs("read : at the end\n", f);
                fclose(f);
        }
        snprintf(top, sizeof(top), "%s/chain0", b->dir);
        r = policy_parse(b->policy, top, &b->err);
        for (unsigned int i = 0; i < files; i++) {
                snprintf(path, sizeof(path), "%s/chain%u", b->dir, i);
                unlink(path);
        }
        return r;
}

static void limits(void **state)
{
        struct bench *b = *state;
        char line[POLICY_TEXT_MAX + 16], *text;

        assert_int_equal(chain_compile(b, POLICY_INCLUDE_DEPTH_MAX), 0);
        assert_int_equal(chain_compile(b, POLICY_INCLUDE_DEPTH_MAX + 1), -EINVAL);
        assert_non_null(strstr(b->err.text, "deep"));

        text = many_entries(POLICY_RULES_MAX - 1, 1);
        policy_reset(b);
        file_put(b, "a.policy", text);
        assert_int_equal(parse_file(b), 0);
        assert_int_equal(b->policy->rule_count, POLICY_RULES_MAX);
        free(text);

        text = many_entries(POLICY_RULES_MAX, 1);
        assert_int_equal(compile_text(b, text), -EINVAL);
        assert_non_null(strstr(b->err.text, ":513: more than 512 entries"));
        free(text);

        text = many_entries(1, POLICY_CONDITIONS_MAX);
        must_compile(b, text);
        free(text);
        text = many_entries(1, POLICY_CONDITIONS_MAX + 1);
        assert_int_equal(compile_text(b, text), -EINVAL);
        assert_non_null(strstr(b->err.text, "more than 8 conditions"));
        free(text);

        text = many_entries(300, POLICY_CONDITIONS_MAX);
        assert_int_equal(compile_text(b, text), -E2BIG);
        free(text);

        memset(line, 'x', sizeof(line));
        memcpy(line, "read:", 5);
        line[5 + POLICY_TEXT_MAX - 1] = '\0';
        must_compile(b, line);
        line[5 + POLICY_TEXT_MAX - 1] = 'x';
        line[5 + POLICY_TEXT_MAX] = '\0';
        assert_int_equal(compile_text(b, line), -EINVAL);
}

static void defines(void **state)
{
        struct bench *b = *state;

        file_put(b, "x.h",
                 "#pragma once\n"
                 "#define FD_A 3\n"
                 "#define FD_B\t0x1fU /* why */\n"
                 "#define FD_C   7 // why\n"
                 "#define FD_D (FD_A + 1)\n"
                 "#define FD_E 1 + 1\n"
                 "#define FN(x) 9\n"
                 "#define ALL 0xffffffffffffffffULL\n"
                 "#define NOWHERE -1\n"
                 "#define PROT_EXEC 4\n"
                 "#define FD_A 3\n");
        policy_reset(b);
        assert_int_equal(defines_read(b, "x.h"), 0);
        file_put(b, "a.policy",
                 "read [arg0 == FD_A|FD_B] : r\nread [arg0 == FD_C] : r\n"
                 "write [arg0:64 == ALL] : w\nclose [arg0 == NOWHERE] : c\n");
        assert_int_equal(compile_file(b), 0);
        assert_true(allowed(b, SYS_read, 0x1f, 0, 0));
        assert_true(allowed(b, SYS_read, 7, 0, 0));
        assert_false(allowed(b, SYS_read, 3, 0, 0));
        assert_false(allowed(b, SYS_write, 0xffffffff, 0, 0));
        assert_true(allowed(b, SYS_close, 0xffffffff, 0, 0));

        for (const char *const *name = (const char *const[]){"FD_D", "FD_E", "FN", "x", NULL}; *name; name++) {
                char text[64];

                snprintf(text, sizeof(text), "read [arg0 == %s] : r", *name);
                policy_reset(b);
                assert_int_equal(defines_read(b, "x.h"), 0);
                file_put(b, "a.policy", text);
                assert_int_equal(compile_file(b), -EINVAL);
                assert_non_null(strstr(b->err.text, "unknown constant"));
        }

        policy_reset(b);
        file_put(b, "y.h", "\n#define FD_A 4\n");
        assert_int_equal(defines_read(b, "x.h"), 0);
        assert_int_equal(defines_read(b, "y.h"), -EINVAL);
        assert_non_null(strstr(b->err.text, "/y.h:2: FD_A is already known with another value"));
        policy_reset(b);
        file_put(b, "y.h", "#define PROT_EXEC 0\n");
        assert_int_equal(defines_read(b, "y.h"), -EINVAL);
        file_put(b, "y.h", "#define HUGE 0x10000000000000000\n");
        assert_int_equal(defines_read(b, "y.h"), -ERANGE);
        assert_int_equal(defines_read(b, "missing.h"), -ENOENT);
}

static void lists(void **state)
{
        struct bench *b = *state;
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        must_compile(b, "ioctl [arg0 == 5, arg1 == KVM_RUN] : runs\nread : input\n"
                        "ioctl [arg0 == 6, arg1 == KVM_RUN] : runs the other\n");
        policy_write_list(b->policy, b->prog, "some", f);
        fclose(f);
        assert_non_null(strstr(text, "Policy some: 2 calls, 4 argument checks, 1 ioctl requests,"));
        assert_non_null(strstr(text, "\nioctl\n    [arg0 == 5, arg1 == KVM_RUN]: runs\n"
                                     "    [arg0 == 6, arg1 == KVM_RUN]: runs the other\n"));
        assert_non_null(strstr(text, "\nread\n    any arguments: input\n"));
        free(text);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                POLICY_TEST(refuses), POLICY_TEST(includes), POLICY_TEST(marks), POLICY_TEST(requires_descriptors),
                POLICY_TEST(limits),  POLICY_TEST(defines),  POLICY_TEST(lists),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
