#include "vmm/machine.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spec/vmm_fds.h"
#include "vmm/routes.h"
#include "vmm/x86_64/layout.h"

void machine_wake_main(void)
{
        const uint64_t one = 1;

        /* Fails only when the counter is full, and then the main thread is awake anyway. */
        (void)!write(VMM_FD_WAKE, &one, sizeof(one));
}

void machine_fail_locked(struct machine *m, const struct err *e)
{
        if (m->stop != STOP_NO)
                return;
        m->stop = STOP_FAILED;
        m->failure = *e;
        machine_wake_main();
}

/* ---- interrupts ---- */

static void ioapic_deliver(void *ctx, const struct ioapic_msi *msi)
{
        struct kvm_msi m = {
                .address_lo = (uint32_t)msi->address,
                .address_hi = (uint32_t)(msi->address >> 32),
                .data = msi->data,
        };

        (void)ctx;
        /* A message to a processor that does not exist or is not started is lost, as on hardware. */
        (void)ioctl(VMM_FD_VM, KVM_SIGNAL_MSI, &m);
}

static void ioapic_routes_changed(void *ctx)
{
        routes_set(ctx);
}

static const struct ioapic_ops ioapic_ops = {.deliver = ioapic_deliver, .routes_changed = ioapic_routes_changed};

static void line_set(struct machine *m, unsigned int pin, bool level)
{
        ioapic_set_line(&m->ioapic, &ioapic_ops, m, pin, level);
}

/* ---- UART ---- */

static size_t uart_transmit(void *ctx, const uint8_t *data, size_t len)
{
        struct machine *m = ctx;
        ssize_t n = send(VMM_FD_CONSOLE, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n >= 0)
                return (size_t)n;
        if (errno != EAGAIN && errno != EINTR)
                return len; /* the supervisor is gone, and this process soon will be */
        if (!m->tx_waiting) {
                m->tx_waiting = true;
                machine_wake_main();
        }
        return 0;
}

static void uart_set_irq(void *ctx, bool level)
{
        line_set(ctx, LAYOUT_UART_GSI, level);
}

static const struct uart_ops uart_ops = {.transmit = uart_transmit, .set_irq = uart_set_irq};

static uint8_t uart_port_read(struct machine *m, unsigned int reg)
{
        uint8_t v = uart_read(&m->uart, &uart_ops, m, reg);

        if (m->rx_waiting && uart_receive_room(&m->uart) > 0) {
                m->rx_waiting = false;
                machine_wake_main();
        }
        return v;
}

bool machine_console_wants_input(struct machine *m)
{
        bool wants;

        pthread_mutex_lock(&m->lock);
        wants = uart_receive_room(&m->uart) > 0;
        m->rx_waiting = !wants;
        pthread_mutex_unlock(&m->lock);
        return wants;
}

size_t machine_console_room(struct machine *m)
{
        size_t room;

        pthread_mutex_lock(&m->lock);
        room = uart_receive_room(&m->uart);
        pthread_mutex_unlock(&m->lock);
        return room;
}

bool machine_console_has_output(struct machine *m)
{
        bool has;

        pthread_mutex_lock(&m->lock);
        has = uart_has_output(&m->uart);
        pthread_mutex_unlock(&m->lock);
        return has;
}

void machine_console_input(struct machine *m, const uint8_t *data, size_t len)
{
        pthread_mutex_lock(&m->lock);
        /* Nobody else receives, so the room that the caller saw is still there; a guest that reset its FIFO meanwhile
         * loses what does not fit, as on a wire. */
        (void)uart_receive(&m->uart, &uart_ops, m, data, len);
        pthread_mutex_unlock(&m->lock);
}

void machine_console_flush(struct machine *m)
{
        pthread_mutex_lock(&m->lock);
        m->tx_waiting = false;
        uart_flush(&m->uart, &uart_ops, m);
        pthread_mutex_unlock(&m->lock);
}

/* ---- ACPI registers ---- */

static uint8_t pm_read(struct machine *m, unsigned int reg)
{
        uint8_t v = 0;

        if (reg == LAYOUT_PM_EVENTS) {
                v = m->pm_events;
                m->pm_events = 0;
                line_set(m, LAYOUT_GED_GSI, false);
        }
        return v;
}

static void pm_write(struct machine *m, unsigned int reg, uint8_t value)
{
        /* ACPI 6.4, 4.8.3.7: SLP_TYPx in bits 2-4, SLP_EN bit 5. */
        if (reg == LAYOUT_PM_SLEEP_CTL && (value & 0x20) && ((value >> 2) & 7) == LAYOUT_PM_SLP_TYP_S5)
                machine_end_locked(m, END_POWEROFF, 0);
        else if (reg == LAYOUT_PM_RESET && value == LAYOUT_PM_RESET_VALUE)
                machine_end_locked(m, END_RESET, 0);
}

void machine_power_button(struct machine *m)
{
        pthread_mutex_lock(&m->lock);
        m->pm_events |= LAYOUT_PM_EVENT_POWER;
        line_set(m, LAYOUT_GED_GSI, true);
        pthread_mutex_unlock(&m->lock);
}

/* ---- buses ---- */

/* Its registers are 32 bits wide, and an access says how much of one it wants. */
static bool in_pci(uint16_t port, unsigned int width)
{
        return port >= LAYOUT_PCI_PORT && port + width <= LAYOUT_PCI_PORT + LAYOUT_PCI_PORTS;
}

