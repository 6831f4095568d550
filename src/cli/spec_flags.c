#include "cli/spec_flags.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "spec/backend_spec.h"
#include "spec/disk_spec.h"
#include "spec/io_device.h"

const char run_help[] =
        "usage: bulkhead run NAME --kernel FILE [option]...\n"
        "\n"
        "  --kernel FILE          kernel to boot: bzImage or ELF (vmlinux)\n"
        "  --initrd FILE          initial RAM disk\n"
        "  --cmdline TEXT         kernel command line (" SPEC_DEFAULT_CMDLINE ")\n"
        "  --cpus N               virtual CPUs, 1 to 64 (1)\n"
        "  --mem SIZE             memory, a multiple of 1M, 2M to 64T (512M)\n"
        "  --cpu MODEL            host, or baseline: the same features on every host (host)\n"
        "  --on-reset ACTION      restart, or exit with status 8 (restart)\n"
        "  --cpu-limit PERCENT    CPU time for the whole guest, of one CPU (100 per virtual CPU and 100 "
        "more)\n"
        "  --io-limit DEVICE,KEY=N[,KEY=N]...\n"
        "                         limits per second on a block device of the host, a path or MAJ:MIN; keys "
        "are\n"
        "                         rbps and wbps (bytes read, written; K, M, G, T, P), riops and wiops\n"
        "                         (operations); once for each of up to 8 devices\n"
        "  --disk [raw:|qcow2:]FILE[,OPTION]...\n"
        "                         a disk: an image, raw if not said otherwise, or a block device; once for each\n"
        "                         of up to 12. Options:\n"
        "                         ro, direct (past the host's page cache), id=NAME, queues=N (1 to 16),\n"
        "                         engine=auto|io_uring|sync, bps=SIZE and iops=N (limits per second)\n"
        "  --device vhost-user,type=blk|rng,socket=PATH[,id=NAME]\n"
        "                         a device that another program serves, outside of the jail; up to 3\n"
        "  --rng, --no-rng        with an entropy device, or without (with)\n"
        "  --require-all-layers   start only if every isolation layer can be had\n"
        "  --test-device          give the guest the test register\n"
        "  --config FILE          take the description of the guest from a JSON file; flags override it\n"
        "  --print-config         print the effective configuration as JSON and start nothing\n"
        "  --help                 print this\n";

static int cpus_apply(struct guest_spec *s, const char *value, struct err *e)
{
        uint64_t v = UINT64_MAX; /* stays so when it is out of range: the setter says what the range is */

        if (number_parse(value, UINT64_MAX, &v) == -EINVAL)
                return err_bad(e, STATUS_USAGE, "not a number");
        return guest_spec_set_vcpus(s, v, e);
}

static int mem_apply(struct guest_spec *s, const char *value, struct err *e)
{
        uint64_t v = UINT64_MAX;

        if (size_parse(value, &v) == -EINVAL)
                return err_bad(e, STATUS_USAGE, "not a size (a number with K, M, G, T, P or nothing after it)");
        return guest_spec_set_memory(s, v, e);
}

static int cpu_limit_apply(struct guest_spec *s, const char *value, struct err *e)
{
        uint64_t v = UINT64_MAX;

        if (number_parse(value, UINT64_MAX, &v) == -EINVAL)
                return err_bad(e, STATUS_USAGE, "not a number");
        return guest_spec_set_cpu_limit(s, v, e);
}

static int require_all_layers_apply(struct guest_spec *s, const char *value, struct err *e)
{
        s->require_all_layers = 1;
        return 0;
}

static int test_device_apply(struct guest_spec *s, const char *value, struct err *e)
{
        s->test_device = 1;
        return 0;
}

/* One KEY=N of --io-limit. */
static int io_rate_parse(const char *pair, struct io_limit *limit, struct err *e)
{
        static const struct {
                const char *prefix;
                size_t offset;
                bool is_size;
        } rates[] = {
                {"rbps=", offsetof(struct io_limit, read_bytes_per_s), true},
                {"wbps=", offsetof(struct io_limit, write_bytes_per_s), true},
                {"riops=", offsetof(struct io_limit, read_ops_per_s), false},
                {"wiops=", offsetof(struct io_limit, write_ops_per_s), false},
        };

        for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
                const char *value = pair + strlen(rates[i].prefix);
                uint64_t v;
                int r;

                if (strncmp(pair, rates[i].prefix, strlen(rates[i].prefix)) != 0)
                        continue;
                r = rates[i].is_size ? size_parse(value, &v) : number_parse(value, UINT64_MAX, &v);
                if (r < 0 || v < 1 || v > SPEC_IO_RATE_MAX)
                        return err_bad(e, STATUS_USAGE, "%.64s: must be a %s from 1 to %llu", pair,
                                       rates[i].is_size ? "size" : "number", SPEC_IO_RATE_MAX);
                memcpy((char *)limit + rates[i].offset, &v, sizeof(v));
                return 0;
        }
        return err_bad(e, STATUS_USAGE, "'%.64s' is none of rbps=SIZE, wbps=SIZE, riops=N, wiops=N", pair);
}

