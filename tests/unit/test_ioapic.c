#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/x86_64/ioapic.h"

/* Bits of a redirection entry's low half. */
#define FIXED      0x000U
#define LOWEST     0x100U
#define LOGICAL    0x800U
#define STATUS     0x1000U
#define ACTIVE_LOW 0x2000U
#define REMOTE_IRR 0x4000U
#define LEVEL      0x8000U
#define MASKED     0x10000U

/* What the machine around it sees. */
struct machine {
        struct ioapic io;
        struct ioapic_msi last;
        unsigned int delivered, routes_changed, delivered_at_change;
};

static void on_deliver(void *ctx, const struct ioapic_msi *msi)
{
        struct machine *m = ctx;

        m->last = *msi;
        m->delivered++;
}

static void on_routes_changed(void *ctx)
{
        struct machine *m = ctx;

        m->routes_changed++;
        m->delivered_at_change = m->delivered;
}

static const struct ioapic_ops ops = {.deliver = on_deliver, .routes_changed = on_routes_changed};
static struct machine machine;

static int setup(void **state)
{
        memset(&machine, 0, sizeof(machine));
        ioapic_init(&machine.io);
        return 0;
}

static uint32_t reg_read(uint8_t index)
{
        ioapic_write(&machine.io, &ops, &machine, 0x00, 4, index);
        return ioapic_read(&machine.io, 0x10, 4);
}

static void reg_write(uint8_t index, uint32_t value)
{
        ioapic_write(&machine.io, &ops, &machine, 0x00, 4, index);
        ioapic_write(&machine.io, &ops, &machine, 0x10, 4, value);
}

static uint32_t low(unsigned int pin)
{
        return reg_read((uint8_t)(0x10 + 2 * pin));
}

static void set_low(unsigned int pin, uint32_t value)
{
        reg_write((uint8_t)(0x10 + 2 * pin), value);
}

static void line(unsigned int pin, bool level)
{
        ioapic_set_line(&machine.io, &ops, &machine, pin, level);
}

static void eoi(uint8_t vector)
{
        ioapic_eoi(&machine.io, &ops, &machine, vector);
}

static void registers(void **state)
{
        assert_int_equal(reg_read(0x00), (uint32_t)LAYOUT_IOAPIC_ID << 24);
        assert_int_equal(reg_read(0x01), 0x00170020);
        assert_int_equal(reg_read(0x02), (uint32_t)LAYOUT_IOAPIC_ID << 24);
        assert_int_equal(ioapic_read(&machine.io, 0x00, 4), 0x02);
        reg_write(0x00, 0x12345678);
        assert_int_equal(reg_read(0x00), 0x12000000);
        assert_int_equal(reg_read(0x02), 0x12000000);
        reg_write(0x01, 0xffffffff);
        reg_write(0x02, 0xffffffff);
        assert_int_equal(reg_read(0x01), 0x00170020);
        assert_int_equal(reg_read(0x02), 0x12000000);

        for (unsigned int pin = 0; pin < 24; pin++) {
                assert_int_equal(low(pin), MASKED);
                assert_int_equal(reg_read((uint8_t)(0x11 + 2 * pin)), 0);
        }
        /* Outside the registers: nothing to read, nothing to break. */
        for (unsigned int index = 3; index < 0x100; index++) {
                if (index >= 0x10 && index < 0x40)
                        continue;
                reg_write((uint8_t)index, 0xffffffff);
                assert_int_equal(reg_read((uint8_t)index), 0);
        }
        for (unsigned int pin = 0; pin < 24; pin++)
                assert_int_equal(low(pin), MASKED);
        ioapic_write(&machine.io, &ops, &machine, 0x00, 4, 0xffffff01); /* IOREGSEL has 8 bits */
        assert_int_equal(ioapic_read(&machine.io, 0x10, 4), 0x00170020);
        assert_int_equal(machine.delivered + machine.routes_changed, 0);
}

static void odd_accesses(void **state)
{
        static const unsigned int lengths[] = {0, 1, 2, 3, 8, 4096};

        reg_write(0x10, 0x31 | MASKED);
        for (size_t i = 0; i < 6; i++) {
                assert_int_equal(ioapic_read(&machine.io, 0x10, lengths[i]), 0);
                ioapic_write(&machine.io, &ops, &machine, 0x10, lengths[i], 0x99);
                ioapic_write(&machine.io, &ops, &machine, 0x00, lengths[i], 0x01);
        }
        for (uint32_t offset = 0; offset < LAYOUT_IOAPIC_SIZE; offset++) {
                if (offset == 0x00 || offset == 0x10)
                        continue;
                assert_int_equal(ioapic_read(&machine.io, offset, 4), 0);
                ioapic_write(&machine.io, &ops, &machine, offset, 4, 0x99);
        }
        assert_int_equal(ioapic_read(&machine.io, UINT32_MAX, 4), 0);
        assert_int_equal(ioapic_read(&machine.io, 0x00, 4), 0x10);
        assert_int_equal(low(0), 0x31 | MASKED);
}

