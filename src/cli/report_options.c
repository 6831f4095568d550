#include "cli/report_options.h"

#include <string.h>

int report_options_parse(int argc, char *argv[], bool takes_name, struct report_options *ret, struct err *e)
{
        struct report_options o = {0};
        int r;

        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "--help") == 0) {
                        *ret = (struct report_options){.help = true};
                        return 0;
                }
                if (strcmp(argv[i], "--json") == 0)
                        o.json = true;
                else if (takes_name && !o.name && argv[i][0] != '-')
                        o.name = argv[i];
                else {
                        r = err_bad(e, STATUS_USAGE, "bulkhead %s does not take \"%s\"", argv[0], argv[i]);
                        err_hint(e, "see bulkhead %s --help", argv[0]);
                        return r;
                }
        }
        if (takes_name && !o.name) {
                r = err_bad(e, STATUS_USAGE, "bulkhead %s needs the name of a guest", argv[0]);
                err_hint(e, "see bulkhead %s --help", argv[0]);
                return r;
        }
        *ret = o;
        return 0;
}
