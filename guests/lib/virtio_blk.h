/* A block device over virtio (virtio 1.2, 5.2): constants, and one request at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio.h"

#define BLK_SECTOR 512

#define BLK_F_SIZE_MAX     (1ULL << 1)
#define BLK_F_SEG_MAX      (1ULL << 2)
#define BLK_F_RO           (1ULL << 5)
#define BLK_F_BLK_SIZE     (1ULL << 6)
#define BLK_F_FLUSH        (1ULL << 9)
#define BLK_F_TOPOLOGY     (1ULL << 10)
#define BLK_F_CONFIG_WCE   (1ULL << 11)
#define BLK_F_MQ           (1ULL << 12)
#define BLK_F_DISCARD      (1ULL << 13)
#define BLK_F_WRITE_ZEROES (1ULL << 14)

/* Offsets in configuration space, 5.2.4. */
#define BLK_CFG_CAPACITY                 0  /* 64 bits, sectors */
#define BLK_CFG_SIZE_MAX                 8  /* 32 bits, bytes */
#define BLK_CFG_SEG_MAX                  12 /* 32 bits */
#define BLK_CFG_BLK_SIZE                 20 /* 32 bits, bytes */
#define BLK_CFG_NUM_QUEUES               34 /* 16 bits */
#define BLK_CFG_MAX_DISCARD_SECTORS      36 /* 32 bits */
#define BLK_CFG_MAX_WRITE_ZEROES_SECTORS 48 /* 32 bits */

#define BLK_T_IN           0
#define BLK_T_OUT          1
#define BLK_T_FLUSH        4
#define BLK_T_GET_ID       8
#define BLK_T_DISCARD      11
#define BLK_T_WRITE_ZEROES 13

#define BLK_S_OK        0
#define BLK_S_IOERR     1
#define BLK_S_UNSUPP    2
#define BLK_S_NONE      0xff /* ours: the device wrote no status */
#define BLK_S_NO_ANSWER -1   /* ours: the request did not complete */

#define BLK_ID_BYTES 20

struct blk_header {
        uint32_t type, reserved;
        uint64_t sector;
};

struct blk_range {
        uint64_t sector;
        uint32_t sectors, flags;
};

#define BLK_RANGE_UNMAP 1

struct blk {
        struct virtio dev;
        struct virtq queue;
        uint64_t capacity; /* sectors */
        volatile struct blk_header header;
        volatile uint8_t status;
};

/* The nth block device, started with what is both wanted and offered. False: there is none or it does not start. */
bool blk_start(struct blk *b, unsigned int nth, uint64_t wanted);

/* One request, of no data when len is 0. Returns the status byte or BLK_S_NO_ANSWER. */
int blk_request(struct blk *b, uint32_t type, uint64_t sector, volatile void *data, uint32_t len);

/* A discard or write-zeroes of one range. */
int blk_range_request(struct blk *b, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags);
