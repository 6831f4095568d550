/*
 * What the machine has besides processors and the I/O APIC: one serial port, a PCI bus, a power button that reports
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

                // One bus. No _PRT: its functions have no interrupt pins, only MSI-X.
                Device (PCI0)
                {
                        Name (_HID, EisaId ("PNP0A08")) // PCI Express root bridge: there is an ECAM
                        Name (_CID, EisaId ("PNP0A03")) // PCI root bridge
                        Name (_SEG, 0)
                        Name (_BBN, 0)
                        Name (_UID, 0)
                        Name (_CRS, ResourceTemplate ()
                        {
                                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
                                IO (Decode16, LAYOUT_PCI_PORT, LAYOUT_PCI_PORT, 1, LAYOUT_PCI_PORTS)
                                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                                        0, LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_LAST, 0,
                                        LAYOUT_PCI_WINDOW_SIZE)
                        })

                        // PCI Firmware 3.3, 4.5.1: the system may have the capability structures (bit 4). Hot plug, power
                        // management events, error reporting and the rest do not exist.
                        Method (_OSC, 4, Serialized)
                        {
                                CreateDWordField (Arg3, 0, STAT)
                                If (Arg0 != ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766"))
                                {
                                        STAT |= 0x04 // unrecognised UUID
                                        Return (Arg3)
                                }
                                If (Arg1 != 1)
                                {
                                        STAT |= 0x08 // unrecognised revision
                                        Return (Arg3)
                                }
                                If (Arg2 < 3)
                                {
                                        STAT |= 0x02 // _OSC failure: not the three words it has to be
                                        Return (Arg3)
                                }
                                CreateDWordField (Arg3, 8, CTRL)
                                If (CTRL & ~0x10)
                                {
                                        STAT |= 0x10 // capabilities masked
                                        CTRL &= 0x10
                                }
                                Return (Arg3)
                        }
                }

                // What no device above owns, so that nothing else is put there. An ECAM is no resource of its bridge
                // (PCI Firmware 3.3, 4.1.2).
                Device (PORT)
                {
                        Name (_HID, EisaId ("PNP0C02")) // motherboard resources
                        Name (_UID, 0)
                        Name (_CRS, ResourceTemplate ()
                        {
                                IO (Decode16, LAYOUT_PM_PORT, LAYOUT_PM_PORT, 1, LAYOUT_PM_PORTS)
                                IO (Decode16, LAYOUT_TEST_PORT, LAYOUT_TEST_PORT, 1, LAYOUT_TEST_PORTS)
                                Memory32Fixed (ReadWrite, LAYOUT_ECAM, LAYOUT_ECAM_SIZE)
                        })
                }
        }

        Name (_S5, Package () { LAYOUT_PM_SLP_TYP_S5, 0, 0, 0 })
}
