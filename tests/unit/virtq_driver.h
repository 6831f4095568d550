/* The driver of a virtqueue, written here: its memory, its rings, and what it offers. */
#pragma once

#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtio/virtq.h"

/* Two regions side by side for the guest and far apart for the host, and a large one that nobody touches. */
#define REGION    0x20000ULL
#define BIG       0x100000000ULL
#define BIG_BYTES (16ULL << 20)

#define TABLE    0x0ULL /* 16 KiB: 1024 entries */
#define AVAIL    0x4000ULL
#define USED     0x6000ULL
#define INDIRECT 0x9000ULL
#define BUFFER   0x10000ULL

#define NEXT VRING_DESC_F_NEXT
#define IN   VRING_DESC_F_WRITE
#define INDI VRING_DESC_F_INDIRECT

struct driver {
        struct guest_ram ram;
        struct virtq q;
        struct virtq_layout layout;
        struct vring_desc *table, *indirect;
        struct vring_avail *avail;
        struct vring_used *used;
        struct virtq_chain chain;
};

/* A queue of that size in its memory, of which next_avail chains have been taken. */
void queue_set(struct driver *d, uint16_t size, uint16_t next_avail, bool event_idx, bool indirect);

/* Of cmocka; the state is a struct driver with a queue of 8. */
int driver_setup(void **state);
int driver_teardown(void **state);

#define TEST(f) cmocka_unit_test_setup_teardown(f, driver_setup, driver_teardown)

void offer(struct driver *d, uint16_t head);
void desc(struct vring_desc *table, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);

/* A request of 16 bytes out, 512 in and 1 in, at descriptors 0, 1, 2. */
void good_chain(struct driver *d);
