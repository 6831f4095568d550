#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vmm/pci/pci.h"

#define COMMAND 0x04
#define STATUS  0x06
#define BAR0    0x10
#define BAR2    0x18

#define MEMORY 2U
#define MASTER 4U

/* A function that keeps account of what it is told. */
struct toy {
        struct pci_device dev;
        struct {
                unsigned int bar;
                uint64_t base;
                bool decoded;
        } moves[16];
        unsigned int move_count;
        unsigned int bar, width, accesses;
        uint32_t off;
        uint64_t value;
        unsigned int readings, writings;
        uint32_t config_off;
        unsigned int config_width;
};

static uint64_t toy_bar_read(void *ctx, unsigned int bar, uint32_t off, unsigned int width)
{
        struct toy *t = ctx;

        t->bar = bar;
        t->off = off;
        t->width = width;
        t->accesses++;
        return 0x8877665544332211ULL;
}

static void toy_bar_write(void *ctx, unsigned int bar, uint32_t off, unsigned int width, uint64_t value)
{
        struct toy *t = ctx;

        (void)toy_bar_read(ctx, bar, off, width);
        t->value = value;
}

static void toy_config_reading(void *ctx, uint32_t off, unsigned int width)
{
        struct toy *t = ctx;

        t->readings++;
        t->config_off = off;
        t->config_width = width;
}

static void toy_config_written(void *ctx, uint32_t off, unsigned int width)
{
        struct toy *t = ctx;

        t->writings++;
        t->config_off = off;
        t->config_width = width;
}

static void toy_bar_moved(void *ctx, unsigned int bar, uint64_t base, bool decoded)
{
        struct toy *t = ctx;

        assert_true(t->move_count < ARRAY_LEN(t->moves));
        assert_true(t->dev.bars[bar].decoded == decoded);
        t->moves[t->move_count].bar = bar;
        t->moves[t->move_count].base = base;
        t->moves[t->move_count++].decoded = decoded;
}

static const struct pci_device_ops toy_ops = {
        .bar_read = toy_bar_read,
        .bar_write = toy_bar_write,
        .config_reading = toy_config_reading,
        .config_written = toy_config_written,
        .bar_moved = toy_bar_moved,
};

static struct pci_bus bus;
static struct toy a, b;

static void toy_init(struct toy *t, uint32_t bar0, uint32_t bar2)
{
        *t = (struct toy){.dev = {.ops = &toy_ops, .ctx = t}};
        t->dev.config[0] = 0xf4;
        t->dev.config[1] = 0x1a;
        t->dev.config[2] = 0x42;
        t->dev.config[3] = 0x10;
        t->dev.bars[0].size_bytes = bar0;
        t->dev.bars[1].size_bytes = bar2;
}

static int setup(void **state)
{
        pci_init(&bus);
        toy_init(&a, 0x4000, 0x1000);
        toy_init(&b, 0x10000, 0);
        return pci_add(&bus, &a.dev, 1) < 0 || pci_add(&bus, &b.dev, 31) < 0;
}

static void select_register(unsigned int number, unsigned int slot, unsigned int function, uint32_t off)
{
        pci_port_write(&bus, 0xcf8, 4, 0x80000000U | number << 16 | slot << 11 | function << 8 | (off & 0xfc));
}

static uint32_t port_get(unsigned int slot, uint32_t off, unsigned int width)
{
        select_register(0, slot, 0, off);
        return pci_port_read(&bus, (uint16_t)(0xcfc + off % 4), width);
}

static void port_set(unsigned int slot, uint32_t off, unsigned int width, uint32_t value)
{
        select_register(0, slot, 0, off);
        pci_port_write(&bus, (uint16_t)(0xcfc + off % 4), width, value);
}

static uint64_t ecam(unsigned int slot, unsigned int function, uint32_t off)
{
        return LAYOUT_ECAM + (slot << 15 | function << 12 | off);
}

