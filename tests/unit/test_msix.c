#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/pci/msix.h"

#define VECTORS 5

/* Words of an entry. */
#define ADDRESS_LO 0
#define ADDRESS_HI 4
#define DATA       8
#define CONTROL    12

static struct msix m;

static int setup(void **state)
{
        msix_init(&m, VECTORS);
        return 0;
}

static uint32_t entry(unsigned int vector, uint32_t word)
{
        return vector * MSIX_ENTRY_BYTES + word;
}

static uint64_t get(uint32_t off, unsigned int width)
{
        return msix_bar_read(&m, off, width, 0);
}

static void program(unsigned int vector)
{
        assert_int_equal(msix_bar_write(&m, entry(vector, ADDRESS_LO), 4, 0xfee01000 + 4 * vector), vector);
        assert_int_equal(msix_bar_write(&m, entry(vector, ADDRESS_HI), 4, vector), vector);
        assert_int_equal(msix_bar_write(&m, entry(vector, DATA), 4, 0x40 + vector), vector);
        assert_int_equal(msix_bar_write(&m, entry(vector, CONTROL), 4, 0), vector);
}

static void starts_masked_and_disabled(void **state)
{
        struct msix_message message = {7, 7};

        for (unsigned int i = 0; i < VECTORS; i++) {
                assert_int_equal(get(entry(i, ADDRESS_LO), 8), 0);
                assert_int_equal(get(entry(i, DATA), 4), 0);
                assert_int_equal(get(entry(i, CONTROL), 4), 1);
                assert_false(msix_get(&m, i, &message));
        }
        assert_int_equal(message.address, 7);
}

static void entries_remember(void **state)
{
        for (unsigned int i = 0; i < VECTORS; i++)
                program(i);
        for (unsigned int i = 0; i < VECTORS; i++) {
                assert_int_equal(get(entry(i, ADDRESS_LO), 4), 0xfee01000 + 4 * i);
                assert_int_equal(get(entry(i, ADDRESS_HI), 4), i);
                assert_int_equal(get(entry(i, DATA), 4), 0x40 + i);
                assert_int_equal(get(entry(i, CONTROL), 4), 0);
                assert_true(get(entry(i, ADDRESS_LO), 8) == ((uint64_t)i << 32 | (0xfee01000 + 4 * i)));
                assert_true(get(entry(i, DATA), 8) == 0x40 + i);
        }
        /* 8 bytes at once; reserved bits stay 0 */
        assert_int_equal(msix_bar_write(&m, entry(1, ADDRESS_LO), 8, 0x11223344fee0200fULL), 1);
        assert_int_equal(msix_bar_write(&m, entry(1, DATA), 8, 0xfffffffe00000099ULL), 1);
        assert_true(get(entry(1, ADDRESS_LO), 8) == 0x11223344fee0200cULL);
        assert_true(get(entry(1, DATA), 8) == 0x99);
        assert_int_equal(msix_bar_write(&m, entry(1, CONTROL), 4, 0xffffffff), 1);
        assert_int_equal(get(entry(1, CONTROL), 4), 1);
        assert_int_equal(get(entry(0, ADDRESS_LO), 4), 0xfee01000); /* the neighbours are as they were */
        assert_int_equal(get(entry(2, ADDRESS_LO), 4), 0xfee01008);
}

/* PCI 3.0, 6.8.2: aligned double and quad words alone; nothing is past the table. */
static void other_accesses_do_nothing(void **state)
{
        struct msix before;

        for (unsigned int i = 0; i < VECTORS; i++)
                program(i);
        before = m;
        for (uint32_t off = 0; off < MSIX_BAR_BYTES; off++)
                for (unsigned int width = 1; width <= 8; width *= 2) {
                        if (width >= 4 && off % width == 0 && off < VECTORS * MSIX_ENTRY_BYTES)
                                continue;
                        assert_int_equal(get(off, width), 0);
                        assert_int_equal(msix_bar_write(&m, off, width, UINT64_MAX), VECTORS);
                        assert_memory_equal(&m, &before, sizeof(m));
                }
}

static void a_message_needs_everything(void **state)
{
        struct msix_message message;

        program(2);
        assert_false(msix_get(&m, 2, &message));
        m.enabled = true;
        assert_true(msix_get(&m, 2, &message));
        assert_true(message.address == 0x2fee01008ULL);
        assert_int_equal(message.data, 0x42);
        assert_false(msix_get(&m, 1, &message)); /* masked */
        assert_false(msix_get(&m, VECTORS, &message));
        assert_false(msix_get(&m, 0xffff, &message));
        m.all_masked = true;
        assert_false(msix_get(&m, 2, &message));
        m.all_masked = false;
        m.silent = true;
        assert_false(msix_get(&m, 2, &message));
        m.silent = false;
        assert_true(msix_get(&m, 2, &message));
}

static void pending_bits(void **state)
{
        const uint64_t bits = 0x8000000110000001ULL;

        assert_true(msix_bar_read(&m, MSIX_PBA_OFF, 8, bits) == bits);
        assert_true(msix_bar_read(&m, MSIX_PBA_OFF, 4, bits) == 0x10000001);
        assert_true(msix_bar_read(&m, MSIX_PBA_OFF + 4, 4, bits) == 0x80000001);
        assert_int_equal(msix_bar_read(&m, MSIX_PBA_OFF + 8, 8, bits), 0);
        assert_int_equal(msix_bar_read(&m, MSIX_PBA_OFF, 2, bits), 0);
        assert_int_equal(msix_bar_read(&m, MSIX_PBA_OFF + 2, 4, bits), 0);
        assert_int_equal(msix_bar_read(&m, MSIX_PBA_OFF + 4, 8, bits), 0);
        assert_int_equal(msix_bar_read(&m, MSIX_PBA_OFF - 4, 4, bits), 0);
        assert_true(msix_is_pba(MSIX_PBA_OFF));
        assert_false(msix_is_pba(MSIX_PBA_OFF - 1));
}

static void the_largest_table_fits(void **state)
{
        struct msix_message message;

        msix_init(&m, MSIX_VECTORS_MAX);
        m.enabled = true;
        program(MSIX_VECTORS_MAX - 1);
        assert_true(msix_get(&m, MSIX_VECTORS_MAX - 1, &message));
        assert_false(msix_get(&m, MSIX_VECTORS_MAX, &message));
        assert_int_equal(msix_bar_write(&m, entry(MSIX_VECTORS_MAX, DATA), 4, 1), MSIX_VECTORS_MAX);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(starts_masked_and_disabled, setup),
                cmocka_unit_test_setup(entries_remember, setup),
                cmocka_unit_test_setup(other_accesses_do_nothing, setup),
                cmocka_unit_test_setup(a_message_needs_everything, setup),
                cmocka_unit_test_setup(pending_bits, setup),
                cmocka_unit_test_setup(the_largest_table_fits, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
