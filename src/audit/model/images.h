/*
 * Disk images of a guest, among the descriptors of its processes. The kernel does not say what a file is for, so the
 * rule is:
 *
 *   - a block device is an image;
 *   - a regular file is none when it is the program, mapped to be executed or to be shared (memory of the guest:
 *     MEM-SHRW judges that), opened to append (a log) or as a mere path, empty, or named on the command line behind an
 *     option for kernels, initial file systems, firmware;
 *   - it is one when the command line names it otherwise, or when it has whole sectors and 64 KiB or more: logs and
 *     states are seldom so, and monitors that are configured through a socket (Firecracker) name none there.
 */
#pragma once

#include "audit/model/guests.h"

#define IMAGE_LEAST (64U << 10)

enum image_choice {
        CHOICE_RAW,      /* the monitor takes it for raw, whatever it holds */
        CHOICE_EXPLICIT, /* it was told another format */
        CHOICE_PROBED,   /* it looks at the first bytes */
        CHOICE_UNKNOWN,
};

struct image {
        const struct guest *guest;
        const struct process *process;
        const struct fd *fd;
        bool block, writable;
        uint64_t object[2]; /* what tells images apart: device and inode, or device number */
        char *path;         /* as the descriptor's link says, without " (deleted)" */
        bool deleted;
        const char *argument; /* that names it; NULL: none does */
        enum image_choice choice;
};

struct image_list {
        struct image *items;
        size_t count, room;
};

/* Those of g, appended; one per object and process, writable when any of its descriptors is. */
void images_read(struct arena *a, const struct guest *g, struct image_list *ret);
