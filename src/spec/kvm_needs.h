/* What bulkhead needs of KVM: one table, used by the VMM to refuse and by doctor to explain. */
#pragma once

#include <stddef.h>

struct kvm_need {
        int cap; /* KVM_CAP_* */
        const char *name;
        const char *why;
};

extern const struct kvm_need kvm_needs[];
extern const size_t kvm_needs_count;

/* Does the KVM behind kvm_fd (/dev/kvm) have it? */
int kvm_need_met(int kvm_fd, const struct kvm_need *need);
