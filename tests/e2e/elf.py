"""Kernel images made up by the tests: ELF with a PVH note (xen/include/public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY)."""

import struct
from dataclasses import dataclass

PT_LOAD, PT_NOTE = 1, 4
PF_RX = 5
XEN_ELFNOTE_PHYS32_ENTRY = 18

BASE = 0x200000  # where the images lie in guest memory

HALT = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to the hlt


def code_verdict(value):
    """32-bit code that writes to the test register, 0xf4, and halts."""
    return b"\xb8" + struct.pack("<I", value) + b"\xe7\xf4" + HALT


# 32-bit code that waits for a byte on the UART and writes to the reset register, 0x602.
CODE_RESET_ON_INPUT = (b"\x66\xba\xfc\x03\xb0\x02\xee"  # modem control register: ready to receive
                       b"\x42\xec\xa8\x01\x74\xfb"  # line status register: until data is ready
                       b"\x66\xba\x02\x06\xb0\x01\xee" + HALT)


@dataclass
class Segment:
    paddr: int
    data: bytes
    memsz: int = None  # default: as long as data
    filesz: int = None  # what the header claims; default: as long as data
    offset: int = None  # what the header claims; default: where data is


def note(entry, width=4):
    return struct.pack("<III", 4, width, XEN_ELFNOTE_PHYS32_ENTRY) + b"Xen\0" + entry.to_bytes(width, "little")


def image(segments, entry=BASE, bits=64, with_note=True, machine=None):
    """The bytes of an ELF with these segments and, on request, a PVH note that names the entry."""
    parts = list(segments)
    if with_note:
        parts.append(Segment(0, note(entry)))
    header_size, phdr_size = (64, 56) if bits == 64 else (52, 32)
    offset = header_size + phdr_size * len(parts)
    headers, data = b"", b""
    for i, s in enumerate(parts):
        kind = PT_NOTE if with_note and i == len(parts) - 1 else PT_LOAD
        at = s.offset if s.offset is not None else offset + len(data)
        filesz = s.filesz if s.filesz is not None else len(s.data)
        memsz = s.memsz if s.memsz is not None else len(s.data)
        if bits == 64:
            headers += struct.pack("<IIQQQQQQ", kind, PF_RX, at, s.paddr, s.paddr, filesz, memsz, 4)
        else:
            headers += struct.pack("<8I", kind, at, s.paddr, s.paddr, filesz, memsz, PF_RX, 4)
        data += s.data
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1, 1]) + bytes(9)
    machine = machine or (62 if bits == 64 else 3)
    address = "Q" if bits == 64 else "I"
    head = ident + struct.pack(f"<HHI{address}{address}{address}IHHHHHH", 2, machine, 1, entry, header_size, 0, 0,
                               header_size, phdr_size, len(parts), 0, 0, 0)
    return head + headers + data


def verdict_image(value):
    return image([Segment(BASE, code_verdict(value))])


def loaded_bytes(data):
    """How much of a 64-bit ELF, from its start, is needed to boot it: up to the end of the last segment."""
    phoff, = struct.unpack_from("<Q", data, 32)
    count, = struct.unpack_from("<H", data, 56)
    end = phoff + 56 * count
    for i in range(count):
        kind, _, offset, _, _, filesz = struct.unpack_from("<IIQQQQ", data, phoff + 56 * i)
        if kind == PT_LOAD:
            end = max(end, offset + filesz)
    return end
