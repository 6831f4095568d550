/*
 * ports: touches every I/O port and the whole PCI hole; what no device claims must read as all ones.
 *
 * - Every port, as the first of 1, 2 and 4 bytes: a read, a write of 0 and a write of ~0. Accesses that
 *   overlap a device are made too, windows' edges included, but their values are not checked. Left out are
 *   writes that would end the guest: all that overlap the test register, the sleep control or the reset
 *   register, except a byte of 0 to the latter two.
 * - Every page of the hole, at 1, 2, 4 and 8 bytes: a read and a write of ~0. The pages of the host bridge's
 *   configuration space, the I/O APIC, the local APIC and KVM itself are only read, and their values are not
 *   checked.
 * - Accesses across the edges of pages, of device windows, of RAM and of the hole.
 * - String instructions on ports and on memory.
 *
 * Options:  first=N   first port (decimal, default 0)
 *           last=N    last port (default 65535)
 *           step=N    every Nth port only (default 1)
 *           stride=N  every Nth page of the hole only (default 1; there are 262144)
 *           anyvalue  check no values: for machines with other devices
 * Prints:   ports: outsb                             before the scan; during it, bytes 0x00 and 0xff
 *           ports: PORT width N read VALUE           for the first wrong ones
 *           ports: memory ADDR width N read VALUE    the same
 *           ports: N port accesses, M memory accesses, W wrong
 * Verdicts: 0, 1 (a value was wrong)
 * Needs:    nothing of KVM; runs where ring 0 is emulated. Without options it makes 0.6 million port
 *           exits and 2.1 million memory exits: a minute or two there, with stride=64 some ten seconds.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/memory.h"
#include "lib/paging.h"
#include "lib/print.h"
#include "lib/uart.h"
#include "lib/verdict.h"
#include "vmm/x86_64/layout.h"

#define PORTS        0x10000U
#define PAGE         4096U
#define REPORTS_MAX  16
#define BUFFER_BYTES 64
#define FREE_PORT    0x2000 /* claimed by nothing */
#define FREE_PAGE    LAYOUT_HOLE_START

static bool check_values;
static uint64_t port_accesses, memory_accesses, wrong;

static bool overlaps(uint64_t start, uint64_t len, uint64_t window, uint64_t window_len)
{
        return start < window + window_len && window < start + len;
}

static uint64_t all_ones(unsigned int width)
{
        return ~0ULL >> (64 - 8 * width);
}

static void report(const char *what, uint64_t where, unsigned int width, uint64_t value)
{
        if (check_values && wrong++ < REPORTS_MAX)
                print("ports: %s0x%lx width %u read 0x%lx\n", what, where, width, value);
}

static inline void check(const char *what, uint64_t where, unsigned int width, uint64_t value, uint64_t expected)
{
        if (value != expected)
                report(what, where, width, value);
}

static uint32_t port_read(uint16_t port, unsigned int width)
{
        port_accesses++;
        return width == 1 ? inb(port) : width == 2 ? inw(port) : inl(port);
}

static void port_write(uint16_t port, unsigned int width, uint32_t value)
{
        port_accesses++;
        if (width == 1)
                outb(port, (uint8_t)value);
        else if (width == 2)
                outw(port, (uint16_t)value);
        else
                outl(port, value);
}

/* The port and those after it that a 4-byte access touches belong to nothing. */
static bool port_is_far_from_devices(uint64_t port)
{
        return !overlaps(port, 4, LAYOUT_UART_PORT, LAYOUT_UART_PORTS) &&
               !overlaps(port, 4, LAYOUT_PM_PORT, LAYOUT_PM_PORTS) &&
               !overlaps(port, 4, LAYOUT_PCI_PORT, LAYOUT_PCI_PORTS) &&
               !overlaps(port, 4, LAYOUT_TEST_PORT, LAYOUT_TEST_PORTS);
}

static bool may_write(uint32_t port, unsigned int width, uint32_t value)
{
        if (overlaps(port, width, LAYOUT_TEST_PORT, LAYOUT_TEST_PORTS))
                return false;
        if (overlaps(port, width, LAYOUT_PM_PORT + LAYOUT_PM_SLEEP_CTL, 1) ||
            overlaps(port, width, LAYOUT_PM_PORT + LAYOUT_PM_RESET, 1))
                return width == 1 && value == 0;
        return true;
}