static uint64_t ecam_get(uint64_t address, unsigned int width)
{
        uint64_t value = 0;

        assert_true(pci_mmio_read(&bus, address, (uint8_t *)&value, width));
        return value;
}

static void ecam_set(uint64_t address, unsigned int width, uint64_t value)
{
        assert_true(pci_mmio_write(&bus, address, (const uint8_t *)&value, width));
}

static uint64_t ones(unsigned int width)
{
        return width == 8 ? UINT64_MAX : (1ULL << (8 * width)) - 1;
}

static void bar_set(unsigned int slot, uint32_t reg, uint64_t base)
{
        port_set(slot, reg, 4, (uint32_t)base);
        port_set(slot, reg + 4, 4, (uint32_t)(base >> 32));
}

static void move_is(const struct toy *t, unsigned int n, unsigned int bar, uint64_t base, bool decoded)
{
        assert_true(n < t->move_count);
        assert_int_equal(t->moves[n].bar, bar);
        assert_true(t->moves[n].base == base);
        assert_true(t->moves[n].decoded == decoded);
}

/* ---- configuration space ---- */

static void a_host_bridge_is_there(void **state)
{
        assert_int_equal(port_get(0, 0, 4), 0x00081b36);
        assert_int_equal(port_get(0, 8, 4), 0x06000000);
        assert_int_equal(port_get(0, 0x0c, 4), 0); /* header type 0, one function */
        for (uint32_t off = 0; off < 256; off += 4) {
                uint32_t before = port_get(0, off, 4);

                port_set(0, off, 4, ~before);
                assert_int_equal(port_get(0, off, 4), before);
        }
        assert_int_equal(port_get(0, STATUS, 2), 0); /* no capabilities */
}

static void ports_and_ecam_show_the_same(void **state)
{
        for (uint32_t off = 0; off < 256; off++) {
                a.dev.config[off] = (uint8_t)(off ^ 0x5a);
        }
        for (unsigned int width = 1; width <= 4; width *= 2)
                for (uint32_t off = 0; off + width <= 256; off++) {
                        uint32_t want = 0;

                        memcpy(&want, a.dev.config + off, width);
                        assert_int_equal(ecam_get(ecam(1, 0, off), width), want);
                        if (off % 4 + width <= 4)
                                assert_int_equal(port_get(1, off, width), want);
                }
}

/* Mechanism #1 knows no double word that its ports do not hold. */
static void a_data_port_ends(void **state)
{
        port_set(1, 0x3c, 4, 0);
        for (uint16_t port = 0xcfc; port < 0xd00; port++)
                for (unsigned int width = 1; width <= 4; width *= 2) {
                        select_register(0, 1, 0, 0x3c);
                        if (port + width <= 0xd00)
                                continue;
                        assert_int_equal(pci_port_read(&bus, port, width), ones(width));
                        pci_port_write(&bus, port, width, 0xffffffff);
                }
        assert_int_equal(port_get(1, 0x3c, 4), 0);
        port_set(1, 0x3c, 1, 0x77); /* interrupt line: can be written, by the byte too */
        assert_int_equal(port_get(1, 0x3c, 4), 0x77);
}

static void the_address_port_is_a_double_word(void **state)
{
        pci_port_write(&bus, 0xcf8, 4, 0xffffffff);
        assert_int_equal(pci_port_read(&bus, 0xcf8, 4), 0x80fffffc);
        for (uint16_t port = 0xcf8; port < 0xcfc; port++)
                for (unsigned int width = 1; width <= 4; width *= 2) {
                        if (port == 0xcf8 && width == 4)
                                continue;
                        pci_port_write(&bus, port, width, 0);
                        assert_int_equal(pci_port_read(&bus, port, width), ones(width));
                }
        assert_int_equal(pci_port_read(&bus, 0xcf8, 4), 0x80fffffc);
        /* Without the enable bit there is no configuration space. */
        pci_port_write(&bus, 0xcf8, 4, 1 << 11);
        assert_int_equal(pci_port_read(&bus, 0xcfc, 4), 0xffffffff);
        assert_int_equal(pci_port_read(&bus, 0xcfc, 1), 0xff);
        pci_port_write(&bus, 0xcf8, 4, 1 << 11 | 0x3c);
        pci_port_write(&bus, 0xcfc, 1, 0x55);
        assert_int_equal(port_get(1, 0x3c, 1), 0);
}

