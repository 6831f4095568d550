/* One disk of a guest: its fields, as flags and JSON set them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "spec/guest_spec.h"

/*
 * Setters: each checks its own value and names the field, by its JSON key, in the error (STATUS_USAGE). A failed setter
 * changes nothing. They return 0 or -EINVAL. A disk starts as all zeros.
 */
int disk_spec_set_path(struct disk_spec *d, const char *path, struct err *e);
int disk_spec_set_id(struct disk_spec *d, const char *id, struct err *e);
int disk_spec_set_format(struct disk_spec *d, const char *word, struct err *e);   /* "raw" | "qcow2" */
int disk_spec_set_engine(struct disk_spec *d, const char *word, struct err *e);   /* "auto" | "io_uring" | "sync" */
int disk_spec_set_queues(struct disk_spec *d, uint64_t queues, struct err *e);    /* 1..SPEC_QUEUES_MAX */
int disk_spec_set_bytes_per_s(struct disk_spec *d, uint64_t rate, struct err *e); /* 1..SPEC_IO_RATE_MAX */
int disk_spec_set_ops_per_s(struct disk_spec *d, uint64_t rate, struct err *e);

/* Checks every field of count disks, and that no id is there twice. Returns 0 or -EINVAL (STATUS_USAGE). */
int disk_specs_check(const struct disk_spec *disks, size_t count, struct err *e);

/* The words for printing; "unknown" for a value outside the enum. */
const char *disk_engine_name(uint32_t engine);
const char *disk_format_name(uint32_t format);