static void test_port_near_device(uint16_t port, unsigned int width)
{
        (void)port_read(port, width);
        if (may_write(port, width, 0))
                port_write(port, width, 0);
        if (may_write(port, width, ~0U))
                port_write(port, width, ~0U);
}

/* Few instructions for each access: where ring 0 is emulated, they cost as much as the exit. */
static void test_free_port(uint16_t port)
{
        check("", port, 1, inb(port), 0xff);
        check("", port, 2, inw(port), 0xffff);
        check("", port, 4, inl(port), 0xffffffff);
        outb(port, 0);
        outw(port, 0);
        outl(port, 0);
        outb(port, 0xff);
        outw(port, 0xffff);
        outl(port, 0xffffffff);
        port_accesses += 9;
}

static void test_ports(uint64_t first, uint64_t last, uint64_t step)
{
        for (uint64_t port = first; port <= last && port < PORTS; port += step) {
                if (port_is_far_from_devices(port)) {
                        test_free_port((uint16_t)port);
                        continue;
                }
                for (unsigned int width = 1; width <= 4; width *= 2)
                        test_port_near_device((uint16_t)port, width);
        }
        uart_init(); /* its registers hold what the scan wrote */
}

static uint64_t memory_read(uint64_t address, unsigned int width)
{
        const volatile void *p = (const volatile void *)address;

        memory_accesses++;
        switch (width) {
        case 1:
                return *(const volatile uint8_t *)p;
        case 2:
                return *(const volatile uint16_t *)p;
        case 4:
                return *(const volatile uint32_t *)p;
        default:
                return *(const volatile uint64_t *)p;
        }
}

static void memory_write(uint64_t address, unsigned int width, uint64_t value)
{
        volatile void *p = (volatile void *)address;

        memory_accesses++;
        switch (width) {
        case 1:
                *(volatile uint8_t *)p = (uint8_t)value;
                break;
        case 2:
                *(volatile uint16_t *)p = (uint16_t)value;
                break;
        case 4:
                *(volatile uint32_t *)p = (uint32_t)value;
                break;
        default:
                *(volatile uint64_t *)p = value;
        }
}

static bool memory_is_claimed(uint64_t address, unsigned int width)
{
        return overlaps(address, width, LAYOUT_ECAM, PAGE) ||
               overlaps(address, width, LAYOUT_IOAPIC, LAYOUT_IOAPIC_SIZE) ||
               overlaps(address, width, LAYOUT_LAPIC, PAGE) ||
               overlaps(address, width, LAYOUT_IDENTITY_MAP, 4ULL * PAGE); /* and the TSS after it */
}

static void test_memory(uint64_t address, unsigned int width)
{
        uint64_t value = memory_read(address, width);

        if (memory_is_claimed(address, width))
                return;
        check("memory ", address, width, value, all_ones(width));
        memory_write(address, width, ~0ULL);
}

/* As test_memory() at each width, with few instructions. */
static void test_free_page(uint64_t page)
{
        check("memory ", page, 1, *(volatile uint8_t *)page, 0xff);
        check("memory ", page, 2, *(volatile uint16_t *)page, 0xffff);
        check("memory ", page, 4, *(volatile uint32_t *)page, 0xffffffff);
        check("memory ", page, 8, *(volatile uint64_t *)page, ~0ULL);
        *(volatile uint8_t *)page = 0xff;
        *(volatile uint16_t *)page = 0xffff;
        *(volatile uint32_t *)page = 0xffffffff;
        *(volatile uint64_t *)page = ~0ULL;
        memory_accesses += 8;
}

static void test_hole(uint64_t step)
{
        for (uint64_t page = LAYOUT_HOLE_START; page < LAYOUT_HOLE_END; page += step) {
                if (!memory_is_claimed(page, PAGE)) {
                        test_free_page(page);
                        continue;
                }
                for (unsigned int width = 1; width <= 8; width *= 2)
                        test_memory(page, width);
        }
}

/* Every access of 2, 4 and 8 bytes that crosses the edge; it must lie within the hole. */
static void test_edge(uint64_t edge)
{
        for (unsigned int width = 2; width <= 8; width *= 2) {
                for (unsigned int before = 1; before < width; before++)
                        test_memory(edge - before, width);
        }
}

