/* What `bulkhead run` hands to bulkhead-supervisor through exec. */
#pragma once

#define SUPERVISOR_FD_SPEC 3 /* a memfd with struct guest_spec at offset 0 */