/* DEVICE,KEY=N[,KEY=N]...: a path with a comma cannot be given so, its MAJ:MIN can. */
static int io_limit_apply(struct guest_spec *s, const char *value, struct err *e)
{
        char copy[SPEC_PATH_MAX + 128]; /* a path and four limits of the greatest length */
        struct io_limit limit = {0};
        size_t len = strlen(value);
        char *rest = copy;
        const char *device, *pair;
        int r;

        if (len >= sizeof(copy))
                return err_bad(e, STATUS_USAGE, "longer than %zu bytes", sizeof(copy) - 1);
        memcpy(copy, value, len + 1);
        device = strsep(&rest, ",");
        while ((pair = strsep(&rest, ","))) {
                r = io_rate_parse(pair, &limit, e);
                if (r < 0)
                        return r;
        }
        r = io_device_parse(device, &limit.major, &limit.minor, e);
        return r < 0 ? r : guest_spec_add_io_limit(s, &limit, e);
}

static int disk_number(const char *value, int (*set)(struct disk_spec *, uint64_t, struct err *), struct disk_spec *d,
                       struct err *e)
{
        uint64_t v = UINT64_MAX;

        if (number_parse(value, UINT64_MAX, &v) == -EINVAL)
                return err_bad(e, STATUS_USAGE, "'%.64s' is not a number", value);
        return set(d, v, e);
}

/* One option of --disk. */
static int disk_option_apply(struct disk_spec *d, const char *option, struct err *e)
{
        const char *value = strchr(option, '=');
        size_t key_len = value ? (size_t)(value++ - option) : strlen(option);
        uint64_t bytes = UINT64_MAX;

#define KEY_IS(k) (key_len == sizeof(k) - 1 && strncmp(option, k, key_len) == 0)
        if (!value && KEY_IS("ro"))
                d->read_only = 1;
        else if (!value && KEY_IS("direct"))
                d->direct = 1;
        else if (value && KEY_IS("id"))
                return disk_spec_set_id(d, value, e);
        else if (value && KEY_IS("engine"))
                return disk_spec_set_engine(d, value, e);
        else if (value && KEY_IS("queues"))
                return disk_number(value, disk_spec_set_queues, d, e);
        else if (value && KEY_IS("iops"))
                return disk_number(value, disk_spec_set_ops_per_s, d, e);
        else if (value && KEY_IS("bps"))
                return size_parse(value, &bytes) == -EINVAL ? err_bad(e, STATUS_USAGE, "'%.64s' is not a size", value)
                                                            : disk_spec_set_bytes_per_s(d, bytes, e);
        else {
                err_bad(e, STATUS_USAGE,
                        "'%.64s' is none of ro, direct, id=NAME, engine=ENGINE, queues=N, bps=SIZE, iops=N", option);
                err_hint(e, "a path with a comma in it can be given in a configuration file");
                return -EINVAL;
        }
#undef KEY_IS
        return 0;
}

/* Cuts the format off the front of a disk's path, if it is there: never guessed from what is in the file. */
static int disk_format_cut(struct disk_spec *d, const char **path, struct err *e)
{
        static const char *const formats[] = {"raw", "qcow2"};

        for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
                size_t len = strlen(formats[i]);

                if (strncmp(*path, formats[i], len) == 0 && (*path)[len] == ':') {
                        *path += len + 1;
                        return disk_spec_set_format(d, formats[i], e);
                }
        }
        return 0;
}