static void nobody_is_elsewhere(void **state)
{
        for (unsigned int slot = 0; slot < 32; slot++)
                for (unsigned int function = 0; function < 8; function++) {
                        bool there = function == 0 && (slot == 0 || slot == 1 || slot == 31);

                        select_register(0, slot, function, 0);
                        assert_true((pci_port_read(&bus, 0xcfc, 4) != 0xffffffff) == there);
                        for (unsigned int width = 1; width <= 8; width *= 2)
                                assert_true((ecam_get(ecam(slot, function, 0x40), width) != ones(width)) == there);
                        assert_true((ecam_get(ecam(slot, function, 0x100), 4) == 0) == there);
                        if (!there)
                                ecam_set(ecam(slot, function, 0x3c), 8, 0x1111111111111111);
                }
        for (unsigned int number = 1; number < 256; number++) {
                select_register(number, 1, 0, 0);
                assert_int_equal(pci_port_read(&bus, 0xcfc, 4), 0xffffffff);
                pci_port_write(&bus, 0xcfc, 4, 0);
        }
        assert_int_equal(port_get(1, 0x3c, 1), 0);
        assert_int_equal(a.writings + b.writings, 0);
}

static void ecam_edges(void **state)
{
        uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};

        /* past what a function has */
        for (uint32_t off = 0x100; off < 0x1000; off += 8) {
                ecam_set(ecam(1, 0, off), 8, UINT64_MAX);
                assert_true(ecam_get(ecam(1, 0, off), 8) == 0);
        }
        /* over the end of it, of the function, and of the ECAM */
        a.dev.config[0xff] = 0x99;
        assert_true(ecam_get(ecam(1, 0, 0xfc), 8) == 0x99000000);
        assert_true(ecam_get(ecam(1, 0, 0xffc), 8) == 0xffffffff00000000ULL);
        assert_true(ecam_get(ecam(0, 7, 0xffc), 8) == 0x10421af4ffffffffULL);
        assert_true(ecam_get(LAYOUT_ECAM + LAYOUT_ECAM_SIZE - 4, 8) == UINT64_MAX);
        ecam_set(LAYOUT_ECAM + LAYOUT_ECAM_SIZE - 4, 8, 0);
        assert_false(pci_mmio_read(&bus, LAYOUT_ECAM + (uint64_t)LAYOUT_ECAM_SIZE, data, 4));
        assert_false(pci_mmio_read(&bus, LAYOUT_ECAM - 1ULL, data, 8));
        assert_false(pci_mmio_write(&bus, LAYOUT_ECAM - 1ULL, data, 8));
        assert_memory_equal(data, "\1\2\3\4\5\6\7\10", 8); /* untouched */
}

/* An access is told of in pieces that lie in one double word. */
static void config_hooks(void **state)
{
        (void)ecam_get(ecam(1, 0, 0x42), 8);
        assert_int_equal(a.readings, 3);
        assert_int_equal(a.config_off, 0x48);
        assert_int_equal(a.config_width, 2);
        ecam_set(ecam(1, 0, 0x43), 2, 0);
        assert_int_equal(a.writings, 2);
        assert_int_equal(a.config_off, 0x44);
        assert_int_equal(a.config_width, 1);
        (void)port_get(1, 0x62, 2);
        assert_int_equal(a.readings, 4);
        assert_int_equal(a.config_off, 0x62);
        assert_int_equal(a.config_width, 2);
        (void)ecam_get(ecam(1, 0, 0x100), 4);
        assert_int_equal(a.readings, 4);
}

