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

/* vCPU i is descriptor 64 + i: one mask comparison covers them all. */
#define VMM_FD_VCPU_FIRST 64
#define VMM_FD_VCPU_MASK  0xffffffc0
#define VMM_FD_LIMIT      128
