"""What the boot loader tells: PVH start information (Xen: public/arch-x86/hvm/start_info.h).

Everything the machine needs later is copied, so that the memory of these structures can be used.
"""

from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    cast,
    copy_bytes,
    local,
    panic,
    pointer_at,
    sizeof,
    static,
    u8,
    u32,
    u64,
)
from macadamia.machine.x86_64.layout import IMAGE_LIMIT, PHYSICAL_MAP

MAGIC = 0x336E_C578
VERSION_WITH_MEMORY_MAP = 1
MAXIMUM_RANGES = 64


class MemoryType:
    """Types of memory ranges, as the BIOS function E820 numbers them (ACPI 6.4, table 15.3)."""

    RAM = 1
    RESERVED = 2
    ACPI_RECLAIMABLE = 3
    ACPI_STORAGE = 4


class MemoryRange(Struct):
    """hvm_memmap_table_entry."""

    start: u64
    size: u64
    type: u32
    reserved: u32


class LoaderModule(Struct):
    """hvm_modlist_entry."""

    start: u64
    size: u64
    command_line: u64
    reserved: u64


class StartInfo(Struct):
    """hvm_start_info, version 1. All addresses are physical."""

    magic: u32
    version: u32
    flags: u32
    module_count: u32
    modules: u64
    command_line: u64
    acpi_root: u64  # RSDP, 0 = unknown
    memory_map: u64
    memory_map_entries: u32
    reserved: u32


class BootInfo(Struct):
    """The copy. `ranges[:range_count]` is the memory map in the loader's order."""

    ranges: Array[MemoryRange, MAXIMUM_RANGES]
    range_count: u64
    initrd_start: u64
    initrd_size: u64  # 0 = none
    acpi_root: u64


boot_info = static(BootInfo)


def read_start_info(address: u64) -> None:
    """Copy the start information at physical `address`; the boot page tables are in use."""
    info = local(StartInfo)
    copy_low_memory(cast(u8, info), address, sizeof(StartInfo))
    if info.magic != MAGIC:
        panic("the boot loader does not speak PVH: no start information")
    if info.version < VERSION_WITH_MEMORY_MAP or info.memory_map_entries == 0:
        panic("the boot loader gives no memory map")
    boot_info.range_count = min(u64(info.memory_map_entries), MAXIMUM_RANGES)
    copy_low_memory(cast(u8, boot_info.ranges), info.memory_map, boot_info.range_count * sizeof(MemoryRange))
    boot_info.acpi_root = info.acpi_root
    if info.module_count > 1:
        panic("more than one boot module: pack them into one initrd")
    if info.module_count == 1:
        module = local(LoaderModule)
        copy_low_memory(cast(u8, module), info.modules, sizeof(LoaderModule))
        boot_info.initrd_start = module.start
        boot_info.initrd_size = module.size


def copy_low_memory(to: Ptr[u8], address: u64, size: u64) -> None:
    """Copy from physical memory that the boot page tables map; nothing there need be aligned."""
    if address >= IMAGE_LIMIT - size:
        panic("the boot loader put its information above 1 GiB")
    copy_bytes(to, pointer_at(u8, PHYSICAL_MAP) + address, size)
