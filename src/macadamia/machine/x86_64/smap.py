"""STAC and CLAC: opening user memory to the kernel for a moment, on processors that have SMAP.

Elsewhere the two are undefined opcodes. Each is assembled as a three-byte NOP and its place recorded; at
boot, before text becomes read-only, `patch_smap_sites` writes the real instruction where the processor has
SMAP.
"""

from macadamia.lang import Ptr, Struct, cast, copy_bytes, pointer_at, pointer_to, range, u8, u64
from macadamia.machine.x86_64.layout import symbol_address

STAC_BYTES = 0xCB010F  # 0F 01 CB
CLAC_BYTES = 0xCA010F  # 0F 01 CA
INSTRUCTION_LENGTH = 3


def site(instruction: int) -> str:
    """Assembly text of a patchable instruction."""
    return (
        "990: .byte 0x0F, 0x1F, 0x00\n"
        '.pushsection .smap_sites, "a", @progbits\n'
        f".quad 990b, {instruction:#x}\n"
        ".popsection\n"
    )


STAC = site(STAC_BYTES)
CLAC = site(CLAC_BYTES)


class Site(Struct):
    address: u64
    instruction: u64


sites_start = symbol_address("smap_sites_start")
sites_end = symbol_address("smap_sites_end")


def patch_smap_sites() -> None:
    """Turn the recorded NOPs into STAC and CLAC. Text must still be writable."""
    site = pointer_at(Site, sites_start())
    count = (sites_end() - sites_start()) // 16
    for i in range(count):
        copy_bytes(pointer_at(u8, site[i].address), instruction_bytes(site + i), INSTRUCTION_LENGTH)


def instruction_bytes(site: Ptr[Site]) -> Ptr[u8]:
    return cast(u8, pointer_to(site.instruction))
