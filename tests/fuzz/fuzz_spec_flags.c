/* The options of `bulkhead run`: the input is the arguments, one a line, or apart by zeros. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/spec_flags.h"
#include "spec_check.h"

#define ARGUMENTS_MAX 64

/* Each argument is a piece of memory of its own, so that a read past its end is seen. */
static int arguments_cut(char *text, size_t len, char *argv[ARGUMENTS_MAX + 2])
{
        int argc = 0;

        argv[argc++] = strdup("run");
        for (size_t start = 0, i = 0; i <= len && argc <= ARGUMENTS_MAX; i++) {
                if (i < len && text[i] != '\n' && text[i] != '\0')
                        continue;
                if (i == len && start == i)
                        break;
                argv[argc++] = strndup(text + start, i - start);
                start = i + 1;
        }
        argv[argc] = NULL;
        for (int i = 0; i < argc; i++)
                MUST(argv[i]);
        return argc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct reader input = {data, len};
        _cleanup_free_ char *text = read_text(&input);
        char *argv[ARGUMENTS_MAX + 2], *order[ARGUMENTS_MAX + 2];
        int argc = arguments_cut(text, len, argv), r, parsed;
        struct run_options o = {.config = "untouched"};
        struct guest_spec s, before;
        struct err e = ERR_INIT;
        bool two_names = false;

        memcpy(order, argv, sizeof(argv[0]) * (size_t)(argc + 1));
        guest_spec_init(&s);
        before = s;
        parsed = run_options_parse(argc, argv, &o, &e);
        if (parsed < 0) {
                must_be_error(&e, parsed, STATUS_BIT(STATUS_USAGE));
                MUST(strcmp(o.config, "untouched") == 0);
                two_names = strstr(e.text, "one name is enough");
        }
        e = ERR_INIT;
        target_runs = true;
        r = spec_flags_apply(argc, argv, &s, &e);
        target_runs = false;
        if (r < 0) {
                must_be_error(&e, r, SPEC_STATUSES);
                MUST(memcmp(&s, &before, sizeof(s)) == 0);
        } else {
                spec_must_be_good(&s);
                /* The first pass is about the syntax of everything; only names are counted there alone. */
                MUST(parsed == 0 || two_names);
        }
        MUST(memcmp(order, argv, sizeof(argv[0]) * (size_t)(argc + 1)) == 0);
        for (int i = 0; i < argc; i++)
                free(argv[i]);
        return 0;
}
