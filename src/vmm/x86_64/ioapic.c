#include "vmm/x86_64/ioapic.h"

/* Memory-mapped registers: 82093AA, 3.1; EOI: I/O xAPIC (Intel ICH, "EOI register"). */
#define MMIO_IOREGSEL 0x00
#define MMIO_IOWIN    0x10
#define MMIO_EOI      0x40

/* Registers behind IOREGSEL: 82093AA, 3.2. */
#define REG_ID          0x00
#define REG_VERSION     0x01
#define REG_ARBITRATION 0x02
#define REG_REDIRECTION 0x10 /* two per pin: low half, high half */

#define ID_SHIFT 24
#define ID_MASK  0xff000000U /* eight bits, as the MADT has them */
#define VERSION  (0x20U | (LAYOUT_IOAPIC_PINS - 1) << 16)

/* Redirection entry: 82093AA, 3.2.4. */
#define RTE_VECTOR        0xffULL
#define RTE_DELIVERY_MODE (7ULL << 8)
#define RTE_LOGICAL       (1ULL << 11)
#define RTE_POLARITY      (1ULL << 13)
#define RTE_REMOTE_IRR    (1ULL << 14)
#define RTE_LEVEL         (1ULL << 15)
#define RTE_MASKED        (1ULL << 16)
#define RTE_DESTINATION   (0xffULL << 56)
/* Delivery status (bit 12) and remote IRR are read only. */
#define RTE_WRITABLE \
        (RTE_VECTOR | RTE_DELIVERY_MODE | RTE_LOGICAL | RTE_POLARITY | RTE_LEVEL | RTE_MASKED | RTE_DESTINATION)

enum delivery_mode {
        DELIVERY_FIXED = 0,
        DELIVERY_LOWEST_PRIORITY = 1,
        DELIVERY_NMI = 4,
        DELIVERY_INIT = 5,
};

/* x86 MSI format: Intel SDM volume 3, "Message Signalled Interrupts". */
#define MSI_ADDRESS           0xfee00000ULL
#define MSI_DESTINATION_SHIFT 12
#define MSI_REDIRECTION_HINT  (1ULL << 3)
#define MSI_LOGICAL           (1ULL << 2)
#define MSI_ASSERT            (1U << 14)
#define MSI_LEVEL             (1U << 15)

static unsigned int entry_mode(uint64_t entry)
{
        return (entry & RTE_DELIVERY_MODE) >> 8;
}

static bool entry_sends(uint64_t entry)
{
        switch (entry_mode(entry)) {
        case DELIVERY_FIXED:
        case DELIVERY_LOWEST_PRIORITY:
        case DELIVERY_NMI:
        case DELIVERY_INIT:
                return true;
        default:
                return false;
        }
}

/* NMI and INIT have no vector and hence no EOI, so they are edge triggered whatever the bit says. */
static bool entry_is_level(uint64_t entry)
{
        return (entry & RTE_LEVEL) && entry_mode(entry) <= DELIVERY_LOWEST_PRIORITY;
}

static bool entry_has_eoi_route(uint64_t entry)
{
        return entry_is_level(entry) && (!(entry & RTE_MASKED) || (entry & RTE_REMOTE_IRR));
}

static struct ioapic_msi entry_message(uint64_t entry)
{
        struct ioapic_msi msi = {.address = MSI_ADDRESS | (entry >> 56) << MSI_DESTINATION_SHIFT,
                                 .data = MSI_ASSERT | (uint32_t)(entry & (RTE_VECTOR | RTE_DELIVERY_MODE))};

        if (entry & RTE_LOGICAL)
                msi.address |= MSI_LOGICAL;
        if (entry_mode(entry) == DELIVERY_LOWEST_PRIORITY)
                msi.address |= MSI_REDIRECTION_HINT;
        if (entry_is_level(entry))
                msi.data |= MSI_LEVEL;
        return msi;
}

/* Stores an entry and reports the change when it is one of the EOI routes. */
static void entry_store(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, unsigned int pin, uint64_t entry)
{
        uint64_t old = io->redirection[pin];
        struct ioapic_msi before = entry_message(old), after = entry_message(entry);
        bool had_route = entry_has_eoi_route(old), has_route = entry_has_eoi_route(entry);

        io->redirection[pin] = entry;
        if (had_route != has_route || (has_route && (before.address != after.address || before.data != after.data)))
                ops->routes_changed(ctx);
}

/* Delivers a level interrupt that is due: asserted, unmasked, not in service. */
static void level_service(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, unsigned int pin)
{
        uint64_t *entry = &io->redirection[pin];
        struct ioapic_msi msi = entry_message(*entry);

        if (!entry_is_level(*entry) || (*entry & (RTE_MASKED | RTE_REMOTE_IRR)) || !(io->lines >> pin & 1))
                return;
        *entry |= RTE_REMOTE_IRR;
        ops->deliver(ctx, &msi);
}