static void only_what_may_change_changes(void **state)
{
        for (uint32_t off = 0; off < 256; off += 4) {
                uint32_t before = port_get(1, off, 4), want = before;

                port_set(1, off, 4, ~before);
                if (off == COMMAND)
                        want ^= 0x406; /* memory space, bus master, interrupt disable */
                else if (off == 0x0c || off == 0x3c)
                        want ^= 0xff; /* cache line size, interrupt line */
                else if (off == BAR0)
                        want ^= 0xffffc000;
                else if (off == BAR2)
                        want ^= 0xfffff000;
                else if (off == BAR0 + 4 || off == BAR2 + 4)
                        want ^= 0xffffffff;
                assert_int_equal(port_get(1, off, 4), want);
        }
        assert_int_equal(port_get(1, 0x3d, 1), 0); /* no interrupt pin */
}

static void capabilities_are_a_list(void **state)
{
        static const uint8_t body[] = {1, 2, 3, 4, 5};
        struct toy t;
        uint8_t first, second;

        toy_init(&t, 0, 0);
        assert_int_equal(t.dev.config[0x34], 0);
        first = pci_capability_add(&t.dev, 9, body, sizeof(body));
        assert_int_equal(first, 0x40);
        assert_int_equal(t.dev.config[STATUS], 0x10);
        assert_int_equal(t.dev.config[0x34], first);
        assert_memory_equal(t.dev.config + first, "\11\0\1\2\3\4\5", 7);
        second = pci_capability_add(&t.dev, 0x11, body, 2);
        assert_int_equal(second, 0x48); /* a double word's start */
        assert_int_equal(t.dev.config[first + 1], second);
        assert_memory_equal(t.dev.config + second, "\21\0\1\2\0", 5);
        assert_int_equal(pci_capability_add(&t.dev, 9, body, 4), 0x4c);
        assert_int_equal(t.dev.config[second + 1], 0x4c);
        assert_int_equal(t.dev.config[0x34], first);
}

/* ---- BARs ---- */

static void bars_have_places(void **state)
{
        assert_int_equal(port_get(1, BAR0, 4), LAYOUT_PCI_WINDOW | 4);
        assert_int_equal(port_get(1, BAR0 + 4, 4), 0);
        assert_int_equal(port_get(1, BAR2, 4), (LAYOUT_PCI_WINDOW + 0x4000) | 4);
        assert_int_equal(port_get(31, BAR0, 4), (LAYOUT_PCI_WINDOW + 0x10000) | 4); /* aligned */
        assert_int_equal(port_get(31, BAR2, 4), 0);
        port_set(31, BAR2, 4, 0xffffffff); /* not implemented */
        assert_int_equal(port_get(31, BAR2, 4), 0);
        for (unsigned int i = 0; i < PCI_BARS_MAX; i++)
                assert_false(a.dev.bars[i].decoded);
        assert_int_equal(a.move_count + b.move_count, 0);
}

static void places_run_out(void **state)
{
        struct toy big, rest;

        toy_init(&big, LAYOUT_PCI_WINDOW_SIZE, 0);
        assert_int_equal(pci_add(&bus, &big.dev, 2), -ENOSPC);
        assert_int_equal(port_get(2, 0, 4), 0xffffffff);
        toy_init(&big, LAYOUT_PCI_WINDOW_SIZE / 2, 0x1000);
        assert_int_equal(pci_add(&bus, &big.dev, 2), 0);
        assert_int_equal(port_get(2, BAR0, 4), (LAYOUT_PCI_WINDOW + LAYOUT_PCI_WINDOW_SIZE / 2) | 4);
        assert_int_equal(port_get(2, BAR2, 4), (LAYOUT_PCI_WINDOW + 0x5000) | 4); /* the first gap */
        toy_init(&rest, 0x1000, LAYOUT_PCI_WINDOW_SIZE / 2);
        assert_int_equal(pci_add(&bus, &rest.dev, 3), -ENOSPC);
        assert_int_equal(port_get(3, 0, 4), 0xffffffff);
        assert_int_equal(pci_add(&bus, &rest.dev, 0), -EEXIST);
        assert_int_equal(pci_add(&bus, &rest.dev, 1), -EEXIST);
        assert_int_equal(pci_add(&bus, &rest.dev, 32), -ENOSPC);
}