/* [FORMAT:]FILE[,OPTION]... */
static int disk_apply(struct guest_spec *s, const char *value, struct err *e)
{
        char copy[SPEC_PATH_MAX + 256]; /* a path and every option at its longest */
        struct disk_spec d = {0};
        size_t len = strlen(value);
        char *rest = copy;
        const char *path, *option;
        int r;

        if (len >= sizeof(copy))
                return err_bad(e, STATUS_USAGE, "longer than %zu bytes", sizeof(copy) - 1);
        memcpy(copy, value, len + 1);
        path = strsep(&rest, ",");
        r = disk_format_cut(&d, &path, e);
        if (r == 0)
                r = disk_spec_set_path(&d, path, e);
        while (r == 0 && (option = strsep(&rest, ",")))
                r = disk_option_apply(&d, option, e);
        return r < 0 ? r : guest_spec_add_disk(s, &d, e);
}

/* One KEY=VALUE of --device. */
static int backend_option_apply(struct backend_spec *b, const char *option, struct err *e)
{
        static const struct {
                const char *prefix;
                int (*set)(struct backend_spec *b, const char *value, struct err *e);
        } keys[] = {{"type=", backend_spec_set_type},
                    {"socket=", backend_spec_set_socket},
                    {"id=", backend_spec_set_id}};

        for (size_t i = 0; i < ARRAY_LEN(keys); i++)
                if (strncmp(option, keys[i].prefix, strlen(keys[i].prefix)) == 0)
                        return keys[i].set(b, option + strlen(keys[i].prefix), e);
        return err_bad(e, STATUS_USAGE, "'%.64s' is none of type=TYPE, socket=PATH, id=NAME", option);
}

/* vhost-user,KEY=VALUE[,KEY=VALUE]... */
static int device_apply(struct guest_spec *s, const char *value, struct err *e)
{
        char copy[SPEC_SOCKET_MAX + 128]; /* a path and every option at its longest */
        struct backend_spec b = {0};
        size_t len = strlen(value);
        char *rest = copy;
        const char *option;
        int r;

        if (len >= sizeof(copy))
                return err_bad(e, STATUS_USAGE, "longer than %zu bytes", sizeof(copy) - 1);
        memcpy(copy, value, len + 1);
        r = backend_spec_set_protocol(&b, strsep(&rest, ","), e);
        while (r == 0 && (option = strsep(&rest, ",")))
                r = backend_option_apply(&b, option, e);
        return r < 0 ? r : guest_spec_add_backend(s, &b, e);
}

static int rng_apply(struct guest_spec *s, const char *value, struct err *e)
{
        s->rng = 1;
        return 0;
}

static int no_rng_apply(struct guest_spec *s, const char *value, struct err *e)
{
        s->rng = 0;
        return 0;
}

/* An option is either of the run, and named by what it sets, or of the guest, and has a function that sets
 * it. */
enum run_flag { RUN_NONE, RUN_CONFIG, RUN_PRINT_CONFIG, RUN_HELP };

struct flag {
        const char *name;
        int has_arg;
        enum run_flag run;
        int (*apply)(struct guest_spec *s, const char *value, struct err *e);
};

static const struct flag flags[] = {
        {"config", required_argument, .run = RUN_CONFIG},
        {"print-config", no_argument, .run = RUN_PRINT_CONFIG},
        {"help", no_argument, .run = RUN_HELP},
        {"kernel", required_argument, .apply = guest_spec_set_kernel},
        {"initrd", required_argument, .apply = guest_spec_set_initrd},
        {"cmdline", required_argument, .apply = guest_spec_set_cmdline},
        {"cpus", required_argument, .apply = cpus_apply},
        {"mem", required_argument, .apply = mem_apply},
        {"cpu", required_argument, .apply = guest_spec_set_cpu_model},
        {"on-reset", required_argument, .apply = guest_spec_set_on_reset},
        {"cpu-limit", required_argument, .apply = cpu_limit_apply},
        {"io-limit", required_argument, .apply = io_limit_apply},
        {"disk", required_argument, .apply = disk_apply},
        {"device", required_argument, .apply = device_apply},
        {"rng", no_argument, .apply = rng_apply},
        {"no-rng", no_argument, .apply = no_rng_apply},
        {"require-all-layers", no_argument, .apply = require_all_layers_apply},
        {"test-device", no_argument, .apply = test_device_apply},
};

#define VAL_OPERAND 1   /* getopt_long() returns it for an operand */
#define VAL_FIRST   256 /* + index into flags: above every character, as no option has a one-letter form */

/* A walk over the arguments, in their order. */
struct walk {
        int argc;
        char *const *argv;
        struct option options[ARRAY_LEN(flags) + 1];
        bool only_operands; /* behind "--" */
};

