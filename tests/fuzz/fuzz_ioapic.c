/* The I/O APIC: registers, lines and ends of interrupt in any order. What KVM was told is compared with the state. */
#include <string.h>

#include "fuzz.h"
#include "vmm/x86_64/ioapic.h"

#define PINS LAYOUT_IOAPIC_PINS

/* 82093AA, 3.2.4 */
#define MODE(entry)   ((entry) >> 8 & 7)
#define STATUS        (1ULL << 12)
#define REMOTE_IRR    (1ULL << 14)
#define LEVEL         (1ULL << 15)
#define MASKED        (1ULL << 16)
#define IS_LEVEL(e)   (((e)&LEVEL) && MODE(e) <= 1)
#define KEPT          0xff0000000001efffULL /* every other bit reads 0: reserved, and delivery status */
#define REDIRECTION_0 0x10

struct route {
        bool there;
        struct ioapic_msi msi;
};

struct world {
        struct ioapic io;
        struct route told[PINS]; /* KVM's routes, as of the last routes_changed() */
        unsigned int delivered;
        bool may_deliver;
};

static void routes_read(const struct ioapic *io, struct route ret[PINS])
{
        memset(ret, 0, PINS * sizeof(ret[0]));
        for (unsigned int pin = 0; pin < PINS; pin++)
                ret[pin].there = ioapic_eoi_route(io, pin, &ret[pin].msi);
}

static bool msi_equal(const struct ioapic_msi *a, const struct ioapic_msi *b)
{
        return a->address == b->address && a->data == b->data;
}

static void deliver(void *ctx, const struct ioapic_msi *msi)
{
        struct world *w = ctx;
        bool found = false, routed = false;

        MUST(w->may_deliver);
        MUST((msi->address & ~0xff00cULL) == 0xfee00000ULL);
        MUST((msi->data & ~0xc7ffU) == 0 && (msi->data & 1U << 14));
        for (unsigned int pin = 0; pin < PINS; pin++) {
                struct ioapic_msi of_pin;

                found |= ioapic_message(&w->io, pin, &of_pin) && msi_equal(&of_pin, msi);
                routed |= w->told[pin].there && msi_equal(&w->told[pin].msi, msi);
        }
        MUST(found);                                                  /* of a pin that is not masked */
        MUST(!(msi->data & 1U << 15) || routed);                      /* KVM knows whose end it has to report */
        MUST((msi->data >> 8 & 7) != 2 && (msi->data >> 8 & 7) != 7); /* neither SMI nor ExtINT */
        w->delivered++;
}

static void routes_changed(void *ctx)
{
        struct world *w = ctx;

        routes_read(&w->io, w->told);
}

static const struct ioapic_ops ops = {.deliver = deliver, .routes_changed = routes_changed};

static void check(const struct world *w)
{
        struct route now[PINS];

        routes_read(&w->io, now);
        MUST((w->io.lines & ~0xffffffU) == 0);
        MUST((w->io.id & 0xffffffU) == 0);
        for (unsigned int pin = 0; pin < PINS; pin++) {
                uint64_t entry = w->io.redirection[pin];

                MUST((entry & ~KEPT & ~REMOTE_IRR) == 0);
                MUST(!(entry & STATUS));
                MUST(!(entry & REMOTE_IRR) || IS_LEVEL(entry));
                /* A level that is up and may be told has been told. */
                if (IS_LEVEL(entry) && !(entry & MASKED) && (w->io.lines >> pin & 1))
                        MUST(entry & REMOTE_IRR);
                MUST(now[pin].there == w->told[pin].there);
                MUST(!now[pin].there || msi_equal(&now[pin].msi, &w->told[pin].msi));
        }
        MUST(!ioapic_message(&w->io, PINS, &(struct ioapic_msi){0}));
        MUST(!ioapic_eoi_route(&w->io, PINS, &(struct ioapic_msi){0}));
}

/* What a guest reads of an entry is what is there. */
static void entry_reads_back(struct world *w, unsigned int pin)
{
        uint32_t low, high;

        ioapic_write(&w->io, &ops, w, 0, 4, REDIRECTION_0 + 2 * pin);
        low = ioapic_read(&w->io, 0x10, 4);
        ioapic_write(&w->io, &ops, w, 0, 4, REDIRECTION_0 + 2 * pin + 1);
        high = ioapic_read(&w->io, 0x10, 4);
        MUST(((uint64_t)high << 32 | low) == w->io.redirection[pin]);
}

static void access_anywhere(struct world *w, struct reader *r)
{
        uint32_t offset = (uint32_t)read_in(r, 0, LAYOUT_IOAPIC_SIZE - 1), value = read_u32(r);
        unsigned int len = 1U << (read_u8(r) & 3);
        struct ioapic before = w->io;

        if (len != 4 || (offset != 0 && offset != 0x10))
                MUST(ioapic_read(&w->io, offset, len) == 0);
        ioapic_write(&w->io, &ops, w, offset, len, value);
        if (len != 4 || (offset != 0 && offset != 0x10 && offset != 0x40))
                MUST(memcmp(&before, &w->io, sizeof(before)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct reader r = {data, len};
        struct world w = {.may_deliver = true};

        ioapic_init(&w.io);
        routes_read(&w.io, w.told);
        check(&w);
        while (r.len > 0) {
                uint8_t op = read_u8(&r);
                unsigned int pin = op & 0x1f, before;

                w.may_deliver = true;
                before = w.delivered;
                switch (op >> 5) {
                case 0:
                case 1:
                        ioapic_set_line(&w.io, &ops, &w, pin, op >> 5);
                        MUST(w.delivered <= before + 1);
                        break;
                case 2:
                case 3: /* one half of an entry */
                        ioapic_write(&w.io, &ops, &w, 0, 4, REDIRECTION_0 + 2 * pin + (op >> 5 & 1));
                        ioapic_write(&w.io, &ops, &w, 0x10, 4, read_u32(&r));
                        break;
                case 4:
                        ioapic_eoi(&w.io, &ops, &w, read_u8(&r));
                        break;
                case 5:
                        ioapic_write(&w.io, &ops, &w, 0x40, 4, read_u8(&r));
                        break;
                case 6:
                        w.may_deliver = false;
                        entry_reads_back(&w, pin % PINS);
                        break;
                default:
                        access_anywhere(&w, &r);
                        break;
                }
                check(&w);
        }
        return 0;
}
