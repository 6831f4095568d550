/*
 * A root for a program that has files, because it is not static: a tmpfs with exactly those, read-only, which is
 * mounted nowhere. Made once; each process of the program becomes rooted in it (jail_request, own_root).
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

#define JAIL_FILES_MAX 96

/* What fd has, read from its start, is at path: absolute, in at most one directory. */
struct jail_file {
        int fd;
        const char *path;
        unsigned int mode;
};

/*
 * Makes it from count files, at most JAIL_FILES_MAX. Returns 0, the root, and a descriptor of the first file in it, to
 * be executed; or a negative errno. It lives as long as the descriptors and who is in it. The caller must be
 * single-threaded.
 */
int jail_files_make(const struct jail_file *files, size_t count, int *ret_root, int *ret_program, struct err *e);