static void entry_bits(void **state)
{
        set_low(7, 0xffffffff);
        assert_int_equal(low(7), 0x0001afff); /* no delivery status, remote IRR or reserved bits */
        reg_write(0x1f, 0xffffffff);
        assert_int_equal(reg_read(0x1f), 0xff000000);
        assert_int_equal(low(7), 0x0001afff);
        set_low(7, 0x30 | MASKED);
        assert_int_equal(reg_read(0x1f), 0xff000000);

        /* Remote IRR survives writes either way. */
        set_low(7, 0x30 | LEVEL);
        line(7, true);
        assert_int_equal(low(7), 0x30 | LEVEL | REMOTE_IRR);
        set_low(7, 0x30 | LEVEL);
        assert_int_equal(low(7), 0x30 | LEVEL | REMOTE_IRR);
        reg_write(0x1f, 0x02000000);
        assert_int_equal(low(7), 0x30 | LEVEL | REMOTE_IRR);
        assert_int_equal(machine.delivered, 1);
}

static void messages(void **state)
{
        static const struct {
                uint32_t low, high;
                uint64_t address;
                uint32_t data;
        } cases[] = {
                {0x31 | FIXED, 0, 0xfee00000, 0x4031},
                {0x31 | FIXED, 0x3f000000, 0xfee3f000, 0x4031},
                {0xfe | FIXED | LEVEL, 0xff000000, 0xfeeff000, 0xc0fe},
                {0x40 | LOWEST | LOGICAL, 0x03000000, 0xfee0300c, 0x4140},
                {0x40 | LOWEST | LEVEL | ACTIVE_LOW, 0x01000000, 0xfee01008, 0xc140},
                {0x02 | 4 << 8, 0x01000000, 0xfee01000, 0x4402},         /* NMI */
                {0x02 | 4 << 8 | LEVEL, 0x01000000, 0xfee01000, 0x4402}, /* always edge */
                {5 << 8 | LEVEL, 0x02000000, 0xfee02000, 0x4500},        /* INIT */
        };
        static const uint32_t silent[] = {2, 3, 6, 7}; /* SMI, reserved, reserved, ExtINT */
        struct ioapic_msi msi;

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                unsigned int before = machine.delivered;

                reg_write(0x21, cases[i].high);
                set_low(8, cases[i].low);
                assert_true(ioapic_message(&machine.io, 8, &msi));
                assert_true(msi.address == cases[i].address);
                assert_int_equal(msi.data, cases[i].data);
                line(8, true);
                assert_int_equal(machine.delivered, before + 1);
                assert_true(machine.last.address == cases[i].address);
                assert_int_equal(machine.last.data, cases[i].data);
                line(8, false);
                eoi((uint8_t)cases[i].low);
                set_low(8, cases[i].low | MASKED);
                assert_false(ioapic_message(&machine.io, 8, &msi));
        }
        for (size_t i = 0; i < 4; i++)
                for (uint32_t trigger = 0; trigger <= LEVEL; trigger += LEVEL) {
                        unsigned int before = machine.delivered;

                        set_low(8, 0x50 | silent[i] << 8 | trigger);
                        assert_false(ioapic_message(&machine.io, 8, &msi));
                        line(8, true);
                        assert_int_equal(machine.delivered, before);
                        assert_int_equal(low(8) & (REMOTE_IRR | STATUS), 0);
                        line(8, false);
                }
        assert_false(ioapic_message(&machine.io, 24, &msi));
        assert_false(ioapic_eoi_route(&machine.io, UINT32_MAX, &msi));
}

static void edge(void **state)
{
        line(4, true);
        assert_int_equal(machine.delivered, 0);
        set_low(4, 0x34); /* an edge while masked is lost */
        assert_int_equal(machine.delivered, 0);
        line(4, true);
        assert_int_equal(machine.delivered, 0);
        line(4, false);
        assert_int_equal(machine.delivered, 0);
        line(4, true);
        assert_int_equal(machine.delivered, 1);
        line(4, true); /* no new edge */
        assert_int_equal(machine.delivered, 1);
        assert_int_equal(low(4), 0x34);
        eoi(0x34); /* means nothing to it */
        set_low(4, 0x34);
        assert_int_equal(machine.delivered, 1);
        line(4, false);
        line(4, true);
        assert_int_equal(machine.delivered, 2);
        assert_int_equal(machine.routes_changed, 0);

        line(23, true);
        line(24, true); /* no such pins */
        line(32, true);
        line(UINT32_MAX, true);
        assert_int_equal(machine.io.lines, 1U << 4 | 1U << 23);
}

