/*
 * pci: the bus, and one virtio device on it (the first entropy device, or else the first disk) that must go on working
 * while its BARs move, its interrupts are masked and it is reset under way.
 *
 * - Enumeration: a host bridge in slot 0; mechanism #1 and ECAM show the same; what is read-only stays.
 * - BARs: sizes are powers of two, addresses multiples of them; moved, the device answers there and no longer at the
 *   old place; without memory decoding it answers nowhere.
 * - MSI-X: the vector asked for arrives; a masked one stays pending and arrives once, when unmasked; so for the whole
 *   function.
 * - The PCI configuration access capability reads registers and notifies.
 * - Reset with requests under way: when device_status reads 0, nothing is written to memory any more.
 *
 * Options:  ecam[=N]  configuration space by ECAM alone (at N, decimal), else by ports, compared with ECAM
 *           noecam    by ports alone
 *           rounds=N  resets under way (default 10)
 * Prints:   pci: slot S VENDOR:DEVICE class CLASS BAR N at ADDRESS size SIZE ...
 *           pci: WHAT ok
 *           pci: WHAT failed: why
 * Verdicts: 0, 1 (a check failed), 3 (no device)
 * Needs:    the in-kernel local APIC; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/heap.h"
#include "lib/lapic.h"
#include "lib/memory.h"
#include "lib/pci.h"
#include "lib/print.h"
#include "lib/trap.h"
#include "lib/verdict.h"
#include "lib/virtio.h"
#include "lib/virtio_blk.h"
#include "lib/wait.h"
#include "vmm/x86_64/layout.h"

#define VERDICT_NO_DEVICE 3

#define CLASS_HOST_BRIDGE 0x0600
#define CONFIG_BYTES      256U
#define QUEUE_SIZE        16
#define DATA_BYTES        512U
#define UNDER_WAY         4U /* requests: three descriptors each */
#define VECTOR_FIRST      0x50
#define VECTORS           2U
#define QUIET_TICKS       (1ULL << 27) /* nothing happened for so long: nothing will */
#define SPOIL             0xa5
#define PIC_MASK_1        0x21
#define PIC_MASK_2        0xa1

static struct virtio dev;
static struct virtq queue;
static bool is_disk, both;
static volatile struct blk_header header = {.type = BLK_T_IN};
static volatile uint8_t statuses[UNDER_WAY];
static uint8_t *buffers; /* UNDER_WAY of DATA_BYTES */
static volatile uint32_t interrupts[VECTORS];

static bool failed(const char *what, const char *why)
{
        print("pci: %s failed: %s\n", what, why);
        return false;
}

static bool passed(const char *what)
{
        print("pci: %s ok\n", what);
        return true;
}

static void on_first(void)
{
        interrupts[0]++;
        lapic_eoi();
}

static void on_second(void)
{
        interrupts[1]++;
        lapic_eoi();
}

/* Request n of UNDER_WAY. */
static void add_request(unsigned int n)
{
        struct virtq_segment disk[] = {{&header, sizeof(header)},
                                       {buffers + n * DATA_BYTES, DATA_BYTES},
                                       {&statuses[n], 1}};

        if (is_disk)
                (void)virtq_add(&queue, disk, 1, 2);
        else
                (void)virtq_add(&queue, disk + 1, 0, 1);
}

static bool wait_done(void)
{
        uint32_t id, len;

        return virtq_wait(&queue, WAIT_TICKS, &id, &len);
}

static bool works(void)
{
        add_request(0);
        virtq_kick(&queue);
        return wait_done();
}

static bool start(void)
{
        return virtio_start(&dev, is_disk ? BLK_F_RO : 0, &queue, QUEUE_SIZE);
}

static void show_function(unsigned int slot)
{
        print("pci: slot %u %04x:%04x class %04x", slot, pci_read(slot, PCI_VENDOR, 2), pci_read(slot, PCI_DEVICE, 2),
              pci_read(slot, PCI_CLASS, 2));
        for (unsigned int bar = 0; bar < PCI_BARS; bar++) {
                struct pci_bar b = pci_bar_get(slot, bar);

                if (b.size)
                        print(" BAR %u at 0x%lx size 0x%lx", bar, b.address, b.size);
                bar += b.wide;
        }
        print("\n");
}

