/* Virtual addresses: 0..4 GiB are the physical ones, and the GiB after that shows any other GiB. */
#pragma once

#include <stdint.h>

/* Where gpa can be accessed, up to the next multiple of 1 GiB. Above 4 GiB it moves the window: an address
 * from an earlier call is then valid only if it was in the same GiB. Boot processor only. */
void *paging_address(uint64_t gpa);
