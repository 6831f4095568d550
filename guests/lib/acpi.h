/* The ACPI registers of a hardware-reduced machine, without reading its tables. */
#pragma once

/* Enters S5 through the sleep control register. Comes back only when that did not end the machine. */
void acpi_power_off(void);
