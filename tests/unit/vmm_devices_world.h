/*
 * The world of the tests of the VMM's devices: a machine, KVM, a process and a transport that are made up. Each call of
 * the code under test is noted, and answered as the test says.
 */
#pragma once

#include <linux/kvm.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vmm/machine.h"

#define QUEUES     2
#define RAM        0x10000
#define RING(q, p) (0x1000U * ((q) + 1) + 0x400U * (p)) /* p 0: descriptors, 1: driver's part, 2: device's part */
#define OFFERED    (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_BLK_F_CONFIG_WCE | 1ULL << VIRTIO_BLK_F_MQ)
#define WCE        offsetof(struct virtio_blk_config, wce)

/* What comes of each call of the code under test, and what it was told. */
struct fake {
        int connect, start, stop, config_write, config_fetch, request; /* what comes of each */
        uint64_t features;
        unsigned int queues;
        uint8_t config[60];
        bool needs_reset, no_inflight;
        bool dies_late;       /* a start that fails has told the process of the queues */
        bool reset_meanwhile; /* the guest resets the device while it is being started */
        struct msix_message messages[VIRTIO_PCI_VECTORS];
        bool has_message[VIRTIO_PCI_VECTORS];
        bool irqfd_fails;
        struct kvm_irq_routing_entry routes[8];
        unsigned int route_count;
        struct kvm_ioeventfd last_event;
        uint16_t next_avail[QUEUES];
        bool any_length;
};
extern struct fake fake;

extern struct machine m;
extern struct device *const d; /* the first of the machine's */
extern struct device devices[VMM_DEVICES_MAX];
extern uint8_t ram[RAM];
extern int supervisor, process, requester; /* the other ends */
extern bool failed;                        /* the machine */
extern const struct control_config opened_with;

void expect(const char *what);
int irqfd(const struct kvm_irqfd *i);
int pair_at(int type, int target);
int world_begin(void **state);
int world_end(void **state);
int round_of(struct err *e);
void attend(void);
void guest_starts(void);
void guest_resets(void);
void run(void);
void process_dies(void);
void expect_down(bool for_good);
int replace(void);
void replace_fails(void);
void ring_index(unsigned int queue, unsigned int part, uint16_t index);
uint64_t count_of(int fd);
