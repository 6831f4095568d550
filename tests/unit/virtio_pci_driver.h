/* A driver of virtio over PCI, and a device that notes what it is told. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/pci/virtio_pci.h"

/* The specification's own numbers (virtio 1.2, 4.1.4.3, 2.1, 2.2, 5). */
#define DFSELECT   0x00
#define DF         0x04
#define GFSELECT   0x08
#define GF         0x0c
#define CVECTOR    0x10
#define NUMQ       0x12
#define DSTATUS    0x14
#define GENERATION 0x15
#define QSELECT    0x16
#define QSIZE      0x18
#define QVECTOR    0x1a
#define QENABLE    0x1c
#define QNOFF      0x1e
#define QDESC      0x20
#define QDRIVER    0x28
#define QDEVICE    0x30

#define ACK         1
#define DRIVER      2
#define DRIVER_OK   4
#define FEATURES_OK 8
#define NEEDS_RESET 0x40
#define FAILED      0x80

#define VERSION_1  (1ULL << 32)
#define EVENT_IDX  (1ULL << 29)
#define INDIRECT   (1ULL << 28)
#define PLATFORM   (1ULL << 33)
#define OWN        (1ULL << 9 | 1ULL << 50) /* of the device */
#define NO_VECTOR  0xffff
#define TYPE_BLOCK 2
#define TYPE_RNG   4
#define QUEUES     3
#define SIZE_MAX_  256
#define SLOT       5
#define CONFIG_LEN 60

extern struct pci_bus bus;
extern struct virtio_pci v;
extern uint8_t config[CONFIG_LEN];

struct told {
        unsigned int starts, stops, writes, windows, notifies, vectors, queue_vectors, sends;
        uint32_t write_off, write_len;
        uint8_t write_data[8];
        uint64_t window;
        bool window_decoded;
        unsigned int notified, vector, queue, sent;
        uint32_t pending; /* what vector_pending() answers */
};
extern struct told told;

uint64_t bar_base(unsigned int bar);
uint64_t mmio_get(uint64_t address, unsigned int width);
void mmio_set(uint64_t address, unsigned int width, uint64_t value);
uint64_t get(uint32_t off, unsigned int width);
void set(uint32_t off, unsigned int width, uint64_t value);
uint64_t config_get(uint32_t off, unsigned int width);
void config_set(uint32_t off, unsigned int width, uint64_t value);
void device_new(uint16_t type, uint64_t offered, uint32_t config_bytes);
int setup(void **state);
void status_is(uint8_t want);
void features_set(uint64_t features);
uint64_t features_get(uint32_t select, uint32_t word);
void negotiate(void);
void queue_set_up(unsigned int queue, uint16_t size);
void start(void);
uint32_t capability(uint8_t id, uint8_t kind);
uint64_t table_entry(unsigned int vector);
void msix_control(uint16_t value);
void vector_set_up(unsigned int vector);
