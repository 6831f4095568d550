/*
 * What an operator's command asks a guest's supervisor for: one SOCK_SEQPACKET connection to the socket in the guest's
 * directory, one request, one answer. Fixed-width messages. The directory lets only the guest's owner in.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "spec/guest_spec.h"

#define REQUEST_MAGIC   0x52454b48U /* "RQKH", little-endian */
#define REQUEST_VERSION 1
#define REQUEST_SOCKET  "requests" /* in the guest's directory; of a guest with disks */

enum request_type { REQUEST_RESIZE = 1 };

struct request {
        uint32_t magic;
        uint16_t version, type;
        uint64_t bytes;           /* the disk's new size */
        char device[SPEC_ID_MAX]; /* ends with a zero */
        uint8_t reserved[3];
};

struct request_answer {
        uint32_t magic;
        uint16_t version;
        uint16_t failed;         /* 0 or 1 */
        uint32_t status;         /* enum exit_status, when it failed */
        char text[ERR_TEXT_MAX]; /* why; ends with a zero */
};
