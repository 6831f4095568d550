/* Parsers of the texts in /proc (proc(5)), apart from reading them. All are bounded and none trusts a format.
 */
#pragma once

#include <stdio.h>

#include "cli/inspect/facts.h"

/* /proc/PID/task/TID/status. Changes text. Returns 0, or -EPROTO when a line that must be there is not or is
 * malformed. */
int parse_status(char *text, struct thread_facts *ret);

/* /proc/PID/limits. Returns 0 or -EPROTO. */
int parse_limits(const char *text, struct limit_facts ret[LIMIT_COUNT]);

/* /proc/PID/mountinfo. Returns 0, -EPROTO or -E2BIG. */
int parse_mountinfo(FILE *f, struct root_facts *ret);

/* A mapping of guest RAM, found on the way. */
struct ram_range {
        uint64_t start, end;
};

/* /proc/PID/smaps: everything in struct memory_facts but seals and merge_any. *ret_ram is the first mapping
 * of guest RAM. Returns 0, -EPROTO or -E2BIG. */
int parse_smaps(FILE *f, struct memory_facts *ret, struct ram_range *ret_ram);

/* The path after the controllers that include controller ("" for the unified hierarchy) in /proc/PID/cgroup.
 * Returns 0, -ENOENT or -ENAMETOOLONG. */
int parse_cgroup(const char *text, const char *controller, char *ret_path, size_t size);

/* Interfaces in /proc/PID/net/dev. */
size_t parse_net_dev(const char *text);