static void redirection_write(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, unsigned int pin, bool high,
                              uint32_t value)
{
        uint64_t old = io->redirection[pin], entry;

        if (high)
                entry = (old & 0xffffffffULL) | (uint64_t)value << 32;
        else
                entry = (old & ~0xffffffffULL) | value;
        entry = (entry & RTE_WRITABLE) | (old & RTE_REMOTE_IRR);
        /* What is not level triggered gets no EOI, so it must not wait for one. */
        if (!entry_is_level(entry))
                entry &= ~RTE_REMOTE_IRR;
        entry_store(io, ops, ctx, pin, entry);
        level_service(io, ops, ctx, pin);
}

static uint32_t register_read(const struct ioapic *io)
{
        unsigned int index = io->ioregsel;

        if (index == REG_ID || index == REG_ARBITRATION) /* loading the ID loads the arbitration ID */
                return io->id;
        if (index == REG_VERSION)
                return VERSION;
        if (index >= REG_REDIRECTION && index < REG_REDIRECTION + 2 * LAYOUT_IOAPIC_PINS) {
                uint64_t entry = io->redirection[(index - REG_REDIRECTION) / 2];

                return (uint32_t)(index % 2 ? entry >> 32 : entry);
        }
        return 0;
}

static void register_write(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, uint32_t value)
{
        unsigned int index = io->ioregsel;

        if (index == REG_ID)
                io->id = value & ID_MASK;
        else if (index >= REG_REDIRECTION && index < REG_REDIRECTION + 2 * LAYOUT_IOAPIC_PINS)
                redirection_write(io, ops, ctx, (index - REG_REDIRECTION) / 2, index % 2, value);
}

void ioapic_init(struct ioapic *io)
{
        *io = (struct ioapic){.id = (uint32_t)LAYOUT_IOAPIC_ID << ID_SHIFT};
        for (unsigned int pin = 0; pin < LAYOUT_IOAPIC_PINS; pin++)
                io->redirection[pin] = RTE_MASKED;
}

uint32_t ioapic_read(const struct ioapic *io, uint32_t offset, unsigned int len)
{
        if (len != 4)
                return 0;
        switch (offset) {
        case MMIO_IOREGSEL:
                return io->ioregsel;
        case MMIO_IOWIN:
                return register_read(io);
        default:
                return 0;
        }
}

void ioapic_write(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, uint32_t offset, unsigned int len,
                  uint32_t value)
{
        if (len != 4)
                return;
        switch (offset) {
        case MMIO_IOREGSEL:
                io->ioregsel = value & 0xff;
                break;
        case MMIO_IOWIN:
                register_write(io, ops, ctx, value);
                break;
        case MMIO_EOI:
                ioapic_eoi(io, ops, ctx, value & 0xff);
                break;
        default:
                break;
        }
}

void ioapic_set_line(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, unsigned int pin, bool level)
{
        struct ioapic_msi msi;
        bool rising;

        if (pin >= LAYOUT_IOAPIC_PINS)
                return;
        rising = level && !(io->lines >> pin & 1);
        if (level)
                io->lines |= 1U << pin;
        else
                io->lines &= ~(1U << pin);

        if (entry_is_level(io->redirection[pin]))
                level_service(io, ops, ctx, pin);
        else if (rising && ioapic_message(io, pin, &msi))
                ops->deliver(ctx, &msi);
}

void ioapic_eoi(struct ioapic *io, const struct ioapic_ops *ops, void *ctx, uint8_t vector)
{
        for (unsigned int pin = 0; pin < LAYOUT_IOAPIC_PINS; pin++) {
                uint64_t entry = io->redirection[pin];

                if (!(entry & RTE_REMOTE_IRR) || (entry & RTE_VECTOR) != vector)
                        continue;
                entry_store(io, ops, ctx, pin, entry & ~RTE_REMOTE_IRR);
                level_service(io, ops, ctx, pin);
        }
}

bool ioapic_message(const struct ioapic *io, unsigned int pin, struct ioapic_msi *ret)
{
        if (pin >= LAYOUT_IOAPIC_PINS || (io->redirection[pin] & RTE_MASKED) || !entry_sends(io->redirection[pin]))
                return false;
        *ret = entry_message(io->redirection[pin]);
        return true;
}

bool ioapic_eoi_route(const struct ioapic *io, unsigned int pin, struct ioapic_msi *ret)
{
        if (pin >= LAYOUT_IOAPIC_PINS || !entry_has_eoi_route(io->redirection[pin]))
                return false;
        *ret = entry_message(io->redirection[pin]);
        return true;
}
