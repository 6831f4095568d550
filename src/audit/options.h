/* The command line of bulkhead audit. */
#pragma once

#include <stdbool.h>

#include "audit/tier.h"
#include "base/err.h"

struct audit_options {
        bool help, json, verbose, deep;
        enum tier tier;
        const char *html;    /* file to write */
        const char *guest;   /* report for one tenant */
        const char *fixture; /* examine a recorded host */
        const char *record;  /* record this one */
};

extern const char audit_help[];

int audit_options_parse(int argc, char *argv[], struct audit_options *ret, struct err *e);
