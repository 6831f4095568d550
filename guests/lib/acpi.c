#include "acpi.h"

#include "cpu.h"
#include "vmm/x86_64/layout.h"

#define SLP_EN 0x20 /* ACPI 6.4, 4.8.3.7 */

void acpi_power_off(void)
{
        outb(LAYOUT_PM_PORT + LAYOUT_PM_SLEEP_CTL, LAYOUT_PM_SLP_TYP_S5 << 2 | SLP_EN);
}