/* The two ways into configuration space show the same. */
static bool compare_ways(unsigned int slot)
{
        for (unsigned int off = 0; both && off < CONFIG_BYTES; off += 4) {
                uint32_t by_port = pci_read(slot, off, 4), by_ecam;

                pci_use_ecam(LAYOUT_ECAM);
                by_ecam = pci_read(slot, off, 4);
                pci_use_ecam(0);
                if (by_port != by_ecam)
                        return false;
        }
        return true;
}

/* Identification does not change when it is written. */
static bool stays(unsigned int slot, unsigned int off)
{
        uint32_t before = pci_read(slot, off, 4), after;

        pci_write(slot, off, 4, ~before);
        after = pci_read(slot, off, 4);
        return before == after;
}

static bool test_enumeration(void)
{
        const char *name = "enumeration";

        if (pci_read(0, PCI_CLASS, 2) != CLASS_HOST_BRIDGE)
                return failed(name, "no host bridge in slot 0");
        for (unsigned int slot = 0; slot < PCI_SLOTS; slot++) {
                if (pci_read(slot, PCI_VENDOR, 2) == PCI_NOTHING)
                        continue;
                show_function(slot);
                if (!compare_ways(slot))
                        return failed(name, "ports and ECAM differ");
                if (!stays(slot, PCI_VENDOR) || !stays(slot, PCI_REVISION))
                        return failed(name, "an identification can be written");
        }
        return passed(name);
}

/* No device answers there: all ones, or (the specification leaves it open) anything that ignores writes. */
static bool nothing_at(uint64_t common)
{
        mmio_write16(common + VIRTIO_QUEUE_SELECT, 0);
        if (mmio_read16(common + VIRTIO_QUEUE_SELECT) != 0)
                return true;
        mmio_write16(common + VIRTIO_QUEUE_SELECT, 1);
        return mmio_read16(common + VIRTIO_QUEUE_SELECT) != 1;
}

static bool move_bar(unsigned int bar, const struct pci_bar *b)
{
        const char *name = "BAR moved";
        uint64_t common = dev.common, place = pci_place(b->size);

        pci_bar_set(dev.slot, bar, place);
        if (pci_bar_get(dev.slot, bar).address != place)
                return failed(name, "another address is read back");
        virtio_find_again(&dev);
        if (dev.common != common && !nothing_at(common))
                return failed(name, "the device is still at the old place");
        if (!start() || !works())
                return failed(name, "the device does not work at the new place");
        return true;
}

static bool test_bars(void)
{
        const char *name = "BARs";

        for (unsigned int bar = 0; bar < PCI_BARS; bar++) {
                struct pci_bar b = pci_bar_get(dev.slot, bar);

                if (b.size) {
                        if ((b.size & (b.size - 1)) || (b.address & (b.size - 1)) || b.size < 16)
                                return failed(name, "size or alignment");
                        if (pci_bar_get(dev.slot, bar).address != b.address)
                                return failed(name, "sizing changed the address");
                        if (!move_bar(bar, &b))
                                return false;
                }
                bar += b.wide;
        }
        return passed(name);
}

/* Moved while requests are under way, and back: the queue goes on. */
static bool test_move_under_way(void)
{
        const char *name = "BAR moved under way";
        unsigned int bar = 0;
        struct pci_bar b;
        uint64_t old;

        for (b = pci_bar_get(dev.slot, 0); bar < PCI_BARS; b = pci_bar_get(dev.slot, ++bar)) {
                if (b.size && dev.common - b.address < b.size)
                        break;
        }
        old = b.address;
        add_request(0);
        virtq_kick(&queue);
        pci_bar_set(dev.slot, bar, pci_place(b.size));
        if (!wait_done())
                return failed(name, "the request does not complete");
        pci_bar_set(dev.slot, bar, old);
        return works() ? passed(name) : failed(name, "it does not work back at the old place");
}

static bool test_decoding(void)
{
        const char *name = "memory decoding";
        uint32_t command = pci_read(dev.slot, PCI_COMMAND, 2);
        bool nothing;

        pci_write(dev.slot, PCI_COMMAND, 2, command & ~(uint32_t)PCI_COMMAND_MEMORY);
        nothing = nothing_at(dev.common);
        pci_write(dev.slot, PCI_COMMAND, 2, command);
        if (!nothing)
                return failed(name, "the device answers without it");
        return works() ? passed(name) : failed(name, "it does not work afterwards");
}

