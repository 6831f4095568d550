/* A disk in format qcow2: QEMU's qemu-storage-daemon in the place of bulkhead-blk, in the same jail but for its root.
 */
#pragma once

#include "supervisor/device_process.h"
#include "supervisor/storage_program.h"

extern const struct device_role device_role_storage;

/* What the operator is told of it. */
#define DEVICE_STORAGE_TOLD "qemu-storage-daemon: its root has files, and its filter is wider than ours"

/* Refuses one where every layer is required: its root has files. Returns 0 or -EPERM. */
int device_storage_allow(const struct guest_spec *spec, const struct device *dv, struct err *e);

/* What it is started with, and where: fills in that part of req. Valid until the next call. */
void device_storage_request(const struct storage_program *p, const struct device *dv, struct jail_request *req);

/* Bytes that it may use beside what each device's process may: caches of the image's tables, stacks, copies of
 * requests.
 */
#define DEVICE_STORAGE_MEMORY (128ULL << 20)
