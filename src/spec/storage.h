/* What the supervisor tells qemu-storage-daemon, and bulkhead-storage.so, which is in it, knows. */
#pragma once

#define STORAGE_NAME      "qemu-storage-daemon"
#define STORAGE_SEAL      "bulkhead-storage.so"
#define STORAGE_LIBRARIES "/lib" /* where they are in its root, without other directories */

#define STORAGE_IMAGE "/disk" /* the name by which it opens DEVICE_FD_RESOURCE; there is no such file */