static void every_slot_can_be_taken(void **state)
{
        static struct toy many[PCI_SLOTS];

        pci_init(&bus);
        for (unsigned int slot = 1; slot < PCI_SLOTS; slot++) {
                toy_init(&many[slot], 0x4000, 0x1000);
                assert_int_equal(pci_add(&bus, &many[slot].dev, slot), 0);
                port_set(slot, COMMAND, 2, MEMORY);
                assert_int_equal(many[slot].move_count, 2);
        }
}

static void sizes_are_found_out(void **state)
{
        port_set(1, COMMAND, 2, MEMORY);
        port_set(1, BAR0, 4, 0xffffffff);
        port_set(1, BAR0 + 4, 4, 0xffffffff);
        assert_int_equal(port_get(1, BAR0, 4), 0xffffc004);
        assert_int_equal(port_get(1, BAR0 + 4, 4), 0xffffffff);
        bar_set(1, BAR0, LAYOUT_PCI_WINDOW);
        assert_int_equal(port_get(1, BAR0, 4), LAYOUT_PCI_WINDOW | 4);
        assert_true(a.dev.bars[0].decoded);
        /* there, gone (told where it was), there again; BAR 2 is not touched */
        assert_int_equal(a.move_count, 4);
        move_is(&a, 0, 0, LAYOUT_PCI_WINDOW, true);
        move_is(&a, 1, 1, LAYOUT_PCI_WINDOW + 0x4000, true);
        move_is(&a, 2, 0, LAYOUT_PCI_WINDOW, false);
        move_is(&a, 3, 0, LAYOUT_PCI_WINDOW, true);
}

static void memory_space_gates(void **state)
{
        uint8_t data[8];

        assert_false(pci_mmio_read(&bus, LAYOUT_PCI_WINDOW, data, 4));
        port_set(1, COMMAND, 2, MASTER);
        assert_true(pci_is_bus_master(&a.dev));
        assert_int_equal(a.move_count, 0);
        port_set(1, COMMAND, 2, MEMORY);
        assert_false(pci_is_bus_master(&a.dev));
        assert_int_equal(a.move_count, 2);
        port_set(1, COMMAND, 2, MEMORY); /* nothing new */
        assert_int_equal(a.move_count, 2);
        assert_true(pci_mmio_read(&bus, LAYOUT_PCI_WINDOW, data, 4));
        port_set(1, COMMAND, 1, 0);
        assert_int_equal(a.move_count, 4);
        move_is(&a, 2, 0, LAYOUT_PCI_WINDOW, false);
        move_is(&a, 3, 1, LAYOUT_PCI_WINDOW + 0x4000, false);
        assert_false(pci_mmio_read(&bus, LAYOUT_PCI_WINDOW, data, 4));
        assert_int_equal(b.move_count, 0);
}

