/* Limits that C and assembly share. */
#pragma once

#define SMP_CPUS_MAX    64
#define SMP_APS_MAX     63
#define SMP_STACK_SHIFT 12 /* 4 KiB for each application processor */