static void level(void **state)
{
        line(10, true);
        assert_int_equal(machine.delivered, 0);
        set_low(10, 0x60 | LEVEL); /* unmasking delivers what is asserted */
        assert_int_equal(machine.delivered, 1);
        assert_int_equal(low(10), 0x60 | LEVEL | REMOTE_IRR);
        line(10, false);
        line(10, true); /* in service */
        assert_int_equal(machine.delivered, 1);
        eoi(0x61); /* another's */
        assert_int_equal(machine.delivered, 1);
        eoi(0x60); /* still asserted */
        assert_int_equal(machine.delivered, 2);
        assert_int_equal(low(10), 0x60 | LEVEL | REMOTE_IRR);
        line(10, false);
        assert_int_equal(low(10), 0x60 | LEVEL | REMOTE_IRR);
        ioapic_write(&machine.io, &ops, &machine, 0x40, 4, 0xffffff60); /* the EOI register; 8 bits */
        assert_int_equal(machine.delivered, 2);
        assert_int_equal(low(10), 0x60 | LEVEL);
        line(10, true);
        assert_int_equal(machine.delivered, 3);
}

static void level_shared_vector(void **state)
{
        set_low(10, 0x60 | LEVEL);
        set_low(11, 0x60 | LEVEL);
        set_low(12, 0x60);
        line(10, true);
        line(11, true);
        line(12, true);
        assert_int_equal(machine.delivered, 3);
        line(11, false);
        eoi(0x60);
        assert_int_equal(machine.delivered, 4); /* pin 10 again */
        assert_int_equal(low(10), 0x60 | LEVEL | REMOTE_IRR);
        assert_int_equal(low(11), 0x60 | LEVEL);
}

/* Linux's handler for a threaded level interrupt: mask, EOI, later unmask. */
static void masked_in_service(void **state)
{
        struct ioapic_msi msi;

        set_low(10, 0x60 | LEVEL);
        assert_int_equal(machine.routes_changed, 1);
        line(10, true);
        set_low(10, 0x60 | LEVEL | MASKED);
        assert_int_equal(low(10), 0x60 | LEVEL | MASKED | REMOTE_IRR);
        /* The EOI is still to come: the route has to stay. */
        assert_int_equal(machine.routes_changed, 1);
        assert_false(ioapic_message(&machine.io, 10, &msi));
        assert_true(ioapic_eoi_route(&machine.io, 10, &msi));
        assert_int_equal(msi.data, 0xc060);
        eoi(0x60);
        assert_int_equal(machine.routes_changed, 2);
        assert_false(ioapic_eoi_route(&machine.io, 10, &msi));
        assert_int_equal(machine.delivered, 1); /* asserted but masked */
        set_low(10, 0x60 | LEVEL);
        assert_int_equal(machine.delivered, 2);
        assert_int_equal(machine.routes_changed, 3);
        assert_int_equal(machine.delivered_at_change, 1); /* KVM knew before the message left */
}

static void level_to_edge(void **state)
{
        set_low(10, 0x60 | LEVEL);
        line(10, true);
        set_low(10, 0x60); /* an edge entry is not in service */
        assert_int_equal(low(10), 0x60);
        assert_int_equal(machine.routes_changed, 2);
        assert_int_equal(machine.delivered, 1);
        set_low(10, 0x60 | LEVEL);
        assert_int_equal(machine.delivered, 2);
        set_low(10, 0x60 | 4 << 8 | LEVEL); /* NMI neither */
        assert_int_equal(low(10), 0x460 | LEVEL);
        assert_int_equal(machine.delivered, 2);
}

static void routes_change_only_when_they_do(void **state)
{
        set_low(4, 0x34); /* edge: no route */
        set_low(4, 0x35);
        set_low(10, 0x60 | LEVEL | MASKED);
        reg_write(0x25, 0x01000000);
        set_low(10, 0x61 | LEVEL | MASKED);
        assert_int_equal(machine.routes_changed, 0);
        set_low(10, 0x61 | LEVEL);
        assert_int_equal(machine.routes_changed, 1);
        set_low(10, 0x61 | LEVEL); /* the same again */
        set_low(10, 0x61 | LEVEL | ACTIVE_LOW);
        reg_write(0x25, 0x01ffffff);
        line(10, true);
        eoi(0x61);
        assert_int_equal(machine.routes_changed, 1);
        set_low(10, 0x62 | LEVEL);
        assert_int_equal(machine.routes_changed, 2);
        reg_write(0x25, 0x02000000);
        assert_int_equal(machine.routes_changed, 3);
        set_low(10, 0x62 | LEVEL | LOWEST);
        assert_int_equal(machine.routes_changed, 4);
        line(10, false);
        eoi(0x62);
        set_low(10, 0x62 | LEVEL | LOWEST | MASKED);
        assert_int_equal(machine.routes_changed, 5);
        set_low(10, 0x62 | LEVEL | 7 << 8); /* ExtINT: no EOI */
        assert_int_equal(machine.routes_changed, 5);
}