static void bar_accesses(void **state)
{
        uint64_t value = 0;

        port_set(1, COMMAND, 2, MEMORY);
        for (unsigned int len = 1; len <= 8; len++) {
                bool regular = len == 1 || len == 2 || len == 4 || len == 8;
                uint8_t out[8] = {1, 2, 3, 4, 5, 6, 7, 8};

                a.accesses = 0;
                value = UINT64_MAX;
                assert_true(pci_mmio_read(&bus, LAYOUT_PCI_WINDOW + 0x4003, (uint8_t *)&value, len));
                assert_int_equal(a.accesses, regular);
                if (regular) {
                        assert_int_equal(a.bar, 1);
                        assert_int_equal(a.off, 3);
                        assert_int_equal(a.width, len);
                        assert_true((value & ones(len)) == (0x8877665544332211ULL & ones(len)));
                } else {
                        assert_true((value & ones(len)) == 0);
                }
                if (len < 8)
                        assert_true(value >> (8 * len) == UINT64_MAX >> (8 * len)); /* not beyond */
                assert_true(pci_mmio_write(&bus, LAYOUT_PCI_WINDOW + 0x3ff8, out, len));
                assert_int_equal(a.accesses, 2 * regular);
                if (regular)
                        assert_true(a.bar == 0 && a.off == 0x3ff8 && a.value == (0x0807060504030201ULL & ones(len)));
        }
        /* from one BAR into the next, and past the last */
        a.accesses = 0;
        assert_false(pci_mmio_read(&bus, LAYOUT_PCI_WINDOW + 0x3ffc, (uint8_t *)&value, 8));
        assert_false(pci_mmio_write(&bus, LAYOUT_PCI_WINDOW + 0x4ffe, (uint8_t *)&value, 4));
        assert_false(pci_mmio_read(&bus, LAYOUT_PCI_WINDOW + 0x5000, (uint8_t *)&value, 1));
        assert_false(pci_mmio_read(&bus, LAYOUT_PCI_WINDOW - 1ULL, (uint8_t *)&value, 2));
        assert_false(pci_mmio_read(&bus, UINT64_MAX, (uint8_t *)&value, 8));
        assert_int_equal(a.accesses, 0);
}

static void moving(void **state)
{
        const uint64_t place = LAYOUT_PCI_WINDOW + 0x100000;
        uint8_t data[4];

        port_set(1, COMMAND, 2, MEMORY);
        a.move_count = 0;
        port_set(1, BAR0, 4, (uint32_t)place);
        assert_int_equal(a.move_count, 2);
        move_is(&a, 0, 0, LAYOUT_PCI_WINDOW, false);
        move_is(&a, 1, 0, place, true);
        assert_false(pci_mmio_read(&bus, LAYOUT_PCI_WINDOW, data, 4));
        assert_true(pci_mmio_read(&bus, place + 0x3ffc, data, 4));
        port_set(1, BAR0, 4, (uint32_t)place); /* stays */
        assert_int_equal(a.move_count, 2);
        /* by single bytes of the register: every step is a place */
        port_set(1, BAR0 + 2, 1, 0x20);
        assert_int_equal(a.move_count, 4);
        move_is(&a, 3, 0, LAYOUT_PCI_WINDOW + 0x200000, true);
}

static void the_window_ends(void **state)
{
        static const struct {
                uint64_t base;
                bool decoded;
        } places[] = {
                {0, false},
                {LAYOUT_PCI_WINDOW - 0x4000ULL, false},
                {LAYOUT_PCI_WINDOW + LAYOUT_PCI_WINDOW_SIZE - 0x4000ULL, true},
                {LAYOUT_PCI_WINDOW + (uint64_t)LAYOUT_PCI_WINDOW_SIZE, false}, /* the ECAM */
                {LAYOUT_IOAPIC, false},
                {LAYOUT_LAPIC, false},
                {0x100000, false},
                {0xffffc000, false},
                {0x100000000, false},
                {0x100000000 | LAYOUT_PCI_WINDOW, false},
                {0xffffffffffffc000, false},
                {LAYOUT_PCI_WINDOW + 0x4000ULL, true}, /* over BAR 2, which comes after it and waits */
                {LAYOUT_PCI_WINDOW + 0x8000ULL, true},
                {LAYOUT_PCI_WINDOW, true},
        };

        for (size_t i = 0; i < ARRAY_LEN(places); i++) {
                uint8_t data = 0;

                port_set(1, COMMAND, 2, 0);
                bar_set(1, BAR0, places[i].base);
                a.move_count = 0;
                port_set(1, COMMAND, 2, MEMORY);
                assert_true(a.dev.bars[0].base == places[i].base);
                assert_true(a.dev.bars[0].decoded == places[i].decoded);
                assert_int_equal(a.move_count, 0 + places[i].decoded + a.dev.bars[1].decoded);
                if (places[i].decoded)
                        assert_true(pci_mmio_read(&bus, places[i].base, &data, 1));
        }
}

