/* policy-compiler: readable system-call policies to classic BPF, at build time. The format is in README.md.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

struct options {
        const char *name, *out_c, *out_list, *depfile, *policy;
        const char *defines[POLICY_FILES_MAX];
        unsigned int define_count;
};

static const char usage[] = "usage: policy-compiler --name NAME --out-c FILE --out-list FILE [--depfile FILE]\n"
                            "                       [--defines HEADER]... POLICY\n";

static bool name_is_identifier(const char *name)
{
        return *name && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

static int options_parse(int argc, char **argv, struct options *ret)
{
        static const struct option names[] = {
                {"name", required_argument, NULL, 'n'},     {"out-c", required_argument, NULL, 'c'},
                {"out-list", required_argument, NULL, 'l'}, {"depfile", required_argument, NULL, 'd'},
                {"defines", required_argument, NULL, 'D'},  {0},
        };
        struct options o = {0};
        int c;

        while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
                switch (c) {
                case 'n':
                        o.name = optarg;
                        break;
                case 'c':
                        o.out_c = optarg;
                        break;
                case 'l':
                        o.out_list = optarg;
                        break;
                case 'd':
                        o.depfile = optarg;
                        break;
                case 'D':
                        if (o.define_count == ARRAY_LEN(o.defines))
                                return -EINVAL;
                        o.defines[o.define_count++] = optarg;
                        break;
                default:
                        return -EINVAL;
                }
        }
        if (optind != argc - 1 || !o.name || !name_is_identifier(o.name) || !o.out_c || !o.out_list)
                return -EINVAL;
        o.policy = argv[optind];
        *ret = o;
        return 0;
}

/* What a build system must watch besides the policy file itself, as a make rule. */
static void depfile_write(const struct policy *p, const char *target, FILE *f)
{
        fprintf(f, "%s:", target);
        for (unsigned int i = 0; i < p->file_count; i++)
                fprintf(f, " %s", p->files[i]);
        fputc('\n', f);
}

/* A full disk may show only now. What was written so far stays: the exit status tells the build to distrust
 * it. */
static int output_close(FILE *f, const char *path, struct err *e)
{
        bool failed = ferror(f);

        if (fclose(f) == 0 && !failed)
                return 0;
        return err_set(e, errno ? -errno : -EIO, "%s", path);
}

static int outputs_write(const struct policy *p, const struct bpf_program *prog, const struct options *o, struct err *e)
{
        const char *paths[] = {o->out_c, o->out_list, o->depfile};
        int r = 0;

        for (unsigned int i = 0; i < ARRAY_LEN(paths) && r == 0; i++) {
                FILE *f;

                if (!paths[i])
                        continue;
                f = fopen(paths[i], "we");
                if (!f)
                        return err_set(e, -errno, "%s", paths[i]);
                if (i == 0)
                        policy_write_c(prog, o->name, f);
                else if (i == 1)
                        policy_write_list(p, prog, o->name, f);
                else
                        depfile_write(p, o->out_c, f);
                r = output_close(f, paths[i], e);
        }
        return r;
}

static int compile(const struct options *o, struct err *e)
{
        _cleanup_free_ struct policy *p = policy_new();
        _cleanup_free_ struct bpf_program *prog = malloc(sizeof(*prog));
        int r = 0;

        if (!p || !prog)
                return err_set(e, -ENOMEM, "%s", o->policy);
        for (unsigned int i = 0; i < o->define_count && r == 0; i++)
                r = policy_read_defines(p, o->defines[i], e);
        if (r == 0)
                r = policy_parse(p, o->policy, e);
        if (r < 0)
                return r;
        r = policy_emit(p, prog, e);
        if (r < 0)
                return err_wrap(e, r, "%s:1", o->policy);
        r = policy_verify(p, prog, e);
        if (r == 0)
                r = policy_keep_promises(p, prog, e);
        return r < 0 ? r : outputs_write(p, prog, o, e);
}

int main(int argc, char **argv)
{
        struct options o;
        struct err e = ERR_INIT;

        if (options_parse(argc, argv, &o) < 0) {
                fputs(usage, stderr);
                return STATUS_USAGE;
        }
        if (compile(&o, &e) < 0) {
                /* Without a prefix: editors and build tools jump to "file:line: why". */
                fprintf(stderr, "%s\n", e.text);
                return STATUS_FAILURE;
        }
        return STATUS_OK;
}