static void test_hole_edges(void)
{
        static const uint64_t edges[] = {
                FREE_PAGE + PAGE,  LAYOUT_ECAM + PAGE,    LAYOUT_ECAM + LAYOUT_ECAM_SIZE,
                LAYOUT_PCI_WINDOW, LAYOUT_IOAPIC,         LAYOUT_IOAPIC + LAYOUT_IOAPIC_SIZE,
                LAYOUT_LAPIC,      LAYOUT_LAPIC + PAGE,   LAYOUT_IDENTITY_MAP,
                LAYOUT_TSS,        LAYOUT_TSS + 3 * PAGE,
        };

        for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
                test_edge(edges[i]);
        for (unsigned int width = 1; width <= 8; width *= 2) {
                test_memory(LAYOUT_HOLE_START, width);
                test_memory(LAYOUT_HOLE_START + 1, width);
                test_memory(LAYOUT_HOLE_END - width, width);
        }
        /* From the hole into what is at 4 GiB; only the half in the hole is known to be nobody's. */
        (void)paging_address(LAYOUT_HOLE_END);
        check("memory ", LAYOUT_HOLE_END - 4, 8, memory_read(LAYOUT_HOLE_END - 4, 8) & 0xffffffff, 0xffffffff);
}

static uint64_t end_of_low_ram(const struct boot_info *boot)
{
        uint64_t end = 0;

        for (unsigned int i = 0; i < boot->memmap_entries; i++) {
                const struct boot_memmap_entry *m = &boot->memmap[i];

                if (m->type == BOOT_MEMMAP_RAM && m->addr + m->size <= LAYOUT_HOLE_START && m->addr + m->size > end)
                        end = m->addr + m->size;
        }
        return end;
}

/* Half of the access is RAM, half is nothing. */
static void test_end_of_ram(uint64_t end)
{
        uint64_t value;

        memory_write(end - 4, 4, 0x12345678);
        value = memory_read(end - 4, 8);
        check("memory ", end - 4, 8, value, 0xffffffff12345678);
        memory_write(end - 4, 8, 0xaaaaaaaa9abcdef0);
        value = memory_read(end - 4, 4);
        check("memory ", end - 4, 4, value, 0x9abcdef0);
}

static void test_port_strings(void)
{
        static const char text[] = "ports: outsb\n"; /* fits the UART's FIFO, which is empty now */
        uint8_t buffer[BUFFER_BYTES];
        const void *from = text;
        void *to = buffer;
        uint64_t count = sizeof(text) - 1;

        __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(LAYOUT_UART_PORT) : "memory");
        from = buffer;
        count = sizeof(buffer) / 4;
        __asm__ volatile("rep outsl" : "+S"(from), "+c"(count) : "d"(FREE_PORT) : "memory");
        memset(buffer, 0, sizeof(buffer));
        count = sizeof(buffer);
        __asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(FREE_PORT) : "memory");
        for (unsigned int i = 0; i < sizeof(buffer); i++)
                check("", FREE_PORT, 1, buffer[i], 0xff);
        port_accesses += sizeof(text) - 1 + sizeof(buffer) / 4 + sizeof(buffer);
}

static void test_memory_strings(void)
{
        uint8_t buffer[BUFFER_BYTES];
        const void *from = (const void *)FREE_PAGE;
        void *to = buffer;
        uint64_t count = sizeof(buffer);

        memset(buffer, 0, sizeof(buffer));
        __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
        for (unsigned int i = 0; i < sizeof(buffer); i++)
                check("memory ", FREE_PAGE + i, 1, buffer[i], 0xff);
        from = buffer;
        to = (void *)(FREE_PAGE + PAGE - BUFFER_BYTES / 2); /* half of it behind the page's end */
        count = sizeof(buffer) / 4;
        __asm__ volatile("rep movsl" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
        memory_accesses += sizeof(buffer) + sizeof(buffer) / 4;
}

unsigned int guest_main(const struct boot_info *boot)
{
        uint64_t step = boot_option_number(boot, "step", 1), stride = boot_option_number(boot, "stride", 1);

        check_values = !boot_option(boot, "anyvalue");
        test_port_strings();
        test_ports(boot_option_number(boot, "first", 0), boot_option_number(boot, "last", PORTS - 1), step ? step : 1);
        test_hole((stride ? stride : 1) * PAGE);
        test_hole_edges();
        test_memory_strings();
        test_end_of_ram(end_of_low_ram(boot));
        print("ports: %lu port accesses, %lu memory accesses, %lu wrong\n", port_accesses, memory_accesses, wrong);
        return wrong ? VERDICT_FAILED : VERDICT_PASSED;
}