static bool interrupt_arrives(unsigned int n, uint32_t count)
{
        bool in_time;

        cpu_interrupts_on();
        in_time = wait_for_count(&interrupts[n], count);
        cpu_interrupts_off();
        return in_time;
}

static void be_quiet(void)
{
        uint64_t begin = rdtsc();

        cpu_interrupts_on();
        while (rdtsc() - begin < QUIET_TICKS)
                cpu_pause();
        cpu_interrupts_off();
}

/* Queue 0 interrupts through that entry of the table. */
static bool start_with_vector(uint16_t entry)
{
        if (!virtio_reset(&dev) || !virtio_negotiate(&dev, is_disk ? BLK_F_RO : 0))
                return false;
        mmio_write16(dev.common + VIRTIO_QUEUE_SELECT, 0);
        mmio_write16(dev.common + VIRTIO_QUEUE_VECTOR, entry);
        if (mmio_read16(dev.common + VIRTIO_QUEUE_VECTOR) != entry || !virtq_set_up(&queue, &dev, 0, QUEUE_SIZE))
                return false;
        virtio_go(&dev);
        be_quiet(); /* a device may interrupt once when it starts, for what an earlier process of it left */
        return true;
}

static bool test_vectors(const struct pci_msix *m)
{
        const char *name = "MSI-X";

        for (unsigned int n = 0; n < VECTORS && n < m->count; n++) {
                uint32_t before, other;

                pci_msix_set(m, n, (uint8_t)(VECTOR_FIRST + n), (uint8_t)lapic_id());
                if (!start_with_vector((uint16_t)n))
                        return failed(name, "the vector is not taken");
                before = interrupts[n];
                other = interrupts[1 - n];
                if (!works() || !interrupt_arrives(n, before + 1))
                        return failed(name, "no interrupt");
                if (interrupts[1 - n] != other)
                        return failed(name, "the wrong vector");
        }
        mmio_write16(dev.common + VIRTIO_QUEUE_VECTOR, (uint16_t)m->count);
        if (mmio_read16(dev.common + VIRTIO_QUEUE_VECTOR) != VIRTIO_NO_VECTOR)
                return failed(name, "a vector beyond the table is taken");
        return passed(name);
}

static void mask(const struct pci_msix *m, bool function, bool masked)
{
        if (function)
                pci_msix_control(m, PCI_MSIX_CONTROL_ENABLE | (masked ? PCI_MSIX_CONTROL_MASK : 0));
        else
                pci_msix_mask(m, 0, masked);
}

/* The interrupt of a request waits until it is unmasked. */
static bool mask_once(const struct pci_msix *m, bool function, const char *name)
{
        uint32_t before;

        mask(m, function, true);
        be_quiet(); /* what was on its way arrives */
        before = interrupts[0];
        if (!works())
                return failed(name, "the request does not complete");
        be_quiet();
        if (interrupts[0] != before)
                return failed(name, "it is not");
        if (!pci_msix_pending(m, 0))
                return failed(name, "the pending bit is clear");
        mask(m, function, false);
        if (!interrupt_arrives(0, before + 1))
                return failed(name, "no interrupt when it is unmasked");
        be_quiet();
        if (interrupts[0] != before + 1)
                return failed(name, "more than one interrupt");
        if (pci_msix_pending(m, 0))
                return failed(name, "the pending bit stays");
        return true;
}

/* The vector or the function is masked, first from before the device starts. */
static bool test_masked(const struct pci_msix *m, bool function)
{
        const char *name = function ? "MSI-X function masked" : "MSI-X vector masked";

        pci_msix_set(m, 0, VECTOR_FIRST, (uint8_t)lapic_id());
        mask(m, function, true);
        if (!start_with_vector(0))
                return failed(name, "the vector is not taken");
        return mask_once(m, function, name) && mask_once(m, function, name) && passed(name);
}

static bool test_msix(void)
{
        struct pci_msix m = pci_msix_get(dev.slot);

        if (m.count == 0)
                return failed("MSI-X", "no capability");
        pci_msix_control(&m, PCI_MSIX_CONTROL_ENABLE);
        if (!test_vectors(&m) || !test_masked(&m, false) || !test_masked(&m, true))
                return false;
        pci_msix_control(&m, 0);
        return start() && works() ? passed("MSI-X off") : failed("MSI-X off", "the device does not work");
}

