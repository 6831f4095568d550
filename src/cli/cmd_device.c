#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/commands.h"
#include "cli/inherited.h"
#include "cli/spec_flags.h"
#include "cli/user_session.h"
#include "supervisor/device_alone.h"

static const char device_help[] =
        "Usage: bulkhead device blk --disk [raw:|qcow2:]FILE[,OPTION]... --socket PATH [option]...\n"
        "       bulkhead device rng --socket PATH [option]...\n\n"
        "Serves a disk, or entropy, to another virtual machine monitor over vhost-user: one front end after the\n"
        "other, each with a process of its own in a jail of its own. Runs in the foreground.\n\n"
        "  --socket PATH          socket to listen on; it is made with mode 0600 and removed at the end\n"
        "  --disk [raw:|qcow2:]FILE[,OPTION]...\n"
        "                         the disk, with the options of bulkhead run\n"
        "  --name NAME            its name for ps, inspect, resize and kill (device-PID)\n"
        "  --mem SIZE             memory of the largest guest that it serves (that of this host)\n"
        "  --cpu-limit PERCENT    CPU time, of one CPU (200)\n"
        "  --require-all-layers   start only if every isolation layer can be had\n"
        "  --help                 print this\n";

enum option_value { OPTION_HELP = 256, OPTION_SOCKET, OPTION_NAME, OPTION_SPEC };

static const struct option options[] = {
        {"disk", required_argument, NULL, OPTION_SPEC},
        {"mem", required_argument, NULL, OPTION_SPEC},
        {"cpu-limit", required_argument, NULL, OPTION_SPEC},
        {"require-all-layers", no_argument, NULL, OPTION_SPEC},
        {"name", required_argument, NULL, OPTION_NAME},
        {"socket", required_argument, NULL, OPTION_SOCKET},
        {"help", no_argument, NULL, OPTION_HELP},
        {0},
};

struct arguments {
        const char *type, *socket;
        bool help;
};

static int bad(struct err *e, const char *what, const char *word)
{
        int r = err_bad(e, STATUS_USAGE, "%s%.64s", what, word);

        err_hint(e, "see bulkhead device --help");
        return r;
}

static int option_apply(int value, int index, struct arguments *a, struct guest_spec *s, struct err *e)
{
        switch (value) {
        case OPTION_HELP:
                a->help = true;
                return 0;
        case OPTION_SOCKET:
                a->socket = optarg;
                return 0;
        case OPTION_NAME:
                return guest_spec_set_name(s, optarg, e);
        case OPTION_SPEC:
                return spec_flag_apply(options[index].name, optarg, s, e);
        case 1: /* an operand, in its place */
                if (a->type)
                        return bad(e, "one kind of device is enough; stray argument ", optarg);
                a->type = optarg;
                return 0;
        case ':':
                return bad(e, "a value is missing after an option", "");
        default:
                return bad(e, "an option is unknown", "");
        }
}

static int arguments_read(int argc, char *argv[], struct arguments *a, struct guest_spec *s, struct err *e)
{
        int value, index = 0, r = 0;

        opterr = 0;
        while (r == 0 && !a->help && (value = getopt_long(argc, argv, "-:", options, &index)) != -1)
                r = option_apply(value, index, a, s, e);
        if (r < 0 || a->help)
                return r;
        if (optind < argc)
                return bad(e, "stray argument ", argv[optind]);
        if (!a->type || (strcmp(a->type, "blk") != 0 && strcmp(a->type, "rng") != 0))
                return bad(e, "the kind of device must be blk or rng", "");
        if (!a->socket)
                return bad(e, "--socket is missing", "");
        s->rng = strcmp(a->type, "rng") == 0;
        if (s->disk_count != (s->rng ? 0 : 1))
                return bad(e, s->rng ? "an entropy device has no --disk" : "--disk must be given once", "");
        return 0;
}

/* The most that any guest on this host can have. */
static uint64_t host_memory(void)
{
        struct sysinfo info;
        uint64_t bytes = sysinfo(&info) < 0 ? SPEC_MEMORY_MAX : (uint64_t)info.totalram * info.mem_unit;

        bytes &= ~((1ULL << 20) - 1);
        return bytes < SPEC_MEMORY_MIN ? SPEC_MEMORY_MIN : bytes > SPEC_MEMORY_MAX ? SPEC_MEMORY_MAX : bytes;
}

static void spec_init(struct guest_spec *s)
{
        guest_spec_init(s);
        snprintf(s->name, sizeof(s->name), "device-%d", (int)getpid());
        memset(s->cmdline, 0, sizeof(s->cmdline));
        s->memory_bytes = host_memory();
}

int cmd_device(int argc, char *argv[], struct err *e)
{
        static struct guest_spec spec;
        struct arguments a = {0};

        spec_init(&spec);
        if (arguments_read(argc, argv, &a, &spec, e) < 0)
                return (int)e->status;
        if (a.help) {
                fputs(device_help, stdout);
                return STATUS_OK;
        }
        /* How many queues the front end wants is not known: a process that has no more refuses it. */
        if (spec.disk_count > 0 && spec.disks[0].queues == 0)
                spec.disks[0].queues = SPEC_QUEUES_MAX;
        user_session_enter_scope(argc, argv);
        if (standard_fds_fill(e) < 0)
                return (int)e->status;
        environment_wipe();
        return device_serve(&spec, a.socket, e);
}
