/*
 * qemu-storage-daemon as packaged, and the files that it maps: found by asking the dynamic loader, which will map them,
 * and not from a list, because every release of every distribution has others.
 */
#pragma once

#include "base/err.h"
#include "jail/jail_files.h"

#define STORAGE_PROGRAM  "/usr/bin/qemu-storage-daemon"
#define STORAGE_NAME_MAX 96 /* of a file in its root, with the zero */

struct storage_program {
        int root_fd, program_fd; /* the root that its processes get, and the program in it; -1: not needed */
};

#define STORAGE_PROGRAM_INIT ((struct storage_program){.root_fd = -1, .program_fd = -1})

/*
 * Asks the loader in a process without rights, opens what it answers, and makes the root. Returns 0 or a negative errno
 * (STATUS_HOST: the program is not there, or is not what it must be); storage_program_close() in both cases.
 */
int storage_program_open(struct storage_program *p, struct err *e);
void storage_program_close(struct storage_program *p);

/* What the root will have. */
struct storage_files {
        size_t count;
        struct jail_file list[JAIL_FILES_MAX]; /* the program first */
        char paths[JAIL_FILES_MAX][STORAGE_NAME_MAX];
};

/* The first part of storage_program_open(), without bulkhead-storage.so; storage_files_close() in both cases. */
int storage_files_find(struct storage_files *f, struct err *e);
void storage_files_close(struct storage_files *f);

/*
 * One line of the loader's answer: "\tNAME => PATH (0xADDRESS)", "\tPATH (0xADDRESS)" of the loader itself, or
 * "\tNAME (0xADDRESS)" of what the kernel maps. Changes line. Returns 1 with the path on the host and the one in the
 * new root, 0 for nothing to open, or -EPROTO.
 */
int storage_program_line(char *line, const char **ret_path, char ret_inside[STORAGE_NAME_MAX]);
