/*
 * Headers of disk images: what format the first bytes say, and which other files they name. Every byte is a guest's or
 * a stranger's: lengths and offsets are checked against what was read, and nothing is followed here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "audit/arena.h"

#define IMAGE_NAMES_MAX 64 /* files that one header may name; the rest is not looked at */

enum image_format {
        IMAGE_RAW, /* no known magic */
        IMAGE_QCOW,
        IMAGE_QCOW2,
        IMAGE_QED,
        IMAGE_VMDK,
        IMAGE_VHDX,
        IMAGE_VHD,
        IMAGE_VDI,
};

extern const char *const image_format_names[];

struct image_name {
        const char *role; /* "backing file", "data file", "extent", "parent" */
        char *name;       /* raw */
};

struct image_name_list {
        struct image_name *items;
        size_t count, room;
};

struct image_header {
        enum image_format format;
        struct image_name_list names;
        bool unresolved; /* it depends on another image, but names it where this does not look */
        bool malformed;  /* an offset or length points outside of what was read */
};

void image_header_parse(struct arena *a, const void *bytes, size_t len, struct image_header *ret);
