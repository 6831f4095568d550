/*
 * Files and block devices that guests have open, and which of them are disk images. The kernel does not say what a file
 * is for, so the rule is:
 *
 *   - a block device is an image;
 *   - a regular file is none when it is the monitor's program, mapped as a whole to be shared (memory of the guest:
 *     MEM-SHRW judges that), opened only to write (a log) or as a mere path, empty, or named on the command line behind
 *     an option for kernels, initial file systems, firmware;
 *   - it is one when the command line names it otherwise, or when it has whole sectors and 64 KiB or more: logs and
 *     states are seldom so, and monitors that are configured through a socket (Firecracker) name none there;
 *   - what is an image to one guest is one to all.
 *
 * A monitor can make its own files look like something else. Whether two guests share a file must not depend on the
 * rule, which is why the others are listed, too.
 */
#pragma once

#include "audit/model/guests.h"

#define IMAGE_LEAST (64U << 10)

struct audit;

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
        bool is_image; /* by the rule above */
        bool block, writable, readable;
        bool mapped, mapped_writable; /* to be shared */
        uint64_t object[2];           /* what tells files apart: device and inode, or device number */
        char *path;                   /* as the descriptor's link says, without " (deleted)" */
        const char *argument;         /* that names it; NULL: none does */
        bool by_path;                 /* by its whole path */
        enum image_choice choice;
};

struct image_list {
        struct image *items;
        size_t count, room;
};

struct images {
        struct image_list all; /* guest by guest; one per object and process, writable when any of its descriptors is */
        size_t *first;         /* [guest]: where its own begin; one more: the end */
};

/* Block devices and regular files of all guests, images or not: read when first asked for. */
const struct images *images_get(struct audit *a);

/* The name stands in the argument, as a whole: "file=disk.img,if=none". */
bool image_argument_names(const char *argument, const char *name);

/* The images among those of g, appended. */
void images_read(struct audit *a, const struct guest *g, struct image_list *ret);
