/*
 * The machine around the vCPUs: RAM, the KVM virtual machine, the few devices that live in this process, and how it
 * stops. One lock guards the devices; vCPU threads and the main thread take it for the length of one register access.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "memory/guest_ram.h"
#include "spec/control.h"
#include "vmm/boot/boot.h"
#include "vmm/device/device.h"
#include "vmm/pci/pci.h"
#include "vmm/uart.h"
#include "vmm/x86_64/ioapic.h"

enum stop_state { STOP_NO, STOP_END, STOP_FAILED };

struct machine {
        struct guest_ram ram;
        unsigned int vcpus;
        bool test_device;
        size_t run_bytes;        /* of the page(s) that KVM shares with a vCPU */
        struct boot_entry entry; /* valid once loaded */
        bool with_devices;       /* threads get the filters that devices need */
        struct device *devices;  /* by number; each says which of its fields the lock guards */
        unsigned int device_count;
        bool ioeventfd_any_length; /* KVM takes a notification of any width */

        pthread_mutex_t
                creation;     /* one vCPU is made at a time; not the lock below, which would hold up the main thread */
        pthread_mutex_t lock; /* everything below */
        struct uart uart;
        struct ioapic ioapic;
        struct pci_bus pci;
        uint8_t pm_events; /* LAYOUT_PM_EVENTS, cleared by the guest's read */
        bool rx_waiting;   /* the main thread has no room for console input */
        bool tx_waiting;   /* the console socket was full */
        enum stop_state stop;
        enum control_reason reason; /* STOP_END */
        uint32_t verdict;
        struct err failure;  /* STOP_FAILED */
        unsigned int parked; /* vCPU threads that will not run guest code again */
        unsigned int ready;  /* threads that are done with starting and have the filter of their role */
        bool start_failed;   /* a vCPU could not be made */
        bool loaded;         /* the guest is in RAM: the boot processor's registers can be set */
        pthread_cond_t changed;
};

/* Everything at power-on. The VM descriptor (VMM_FD_VM) must exist before the guest runs. */
void machine_init(struct machine *m, unsigned int vcpus, bool test_device);

/* Guest I/O. port_read/write: width 1, 2 or 4; mmio: 1..8 bytes. Unclaimed addresses read all-ones and ignore writes.
 */
uint32_t machine_port_read(struct machine *m, uint16_t port, unsigned int width);
void machine_port_write(struct machine *m, uint16_t port, unsigned int width, uint32_t value);
void machine_mmio_read(struct machine *m, gpa_t address, uint8_t *data, unsigned int len);
void machine_mmio_write(struct machine *m, gpa_t address, const uint8_t *data, unsigned int len);

/* KVM reports an end of interrupt for a level-triggered vector. */
void machine_eoi(struct machine *m, uint8_t vector);

/* The operator presses the power button. */
void machine_power_button(struct machine *m);

/* Console side, called by the main thread. */
bool machine_console_wants_input(struct machine *m);
bool machine_console_has_output(struct machine *m);
void machine_console_input(struct machine *m, const uint8_t *data, size_t len);
void machine_console_flush(struct machine *m);
size_t machine_console_room(struct machine *m);

/* Ends the guest; the first reason stays. Callable from any thread, also with the lock held by a device (…_locked). */
void machine_end(struct machine *m, enum control_reason reason, uint32_t verdict);
void machine_end_locked(struct machine *m, enum control_reason reason, uint32_t verdict);
void machine_fail(struct machine *m, const struct err *e);
void machine_fail_locked(struct machine *m, const struct err *e);
bool machine_stopping(struct machine *m);

/* Makes the main thread look again. */
void machine_wake_main(void);