static void walk_init(struct walk *w, int argc, char *const argv[])
{
        *w = (struct walk){.argc = argc, .argv = argv};
        for (size_t i = 0; i < ARRAY_LEN(flags); i++)
                w->options[i] =
                        (struct option){.name = flags[i].name, .has_arg = flags[i].has_arg, .val = VAL_FIRST + (int)i};
        opterr = 0;
        optind = 0; /* both C libraries take 0 for "start again" */
}

static int syntax_error(struct err *e, const char *what, const char *word)
{
        int r = err_bad(e, STATUS_USAGE, "%s '%.*s'", what, (int)strnlen(word, 64), word);

        err_hint(e, "see bulkhead run --help");
        return r;
}

/*
 * The next option (*ret_flag) with its value, or the next operand (*ret_flag is NULL). Returns 1, 0 at the
 * end, or -EINVAL.
 */
static int walk_next(struct walk *w, const struct flag **ret_flag, const char **ret_value, struct err *e)
{
        if (!w->only_operands) {
                const char *word = w->argv[optind > 0 ? optind : 1];
                /* '-': operands in their place, whatever POSIXLY_CORRECT says; ':': a missing value is told
                 * apart. */
                int val = getopt_long(w->argc, w->argv, "-:", w->options, NULL);

                if (val >= VAL_FIRST) {
                        const struct flag *f = &flags[val - VAL_FIRST];

                        /* A unique beginning of a name would stop being unique with the next option. */
                        if (strcspn(word + 2, "=") != strlen(f->name))
                                return syntax_error(e, "unknown option", word);
                        *ret_flag = f;
                        *ret_value = optarg;
                        return 1;
                }
                if (val == VAL_OPERAND) {
                        *ret_flag = NULL;
                        *ret_value = optarg;
                        return 1;
                }
                if (val == ':')
                        return syntax_error(e, "a value is missing after", word);
                if (val != -1)
                        return syntax_error(e, optopt >= VAL_FIRST ? "no value may be given in" : "unknown option",
                                            word);
                w->only_operands = true;
        }
        if (optind >= w->argc)
                return 0;
        *ret_flag = NULL;
        *ret_value = w->argv[optind++];
        return 1;
}

int run_options_parse(int argc, char *const argv[], struct run_options *ret, struct err *e)
{
        struct run_options o = {0};
        bool named = false;
        const struct flag *f = NULL;
        const char *value = NULL;
        struct walk w;
        int r;

        walk_init(&w, argc, argv);
        while (!o.help && (r = walk_next(&w, &f, &value, e)) != 0) {
                if (r < 0)
                        return r;
                if (!f && named)
                        return syntax_error(e, "one name is enough; stray argument", value);
                if (!f)
                        named = true;
                else if (f->run == RUN_CONFIG)
                        o.config = value;
                else if (f->run == RUN_PRINT_CONFIG)
                        o.print_config = true;
                else if (f->run == RUN_HELP)
                        o.help = true;
        }
        *ret = o;
        return 0;
}

static int flag_apply(const struct flag *f, const char *value, struct guest_spec *s, struct err *e)
{
        int r = f->apply(s, value, e);

        return r < 0 ? err_wrap(e, r, "--%s %.80s", f->name, value ? value : "") : 0;
}

int spec_flag_apply(const char *name, const char *value, struct guest_spec *s, struct err *e)
{
        size_t i = 0;

        while (strcmp(flags[i].name, name) != 0 || !flags[i].apply) {
                i++;
                assert(i < ARRAY_LEN(flags));
        }
        return flag_apply(&flags[i], value, s, e);
}

int spec_flags_apply(int argc, char *const argv[], struct guest_spec *s, struct err *e)
{
        struct guest_spec copy = *s;
        const struct flag *f = NULL;
        const char *value = NULL;
        struct walk w;
        int r;

        walk_init(&w, argc, argv);
        while ((r = walk_next(&w, &f, &value, e)) != 0) {
                if (r < 0)
                        return r;
                if (!f) {
                        r = guest_spec_set_name(&copy, value, e);
                        if (r < 0)
                                return err_wrap(e, r, "'%.80s'", value);
                } else if (f->apply) {
                        r = flag_apply(f, value, &copy, e);
                        if (r < 0)
                                return r;
                }
        }
        *s = copy;
        return 0;
}
