/*
 * What the machine has besides processors and the I/O APIC: one serial port, a power button that reports
 * through the generic event device, power off. Numbers come from layout.h: the C preprocessor runs first.
 */
#include "vmm/x86_64/layout.h"

DefinitionBlock ("", "DSDT", 2, "BLKHD ", "BULKHEAD", 1)
{
        Scope (_SB)
        {
                Device (COM1)
                {
                        Name (_HID, EisaId ("PNP0501")) // 16550A
                        Name (_UID, 0)
                        Name (_CRS, ResourceTemplate ()
                        {
                                IO (Decode16, LAYOUT_UART_PORT, LAYOUT_UART_PORT, 1, LAYOUT_UART_PORTS)
                                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { LAYOUT_UART_GSI }
                        })
                }

                Device (PWRB)
                {
                        Name (_HID, EisaId ("PNP0C0C")) // power button, control method
                }

                Device (GED)
                {
                        Name (_HID, "ACPI0013") // generic event device
                        Name (_UID, 0)
                        Name (_CRS, ResourceTemplate ()
                        {
                                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { LAYOUT_GED_GSI }
                        })

                        OperationRegion (EVNT, SystemIO, LAYOUT_PM_PORT + LAYOUT_PM_EVENTS, 1)
                        Field (EVNT, ByteAcc, NoLock, WriteAsZeros)
                        {
                                PEND, 8
                        }

                        // Reading clears, so read once.
                        Method (_EVT, 1, Serialized)
                        {
                                Local0 = PEND
                                If (Local0 & LAYOUT_PM_EVENT_POWER)
                                {
                                        Notify (PWRB, 0x80) // button pressed
                                }
                        }
                }

                // Ports that no device above owns, so that nothing else is put there.
                Device (PORT)
                {
                        Name (_HID, EisaId ("PNP0C02")) // motherboard resources
                        Name (_UID, 0)
                        Name (_CRS, ResourceTemplate ()
                        {
                                IO (Decode16, LAYOUT_PM_PORT, LAYOUT_PM_PORT, 1, LAYOUT_PM_PORTS)
                                IO (Decode16, LAYOUT_TEST_PORT, LAYOUT_TEST_PORT, 1, LAYOUT_TEST_PORTS)
                        })
                }
        }

        Name (_S5, Package () { LAYOUT_PM_SLP_TYP_S5, 0, 0, 0 })
}