static uint32_t next_random(uint32_t *x)
{
        *x ^= *x << 13;
        *x ^= *x >> 17;
        *x ^= *x << 5;
        return *x;
}

/* The set of EOI routes as the rest of the machine sees it. */
static void routes_snapshot(uint64_t ret[LAYOUT_IOAPIC_PINS])
{
        struct ioapic_msi msi;

        for (unsigned int pin = 0; pin < LAYOUT_IOAPIC_PINS; pin++)
                ret[pin] = ioapic_eoi_route(&machine.io, pin, &msi) ? msi.address << 32 | msi.data : 0;
}

static void check_entries(void)
{
        for (unsigned int pin = 0; pin < LAYOUT_IOAPIC_PINS; pin++) {
                uint64_t entry = machine.io.redirection[pin];
                bool is_level = (entry & LEVEL) && (entry >> 8 & 7) <= 1;
                bool asserted = machine.io.lines >> pin & 1;

                assert_true((entry & ~(0xff0000000001afffULL | REMOTE_IRR)) == 0);
                if (entry & REMOTE_IRR)
                        assert_true(is_level);
                /* Nothing that is due is left undelivered. */
                if (is_level && asserted && !(entry & MASKED))
                        assert_true(entry & REMOTE_IRR);
        }
        assert_int_equal(machine.io.lines >> LAYOUT_IOAPIC_PINS, 0);
        assert_int_equal(machine.io.id & 0x00ffffff, 0);
}

static void random_access(void **state)
{
        uint32_t x = 0x82093aa;
        unsigned int in_service = 0;
        uint64_t before[LAYOUT_IOAPIC_PINS], after[LAYOUT_IOAPIC_PINS];

        routes_snapshot(before);
        for (unsigned int i = 0; i < 500000; i++) {
                uint32_t r = next_random(&x), value = next_random(&x);
                unsigned int changes = machine.routes_changed;

                switch (r & 7) {
                case 0:
                case 1:
                        line(r >> 8 & 31, r >> 16 & 1);
                        break;
                case 2:
                        eoi((uint8_t)(0x30 + (r >> 8 & 7)));
                        break;
                case 3:
                        ioapic_write(&machine.io, &ops, &machine, r >> 8 & 0x7f, r >> 16 & 7, value);
                        break;
                case 4:
                        ioapic_read(&machine.io, r >> 8 & 0x7f, r >> 16 & 7);
                        break;
                case 5:
                        reg_write((uint8_t)(r >> 8), value);
                        break;
                default: /* likely entries: few vectors, fixed or lowest priority, mostly unmasked */
                        set_low(r >> 8 & 31, (value & 0xb900) | (0x30 + (value & 7)) | (value >> 16 & 3 ? 0 : MASKED));
                        break;
                }
                check_entries();
                routes_snapshot(after);
                /* Told when the set changed, and only then. */
                if (memcmp(before, after, sizeof(after)) != 0)
                        assert_true(machine.routes_changed > changes);
                else
                        assert_int_equal(machine.routes_changed, changes);
                memcpy(before, after, sizeof(before));
                for (unsigned int pin = 0; pin < LAYOUT_IOAPIC_PINS; pin++)
                        in_service += (machine.io.redirection[pin] & REMOTE_IRR) != 0;
        }
        assert_true(in_service > 1000 && machine.delivered > 1000 && machine.routes_changed > 1000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(registers, setup),
                cmocka_unit_test_setup(odd_accesses, setup),
                cmocka_unit_test_setup(entry_bits, setup),
                cmocka_unit_test_setup(messages, setup),
                cmocka_unit_test_setup(edge, setup),
                cmocka_unit_test_setup(level, setup),
                cmocka_unit_test_setup(level_shared_vector, setup),
                cmocka_unit_test_setup(masked_in_service, setup),
                cmocka_unit_test_setup(level_to_edge, setup),
                cmocka_unit_test_setup(routes_change_only_when_they_do, setup),
                cmocka_unit_test_setup(random_access, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
