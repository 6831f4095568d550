/* What the two halves of virtio_pci share: virtio_pci.c, the PCI function; virtio_pci_common.c, the common
 * configuration. */
#pragma once

#include "vmm/pci/virtio_pci.h"

#define COMMON_BYTES 56 /* virtio 1.2, 4.1.4.3, without the fields of features that are not offered */

/* Accesses to the common configuration; any offset and width. */
uint64_t virtio_pci_common_read(const struct virtio_pci *v, uint32_t off, unsigned int width);
void virtio_pci_common_write(struct virtio_pci *v, uint32_t off, unsigned int width, uint64_t value);

/* Everything that a reset resets. Vectors that change are told. */
void virtio_pci_reset(struct virtio_pci *v);

/* Sets the ISR bit and sends the configuration interrupt, or remembers it while its vector is masked. */
void virtio_pci_config_interrupt(struct virtio_pci *v);
