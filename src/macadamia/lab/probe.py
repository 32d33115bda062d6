"""A kernel of a few hundred bytes, made without compiler or linker, to try QEMU and the runner with.

PVH enters it in 32-bit protected mode without paging (Xen, "PVH boot ABI"); all it does is write
bytes to ports.
"""

import struct

from macadamia.lab.qemu import EXIT_ORDERLY, EXIT_PORT

COM1 = 0x3F8
COM2 = 0x2F8
HANG = b"\xeb\xfe"  # jmp to itself
UNDEFINED = b"\x0f\x0b"  # ud2; without an interrupt table it ends in a triple fault

_LOAD_ADDRESS = 0x10_0000
_PAGE = 0x1000
_HEADER, _PROGRAM_HEADER = 64, 56  # sizes in ELF64
_PHYS32_ENTRY = 18  # XEN_ELFNOTE_PHYS32_ENTRY, the note that makes an ELF file a PVH kernel
_EM_X86_64 = 62
_PT_LOAD, _PT_NOTE = 1, 4


def kernel(code: bytes) -> bytes:
    """A PVH ELF64 image that runs `code` (32-bit machine code)."""
    entry = _LOAD_ADDRESS + _PAGE
    note_offset = _HEADER + 2 * _PROGRAM_HEADER
    note = struct.pack("<III4sI", 4, 4, _PHYS32_ENTRY, b"Xen\0", entry)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64-bit, little-endian, version 1
    header = identity + struct.pack("<HHIQQQIHHHHHH", 2, _EM_X86_64, 1, entry, _HEADER, 0, 0, _HEADER,
                                    _PROGRAM_HEADER, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", _PT_LOAD, 5, _PAGE, entry, entry, len(code), len(code), _PAGE)
    place = (note_offset, note_offset, note_offset, len(note), len(note))
    notes = struct.pack("<IIQQQQQQ", _PT_NOTE, 4, *place, 4)
    return (header + load + notes + note).ljust(_PAGE, b"\0") + code


def write_port(port: int, value: int) -> bytes:
    """mov dx, port; mov al, value; out dx, al."""
    return b"\x66\xba" + struct.pack("<H", port) + bytes([0xB0, value, 0xEE])


def say(port: int, text: str) -> bytes:
    """Code that writes `text` to the serial line at `port`."""
    return b"".join(write_port(port, byte) for byte in text.encode())


def end(*, status: int, value: int = EXIT_ORDERLY) -> bytes:
    """Code that ends the guest as lab/qemu.py lays down."""
    return say(COM2, f"macadamia: exit {status}\n") + write_port(EXIT_PORT, value) + HANG
