/* One instruction each: what C cannot say. */
#pragma once

#include <stdint.h>

static inline uint8_t inb(uint16_t port)
{
        uint8_t value;

        __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
        return value;
}

static inline uint16_t inw(uint16_t port)
{
        uint16_t value;

        __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
        return value;
}

static inline uint32_t inl(uint16_t port)
{
        uint32_t value;

        __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
        return value;
}

static inline void outb(uint16_t port, uint8_t value)
{
        __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t value)
{
        __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t value)
{
        __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

/* Device registers. */
static inline uint8_t mmio_read8(uint64_t address)
{
        uint8_t value;

        __asm__ volatile("movb (%1), %0" : "=q"(value) : "r"(address) : "memory");
        return value;
}

static inline void mmio_write8(uint64_t address, uint8_t value)
{
        __asm__ volatile("movb %0, (%1)" : : "q"(value), "r"(address) : "memory");
}

static inline uint16_t mmio_read16(uint64_t address)
{
        uint16_t value;

        __asm__ volatile("movw (%1), %0" : "=r"(value) : "r"(address) : "memory");
        return value;
}

static inline void mmio_write16(uint64_t address, uint16_t value)
{
        __asm__ volatile("movw %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline uint64_t mmio_read64(uint64_t address)
{
        uint64_t value;

        __asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(address) : "memory");
        return value;
}

static inline void mmio_write64(uint64_t address, uint64_t value)
{
        __asm__ volatile("movq %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline uint32_t mmio_read32(uint64_t address)
{
        uint32_t value;

        __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
        return value;
}

static inline void mmio_write32(uint64_t address, uint32_t value)
{
        __asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline uint64_t rdmsr(uint32_t index)
{
        uint32_t low, high;

        __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index) : "memory");
        return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t index, uint64_t value)
{
        __asm__ volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static inline uint64_t rdtsc(void)
{
        uint32_t low, high;

        __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
        return (uint64_t)high << 32 | low;
}

struct cpuid_regs {
        uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(uint32_t leaf, uint32_t subleaf)
{
        struct cpuid_regs r;

        __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
        return r;
}

/* Orders earlier stores before later loads. */
static inline void cpu_fence(void)
{
        __asm__ volatile("mfence" : : : "memory");
}

static inline void cpu_pause(void)
{
        __asm__ volatile("pause" : : : "memory");
}

static inline void cpu_interrupts_on(void)
{
        __asm__ volatile("sti" : : : "memory");
}

static inline void cpu_interrupts_off(void)
{
        __asm__ volatile("cli" : : : "memory");
}

/* Waits for one interrupt, takes it, and leaves interrupts off. One that is already pending ends the wait:
 * sti takes effect after hlt has started. */
static inline void cpu_wait_for_interrupt(void)
{
        __asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline _Noreturn void cpu_halt_forever(void)
{
        for (;;)
                __asm__ volatile("cli; hlt" : : : "memory");
}

/* An exception with no way to deliver it, nor the double fault that follows. */
static inline _Noreturn void cpu_triple_fault(void)
{
        static const struct __attribute__((packed)) {
                uint16_t limit;
                uint64_t base;
        } empty_idt;

        __asm__ volatile("lidt %0; ud2" : : "m"(empty_idt));
        __builtin_unreachable();
}
