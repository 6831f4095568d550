/*
 * virtio over PCI, modern only (virtio 1.2, 4.1): one struct per device, a plain state machine like the UART. It knows
 * nothing of vhost-user, KVM or threads: its callbacks do, called with the machine's lock held.
 *
 * What takes time is asked for, not waited for: start() and stop() only take note; virtio_pci_started() and
 * virtio_pci_stopped() tell the guest. A reset has happened when device_status reads 0 again, as the specification
 * says.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/pci/msix.h"
#include "vmm/pci/pci.h"

#define VIRTIO_PCI_QUEUES_MAX 16
#define VIRTIO_PCI_VECTORS    (VIRTIO_PCI_QUEUES_MAX + 1)
#define VIRTIO_PCI_CONFIG_MAX 256

/* BAR 0: a page for each structure. BAR 2: MSI-X. */
#define VIRTIO_PCI_BAR_REGISTERS     0
#define VIRTIO_PCI_BAR_MSIX          2
#define VIRTIO_PCI_REGISTERS_BYTES   0x4000
#define VIRTIO_PCI_COMMON_OFF        0x0000
#define VIRTIO_PCI_ISR_OFF           0x1000
#define VIRTIO_PCI_DEVICE_OFF        0x2000
#define VIRTIO_PCI_NOTIFY_OFF        0x3000
#define VIRTIO_PCI_NOTIFY_MULTIPLIER 4

struct virtio_pci_queue {
        uint16_t size, vector;
        uint8_t enabled;
        uint64_t descriptors, driver, device;
};

struct virtio_pci_ops {
        /* DRIVER_OK: features and enabled queues are final. */
        void (*start)(void *ctx);
        /* Reset, while started or starting: virtio_pci_stopped() must follow. */
        void (*stop)(void *ctx);
        /* The driver writes configuration space (bounds checked, FEATURES_OK is set). config[] is as before. */
        void (*config_write)(void *ctx, uint32_t off_bytes, const uint8_t *data, uint32_t len_bytes);
        /* The window of notifications is at this guest address now, and decoded or not: queue q at base + 4 * q. */
        void (*notify_window)(void *ctx, uint64_t base, bool decoded);
        /* A notification that no ioeventfd took (PCI configuration access). */
        void (*notify)(void *ctx, unsigned int queue);
        /* MSI-X vector v has a new message, or none (masked or disabled), or MSI-X was enabled or disabled: route the
         * interrupts of the queues that use it. */
        void (*vector_changed)(void *ctx, unsigned int vector);
        /* Which vector a queue's interrupt goes to changed (VIRTIO_MSI_NO_VECTOR: none). */
        void (*queue_vector_changed)(void *ctx, unsigned int queue);
        /* Is an interrupt of this vector waiting to be sent while it is masked? (the pending bit array) */
        bool (*vector_pending)(void *ctx, unsigned int vector);
        /* Sends the message of a vector now: a change of configuration. */
        void (*vector_send)(void *ctx, unsigned int vector);
};

struct virtio_pci {
        struct pci_device pci;
        struct msix msix;
        uint16_t type; /* VIRTIO_ID_* */
        unsigned int queue_count, queue_size_max;
        uint64_t offered, negotiated; /* features */
        uint32_t offered_select, negotiated_select;
        uint16_t queue_select, config_vector;
        uint8_t status, generation, isr;
        bool started;   /* start() was called, and no reset is done since */
        bool stopping;  /* a reset waits for virtio_pci_stopped(); the guest's writes are ignored meanwhile */
        uint8_t window; /* offset of the PCI configuration access capability */
        uint8_t msix_capability;
        struct virtio_pci_queue queues[VIRTIO_PCI_QUEUES_MAX];
        uint32_t config_bytes;
        uint8_t config[VIRTIO_PCI_CONFIG_MAX]; /* device configuration as the guest reads it */
        const struct virtio_pci_ops *ops;
        void *ctx;
};

/*
 * offered: the features of the device; VERSION_1 is always offered, and of the transport's and the rings' features only
 * those that this transport knows. queue_size_max: a power of two. Then pci_add(&v->pci).
 */
void virtio_pci_init(struct virtio_pci *v, uint16_t type, uint64_t offered, unsigned int queues,
                     unsigned int queue_size_max, const uint8_t *config, uint32_t config_bytes,
                     const struct virtio_pci_ops *ops, void *ctx);

/*
 * The answers to start() and stop(). ok false: the device cannot run: DEVICE_NEEDS_RESET and a configuration interrupt;
 * a reset calls stop() then too. An answer that nobody waits for any more changes nothing.
 */
void virtio_pci_started(struct virtio_pci *v, bool ok);
void virtio_pci_stopped(struct virtio_pci *v);

/* The device cannot go on: DEVICE_NEEDS_RESET, and a configuration interrupt when DRIVER_OK is set. Not while no driver
 * has touched the device (status 0): it learns of it when it starts. */
void virtio_pci_needs_reset(struct virtio_pci *v);

/* New configuration space: generation, and an interrupt when DRIVER_OK is set. Its size stays; less is the start of it.
 */
void virtio_pci_config_changed(struct virtio_pci *v, const uint8_t *config, uint32_t config_bytes);