/* The capability of that cfg_type. */
static unsigned int find_cfg(uint8_t type)
{
        unsigned int cap = pci_capability(dev.slot, PCI_CAP_VENDOR, 0);

        while (cap && pci_read(dev.slot, cap + VIRTIO_CAP_TYPE, 1) != type)
                cap = pci_capability(dev.slot, PCI_CAP_VENDOR, cap);
        return cap;
}

/* Aims the window at offset off of what the capability of that type describes. */
static unsigned int aim(uint8_t type, uint32_t off, uint32_t len)
{
        unsigned int window = find_cfg(VIRTIO_CFG_PCI), target = find_cfg(type);

        if (!window || !target)
                return 0;
        pci_write(dev.slot, window + VIRTIO_CAP_BAR, 1, pci_read(dev.slot, target + VIRTIO_CAP_BAR, 1));
        pci_write(dev.slot, window + VIRTIO_CAP_OFFSET, 4, pci_read(dev.slot, target + VIRTIO_CAP_OFFSET, 4) + off);
        pci_write(dev.slot, window + VIRTIO_CAP_LENGTH, 4, len);
        return window + VIRTIO_CAP_DATA;
}

static bool test_window(void)
{
        const char *name = "configuration access capability";
        unsigned int data = aim(VIRTIO_CFG_COMMON, VIRTIO_NUM_QUEUES, 2);

        if (!data)
                return failed(name, "none");
        if (pci_read(dev.slot, data, 2) != mmio_read16(dev.common + VIRTIO_NUM_QUEUES))
                return failed(name, "it reads something else");
        add_request(0);
        data = aim(VIRTIO_CFG_NOTIFY, (uint32_t)(queue.doorbell - dev.notify), 2);
        pci_write(dev.slot, data, 2, 0);
        return wait_done() ? passed(name) : failed(name, "it does not notify");
}

/* The driver owns its memory again once the status is 0: nothing may change there. */
static bool reset_once(void)
{
        uint16_t idx;

        for (unsigned int n = 0; n < UNDER_WAY; n++)
                add_request(n);
        virtq_kick(&queue);
        if (!virtio_reset(&dev))
                return failed("reset", "the status does not become 0");
        memset(buffers, SPOIL, UNDER_WAY * DATA_BYTES);
        idx = queue.used->idx;
        be_quiet();
        if (queue.used->idx != idx)
                return failed("reset", "the used ring goes on");
        for (unsigned int i = 0; i < UNDER_WAY * DATA_BYTES; i += DATA_BYTES / 4) {
                if (buffers[i] != SPOIL)
                        return failed("reset", "data is written");
        }
        return (start() && works()) || failed("reset", "the device does not work afterwards");
}

static bool test_resets(uint64_t rounds)
{
        for (uint64_t round = 0; round < rounds; round++) {
                if (!reset_once())
                        return false;
        }
        return passed("reset under way");
}

unsigned int guest_main(const struct boot_info *boot)
{
        bool good;

        heap_init(boot);
        pci_init(boot);
        both = !boot_option(boot, "ecam") && !boot_option(boot, "noecam");
        buffers = heap_alloc(UNDER_WAY * DATA_BYTES, 4096);
        outb(PIC_MASK_1, 0xff); /* another machine may have interrupts that nobody asked for */
        outb(PIC_MASK_2, 0xff);
        (void)lapic_enable(LAPIC_XAPIC);
        trap_set_irq(VECTOR_FIRST, on_first);
        trap_set_irq(VECTOR_FIRST + 1, on_second);
        if (!test_enumeration())
                return VERDICT_FAILED;
        if (!virtio_find(VIRTIO_TYPE_RNG, 0, &dev)) {
                is_disk = true;
                if (!virtio_find(VIRTIO_TYPE_BLOCK, 0, &dev))
                        return VERDICT_NO_DEVICE;
        }
        if (!start() || !works())
                good = failed("start", "the device does not work");
        else
                good = test_bars() && test_move_under_way() && test_decoding() && test_msix() && test_window() &&
                       test_resets(boot_option_number(boot, "rounds", 10));
        return good ? VERDICT_PASSED : VERDICT_FAILED;
}
