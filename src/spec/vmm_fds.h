/*
 * Descriptor numbers of bulkhead-vmm, fixed so that its system-call filters can name them. Plain integers only: the
 * policy compiler reads this file.
 */
#pragma once

#define VMM_FD_CONTROL 3
#define VMM_FD_CONSOLE 4

/* Setup only; closed before READY. */
#define VMM_FD_KVM    5
#define VMM_FD_KERNEL 6
#define VMM_FD_INITRD 7

/* Made by the VMM. */
#define VMM_FD_VM   8
#define VMM_FD_WAKE 9

/* Kept only by a guest with devices: they get it from here. */
#define VMM_FD_RAM 10

/* vCPU i is descriptor 64 + i: one mask comparison covers them all. */
#define VMM_FD_VCPU_FIRST 64
#define VMM_FD_VCPU_MASK  0xffffffc0

/* Device i: its vhost-user socket, its channel for the back end's own requests, its in-flight region. */
#define VMM_DEVICES_MAX       16
#define VMM_FD_DEVICE_FIRST   128
#define VMM_FD_REQUEST_FIRST  144
#define VMM_FD_INFLIGHT_FIRST 160
#define VMM_FD_DEVICE_MASK    0xfffffff0

/* What the VMM receives or makes has a number below 64 until it is moved to its own. */
#define VMM_FD_NEW_MASK 0xffffffc0

/* Eventfds: queue q of device i notifies by 256 + 16 * i + q and interrupts by 512 + 16 * i + q. */
#define VMM_FD_KICK_FIRST 256
#define VMM_FD_KICK_MASK  0xffffff00
#define VMM_FD_CALL_FIRST 512
#define VMM_FD_CALL_MASK  0xffffff00
#define VMM_FD_LIMIT      768
#define VMM_FD_LIMIT_BARE 128 /* of a guest without devices */
