#include "vmm/pci/msix.h"

#include <assert.h>
#include <string.h>

/* Double words of a table entry: PCI 3.0, figure 6-11. */
enum entry_word { ENTRY_ADDRESS_LO, ENTRY_ADDRESS_HI, ENTRY_DATA, ENTRY_CONTROL };

#define ADDRESS_LO_MASK 0xfffffffcU /* 6.8.2.6: double word aligned */
#define CONTROL_MASKED  1U

_Static_assert(MSIX_VECTORS_MAX *MSIX_ENTRY_BYTES <= MSIX_PBA_OFF, "the table ends before the pending bits");
_Static_assert(MSIX_VECTORS_MAX <= 32, "pending bits are one word here");

void msix_init(struct msix *m, unsigned int count)
{
        assert(count <= MSIX_VECTORS_MAX);
        *m = (struct msix){.count = count};
        for (unsigned int i = 0; i < count; i++)
                m->table[i].control = CONTROL_MASKED;
}

bool msix_get(const struct msix *m, unsigned int vector, struct msix_message *ret)
{
        if (!m->enabled || m->all_masked || m->silent || vector >= m->count)
                return false;
        if (m->table[vector].control & CONTROL_MASKED)
                return false;
        *ret = (struct msix_message){
                .address = (uint64_t)m->table[vector].address_hi << 32 | m->table[vector].address_lo,
                .data = m->table[vector].data,
        };
        return true;
}

static uint32_t entry_read(const struct msix *m, uint32_t off)
{
        unsigned int vector = off / MSIX_ENTRY_BYTES;

        if (vector >= m->count)
                return 0;
        switch ((enum entry_word)(off % MSIX_ENTRY_BYTES / 4)) {
        case ENTRY_ADDRESS_LO:
                return m->table[vector].address_lo;
        case ENTRY_ADDRESS_HI:
                return m->table[vector].address_hi;
        case ENTRY_DATA:
                return m->table[vector].data;
        case ENTRY_CONTROL:
                return m->table[vector].control;
        }
        return 0;
}

static void entry_write(struct msix *m, uint32_t off, uint32_t value)
{
        unsigned int vector = off / MSIX_ENTRY_BYTES;

        switch ((enum entry_word)(off % MSIX_ENTRY_BYTES / 4)) {
        case ENTRY_ADDRESS_LO:
                m->table[vector].address_lo = value & ADDRESS_LO_MASK;
                break;
        case ENTRY_ADDRESS_HI:
                m->table[vector].address_hi = value;
                break;
        case ENTRY_DATA:
                m->table[vector].data = value;
                break;
        case ENTRY_CONTROL:
                m->table[vector].control = value & CONTROL_MASKED; /* the rest is reserved */
                break;
        }
}

static bool is_word_access(uint32_t off, unsigned int width)
{
        return (width == 4 || width == 8) && off % width == 0;
}

bool msix_is_pba(uint32_t off)
{
        return off >= MSIX_PBA_OFF;
}

uint64_t msix_bar_read(const struct msix *m, uint32_t off, unsigned int width, uint64_t pending)
{
        uint64_t value;

        if (!is_word_access(off, width))
                return 0;
        if (msix_is_pba(off)) /* one quad word holds all bits */
                value = off < MSIX_PBA_OFF + 8 ? pending >> (8 * (off - MSIX_PBA_OFF)) : 0;
        else if (width == 8)
                return (uint64_t)entry_read(m, off + 4) << 32 | entry_read(m, off);
        else
                value = entry_read(m, off);
        return width == 8 ? value : (uint32_t)value;
}

unsigned int msix_bar_write(struct msix *m, uint32_t off, unsigned int width, uint64_t value)
{
        unsigned int vector = off / MSIX_ENTRY_BYTES;

        if (!is_word_access(off, width) || msix_is_pba(off) || vector >= m->count)
                return m->count;
        entry_write(m, off, (uint32_t)value);
        if (width == 8)
                entry_write(m, off + 4, (uint32_t)(value >> 32));
        return vector;
}
