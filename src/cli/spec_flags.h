/*
 * The options of `bulkhead run`. Two passes over the same arguments: the first finds what decides where the
 * description of the guest comes from, the second lays the flags over it.
 *
 *     run_options_parse(argc, argv, &o, &e);   // syntax of every argument, --config, --print-config, --help
 *     guest_spec_init(&s);                     // or what the file of o.config says
 *     spec_flags_apply(argc, argv, &s, &e);    // flags override the file
 *     guest_spec_validate(&s, &e);
 *
 * Both use getopt_long(3), whose state is of the whole process: not for use by two threads at once.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "spec/guest_spec.h"

struct run_options {
        const char *config; /* path of the configuration file, in argv; NULL: none */
        bool print_config;  /* print the effective configuration, start nothing */
        bool help;          /* print run_help, start nothing */
};

/* What `bulkhead run --help` prints. */
extern const char run_help[];

/*
 * Checks the syntax of argv (argv[0] is "run"; the rest options and at most one operand, the name) and gives
 * out the options that are not of the guest. --help ends the pass: what stands behind it is not looked at.
 * Option names must be spelled out. Errors have STATUS_USAGE and name the option. Returns 0 or -EINVAL.
 */
int run_options_parse(int argc, char *const argv[], struct run_options *ret, struct err *e);

/*
 * Sets in s what argv says of the guest. An option given twice: the last one wins, except that --io-limit
 * adds (see guest_spec_add_io_limit()), and so do --disk and --device. s is untouched on failure. Errors name the
 * option and its value; STATUS_USAGE, or STATUS_IMAGE for a command line that is too long. Returns 0 or -EINVAL.
 */
int spec_flags_apply(int argc, char *const argv[], struct guest_spec *s, struct err *e);

/* Sets in s what one option of the guest says, which there must be: for other commands that have it. value: NULL where
 * it takes none. Errors name it. Returns 0 or -EINVAL. */
int spec_flag_apply(const char *name, const char *value, struct guest_spec *s, struct err *e);
