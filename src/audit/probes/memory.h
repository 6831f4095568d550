/* Checks of memory, which lie in several files. */
#pragma once

#include "audit/audit.h"

#define SHARED_LEAST (8ULL << 20) /* bytes: smaller mappings of a file are a program's own data, not a guest's */

enum dumpable { DUMPABLE_NO, DUMPABLE_YES, DUMPABLE_UNKNOWN };

/* probes/memory_reach.c */
enum dumpable memory_dumpable(const struct process *p);
uint32_t memory_uid(const struct process *p); /* effective, of the main thread; UINT32_MAX: not known */
/*
 * 1 when another guest has a thread with that uid, or with one of the capabilities (CAP_BIT) in the host's user
 * namespace, and none of these layers (LAYER_BITs) separates the two; 0 when none has; else why that is not known.
 */
int memory_neighbour(const struct audit *a, const struct guest *g, uint32_t uid, uint64_t caps, unsigned int layers);

/* probes/memory_ksm.c: merging of equal pages. */
void memory_ksm_host(struct audit *a);
void memory_ksm_guest(struct audit *a, struct guest *g);

/* probes/memory_pages.c: page frames. */
void memory_pfn_pairs(struct audit *a);

/* probes/memory_shared.c: files that two guests map. */
void memory_writable_pairs(struct audit *a);
void memory_readable_pairs(struct audit *a);

/* probes/memory_ram.c: who else can reach a guest's RAM. */
void memory_descriptor_guest(struct audit *a, struct guest *g);
void memory_seals_guest(struct audit *a, struct guest *g);

/* probes/memory_foreign.c: processes of others that have it. */
void memory_foreign_host(struct audit *a);
void memory_backend_pairs(struct audit *a);

/* probes/memory_disk.c: RAM that ends up on a disk, and RAM that fails. */
void memory_swap_host(struct audit *a);
void memory_core_guest(struct audit *a, struct guest *g);
void memory_ecc_host(struct audit *a);

/* probes/memory_inform.c: what is worth knowing. */
void memory_text_pairs(struct audit *a);
void memory_init_host(struct audit *a);
void memory_confidential_guest(struct audit *a, struct guest *g);