/* Who is there first stays; the other waits until the place is free. */
static void overlaps(void **state)
{
        const uint64_t other = LAYOUT_PCI_WINDOW + 0x10000;

        port_set(1, COMMAND, 2, MEMORY);
        port_set(31, COMMAND, 2, MEMORY);
        a.move_count = b.move_count = 0;
        port_set(1, BAR0, 4, (uint32_t)other + 0xc000); /* the last quarter of b's */
        assert_int_equal(a.move_count, 1);
        move_is(&a, 0, 0, LAYOUT_PCI_WINDOW, false);
        assert_int_equal(b.move_count, 0);
        assert_true(b.dev.bars[0].decoded && !a.dev.bars[0].decoded);
        port_set(31, BAR0, 4, (uint32_t)other + 0x10000);
        assert_int_equal(b.move_count, 2);
        assert_int_equal(a.move_count, 2);
        move_is(&a, 1, 0, other + 0xc000, true);
        /* b goes back: now it is b that waits, until a is gone */
        port_set(31, BAR0, 4, (uint32_t)other);
        assert_int_equal(b.move_count, 3);
        assert_false(b.dev.bars[0].decoded);
        port_set(1, COMMAND, 2, 0);
        assert_int_equal(b.move_count, 4);
        move_is(&b, 3, 0, other, true);
        port_set(1, COMMAND, 2, MEMORY);
        assert_false(a.dev.bars[0].decoded);
        assert_true(a.dev.bars[1].decoded);
}

/* Two BARs of one function on one place. */
static void own_overlap(void **state)
{
        port_set(1, BAR2, 4, LAYOUT_PCI_WINDOW + 0x1000);
        port_set(1, COMMAND, 2, MEMORY);
        assert_true(a.dev.bars[0].decoded && !a.dev.bars[1].decoded);
        port_set(1, BAR0, 4, LAYOUT_PCI_WINDOW + 0x8000);
        assert_true(a.dev.bars[0].decoded && a.dev.bars[1].decoded);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(a_host_bridge_is_there, setup),
                cmocka_unit_test_setup(ports_and_ecam_show_the_same, setup),
                cmocka_unit_test_setup(a_data_port_ends, setup),
                cmocka_unit_test_setup(the_address_port_is_a_double_word, setup),
                cmocka_unit_test_setup(nobody_is_elsewhere, setup),
                cmocka_unit_test_setup(ecam_edges, setup),
                cmocka_unit_test_setup(config_hooks, setup),
                cmocka_unit_test_setup(only_what_may_change_changes, setup),
                cmocka_unit_test_setup(capabilities_are_a_list, setup),
                cmocka_unit_test_setup(bars_have_places, setup),
                cmocka_unit_test_setup(places_run_out, setup),
                cmocka_unit_test_setup(every_slot_can_be_taken, setup),
                cmocka_unit_test_setup(sizes_are_found_out, setup),
                cmocka_unit_test_setup(memory_space_gates, setup),
                cmocka_unit_test_setup(bar_accesses, setup),
                cmocka_unit_test_setup(moving, setup),
                cmocka_unit_test_setup(the_window_ends, setup),
                cmocka_unit_test_setup(overlaps, setup),
                cmocka_unit_test_setup(own_overlap, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
