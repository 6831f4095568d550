#include "audit/options.h"

#include <getopt.h>
#include <stddef.h>

const char audit_help[] =
        "Usage: bulkhead audit [OPTION]...\n\n"
        "Finds every KVM guest of this host, whoever started it, and examines what separates each from the host and from\n"
        "every other guest. Changes nothing. Ends with status 0 when no check failed and none of severity high or critical\n"
        "was left undetermined, 6 when one failed, 10 when one was left undetermined.\n\n"
        "  -v, --verbose     list what passed, too, and the evidence of everything\n"
        "      --json        print JSON\n"
        "      --html FILE   write a page for customers and auditors\n"
        "      --guest NAME  report only what concerns one guest, and name no other\n"
        "      --deep        also read the system-call filters, which stops each thread for milliseconds\n"
        "      --lite        ask only what any user may ask, as a user without any privilege\n"
        "      --owner       ask only what the guests' owner could ask: needs CAP_SYS_PTRACE\n"
        "      --record FILE write all that was asked and answered to FILE\n"
        "      --fixture FILE\n"
        "                    examine what --record wrote instead of this host\n";

int audit_options_parse(int argc, char *argv[], struct audit_options *ret, struct err *e)
{
        static const struct option options[] = {
                {"help", no_argument, NULL, 'h'},
                {"json", no_argument, NULL, 'j'},
                {"verbose", no_argument, NULL, 'v'},
                {"deep", no_argument, NULL, 'd'},
                {"lite", no_argument, NULL, 'l'},
                {"owner", no_argument, NULL, 'o'},
                {"html", required_argument, NULL, 'H'},
                {"guest", required_argument, NULL, 'g'},
                {"fixture", required_argument, NULL, 'f'},
                {"record", required_argument, NULL, 'r'},
                {NULL, 0, NULL, 0},
        };
        struct audit_options o = {0};
        unsigned int wanted = 0; /* tiers */
        int c;

        opterr = 0;
        while ((c = getopt_long(argc, argv, ":hv", options, NULL)) != -1)
                switch (c) {
                case 'h':
                        o.help = true;
                        break;
                case 'j':
                        o.json = true;
                        break;
                case 'v':
                        o.verbose = true;
                        break;
                case 'd':
                        o.deep = true;
                        break;
                case 'l':
                case 'o':
                        wanted |= c == 'l' ? 1U << TIER_LITE : 1U << TIER_OWNER;
                        o.tier = c == 'l' ? TIER_LITE : TIER_OWNER;
                        break;
                case 'H':
                        o.html = optarg;
                        break;
                case 'g':
                        o.guest = optarg;
                        break;
                case 'f':
                        o.fixture = optarg;
                        break;
                case 'r':
                        o.record = optarg;
                        break;
                case ':':
                        return err_bad(e, STATUS_USAGE, "audit: %s needs a value; see bulkhead audit --help",
                                       argv[optind - 1]);
                default:
                        return err_bad(e, STATUS_USAGE, "audit: there is no option %s; see bulkhead audit --help",
                                       argv[optind - 1]);
                }
        if (optind < argc)
                return err_bad(e, STATUS_USAGE, "audit: \"%s\" is no option; one guest is named with --guest",
                               argv[optind]);
        if (wanted == (1U << TIER_LITE | 1U << TIER_OWNER))
                return err_bad(e, STATUS_USAGE, "audit: --lite and --owner exclude each other");
        if (wanted && o.fixture)
                return err_bad(e, STATUS_USAGE,
                               "audit: what --fixture tells was asked with privileges of its own; leave out %s",
                               o.tier == TIER_LITE ? "--lite" : "--owner");
        *ret = o;
        return 0;
}