static uint8_t port_read_byte(struct machine *m, uint16_t port)
{
        if (in_pci(port, 1))
                return (uint8_t)pci_port_read(&m->pci, port, 1);
        if (port >= LAYOUT_UART_PORT && port < LAYOUT_UART_PORT + LAYOUT_UART_PORTS)
                return uart_port_read(m, port - LAYOUT_UART_PORT);
        if (port >= LAYOUT_PM_PORT && port < LAYOUT_PM_PORT + LAYOUT_PM_PORTS)
                return pm_read(m, port - LAYOUT_PM_PORT);
        return 0xff;
}

static void port_write_byte(struct machine *m, uint16_t port, uint8_t value)
{
        if (in_pci(port, 1))
                pci_port_write(&m->pci, port, 1, value);
        else if (port >= LAYOUT_UART_PORT && port < LAYOUT_UART_PORT + LAYOUT_UART_PORTS)
                uart_write(&m->uart, &uart_ops, m, port - LAYOUT_UART_PORT, value);
        else if (port >= LAYOUT_PM_PORT && port < LAYOUT_PM_PORT + LAYOUT_PM_PORTS)
                pm_write(m, port - LAYOUT_PM_PORT, value);
}

/* Every device but PCI is byte-wide: a wider access is that many byte accesses at rising ports, as on an 8-bit bus.
 * Ports past 0xffff wrap to nothing. */
uint32_t machine_port_read(struct machine *m, uint16_t port, unsigned int width)
{
        uint32_t value = 0;

        pthread_mutex_lock(&m->lock);
        if (in_pci(port, width))
                value = pci_port_read(&m->pci, port, width);
        for (unsigned int i = 0; i < width && !in_pci(port, width); i++)
                value |= (uint32_t)(port + i > 0xffff ? 0xff : port_read_byte(m, (uint16_t)(port + i))) << (8 * i);
        pthread_mutex_unlock(&m->lock);
        return value;
}

void machine_port_write(struct machine *m, uint16_t port, unsigned int width, uint32_t value)
{
        pthread_mutex_lock(&m->lock);
        if (m->test_device && port == LAYOUT_TEST_PORT && width == LAYOUT_TEST_PORTS)
                machine_end_locked(m, END_VERDICT, value);
        else if (in_pci(port, width))
                pci_port_write(&m->pci, port, width, value);
        else
                for (unsigned int i = 0; i < width && port + i <= 0xffff; i++)
                        port_write_byte(m, (uint16_t)(port + i), (uint8_t)(value >> (8 * i)));
        pthread_mutex_unlock(&m->lock);
}

static bool in_ioapic(gpa_t address)
{
        return address >= LAYOUT_IOAPIC && address < LAYOUT_IOAPIC + LAYOUT_IOAPIC_SIZE;
}

void machine_mmio_read(struct machine *m, gpa_t address, uint8_t *data, unsigned int len)
{
        uint32_t v;

        memset(data, 0xff, len);
        pthread_mutex_lock(&m->lock);
        if (in_ioapic(address)) {
                v = ioapic_read(&m->ioapic, (uint32_t)(address - LAYOUT_IOAPIC), len);
                memset(data, 0, len);
                memcpy(data, &v, len < sizeof(v) ? len : sizeof(v));
        } else if (!pci_mmio_read(&m->pci, address, data, len)) {
                memset(data, 0xff, len);
        }
        pthread_mutex_unlock(&m->lock);
}

void machine_mmio_write(struct machine *m, gpa_t address, const uint8_t *data, unsigned int len)
{
        uint32_t v = 0;

        memcpy(&v, data, len < sizeof(v) ? len : sizeof(v));
        pthread_mutex_lock(&m->lock);
        if (in_ioapic(address))
                ioapic_write(&m->ioapic, &ioapic_ops, m, (uint32_t)(address - LAYOUT_IOAPIC), len, v);
        else
                (void)pci_mmio_write(&m->pci, address, data, len); /* to nowhere: dropped */
        pthread_mutex_unlock(&m->lock);
}

void machine_eoi(struct machine *m, uint8_t vector)
{
        pthread_mutex_lock(&m->lock);
        ioapic_eoi(&m->ioapic, &ioapic_ops, m, vector);
        pthread_mutex_unlock(&m->lock);
}

/* ---- start and stop ---- */

void machine_init(struct machine *m, unsigned int vcpus, bool test_device)
{
        memset(m, 0, sizeof(*m));
        m->vcpus = vcpus;
        m->test_device = test_device;
        pthread_mutex_init(&m->creation, NULL);
        pthread_mutex_init(&m->lock, NULL);
        pthread_cond_init(&m->changed, NULL);
        uart_init(&m->uart);
        ioapic_init(&m->ioapic);
        pci_init(&m->pci);
}

void machine_end_locked(struct machine *m, enum control_reason reason, uint32_t verdict)
{
        if (m->stop != STOP_NO)
                return;
        m->stop = STOP_END;
        m->reason = reason;
        m->verdict = verdict;
        machine_wake_main();
}

void machine_end(struct machine *m, enum control_reason reason, uint32_t verdict)
{
        pthread_mutex_lock(&m->lock);
        machine_end_locked(m, reason, verdict);
        pthread_mutex_unlock(&m->lock);
}

void machine_fail(struct machine *m, const struct err *e)
{
        pthread_mutex_lock(&m->lock);
        machine_fail_locked(m, e);
        pthread_mutex_unlock(&m->lock);
}

bool machine_stopping(struct machine *m)
{
        bool stopping;

        pthread_mutex_lock(&m->lock);
        stopping = m->stop != STOP_NO;
        pthread_mutex_unlock(&m->lock);
        return stopping;
}
