/* RAM behind the guest's image, handed out once and never taken back. Not zeroed. */
#pragma once

#include <stddef.h>

#include "boot.h"

/* Before the first heap_alloc(). */
void heap_init(const struct boot_info *boot);

/* align: a power of two. Below 4 GiB. Ends the guest with VERDICT_FAILED when there is no more. */
void *heap_alloc(size_t len, size_t align);
