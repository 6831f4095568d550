/*
 * cpuid_template: what a guest of this host should see of the processor, for comparison with what guests/cpuid.c
 * finds. It makes the tables with the VMM's own code, from this host's KVM.
 *
 *   cpuid_template host|baseline VCPUS
 *
 * Prints:  cpuid LEAF SUBLEAF EAX EBX ECX EDX    the table of vCPU 0; eight hexadecimal digits each
 *          msr FIRST LAST r|w|rw NAME            the rows of the MSR filter
 */
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/x86_64/cpuid.h"
#include "vmm/x86_64/msr.h"

static void print_cpuid(enum cpu_model model, unsigned int vcpus)
{
        static struct cpuid_table supported = {.head.nent = CPUID_ENTRIES_MAX}, table;
        struct err e = ERR_INIT;
        int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

        if (kvm < 0)
                err(EXIT_FAILURE, "/dev/kvm");
        if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &supported.head) < 0)
                err(EXIT_FAILURE, "KVM_GET_SUPPORTED_CPUID");
        if (cpuid_build(model, &supported, vcpus, &table, &e) < 0)
                errx((int)e.status, "%s", e.text);
        cpuid_for_vcpu(&table, 0);
        for (uint32_t i = 0; i < table.head.nent; i++) {
                const struct kvm_cpuid_entry2 *c = &table.entries[i];

                printf("cpuid %08x %08x %08x %08x %08x %08x\n", c->function, c->index, c->eax, c->ebx, c->ecx, c->edx);
        }
}

static void print_msrs(void)
{
        static const char *const access[] = {[MSR_READ] = "r", [MSR_WRITE] = "w", [MSR_READ | MSR_WRITE] = "rw"};

        for (size_t i = 0; i < msr_template_count; i++) {
                const struct msr_range *row = &msr_template[i];

                printf("msr %08x %08x %s %s\n", row->first, row->last, access[row->access], row->name);
        }
}

int main(int argc, char *argv[])
{
        bool baseline = argc == 3 && strcmp(argv[1], "baseline") == 0;
        unsigned long vcpus = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

        if (argc != 3 || (!baseline && strcmp(argv[1], "host") != 0) || vcpus < 1 || vcpus > SPEC_VCPUS_MAX)
                errx(2, "usage: cpuid_template host|baseline VCPUS");
        print_cpuid(baseline ? CPU_BASELINE : CPU_HOST, (unsigned int)vcpus);
        print_msrs();
        return EXIT_SUCCESS;
}
