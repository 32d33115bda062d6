"""The start of the kernel: memory, the kernel interface page, shared pages, sigma0 and the root task
(fact sheet, section 2).

The first two boot modules are sigma0 and the root task. The machine's own frames lie behind the kernel's
image; the kernel's pool is taken from the end of memory; the boot modules stay where the loader put them.
"""

from typing import NoReturn

from macadamia.abi.l4.identifiers import NIL_THREAD, ThreadId
from macadamia.kernels.l4 import elf, kip, stubs
from macadamia.kernels.l4.kernel_memory import allocate_zeroed_page, kernel_memory
from macadamia.kernels.l4.kip import MemoryType, Offset, add_memory_descriptor, set_interface_word
from macadamia.kernels.l4.page_table import LEVEL_3, allocate_table, page_sizes
from macadamia.kernels.l4.physical_memory import physical_memory
from macadamia.kernels.l4.root_threads import ROOT_TASK, SIGMA0, create_root_space, start_root_thread
from macadamia.kernels.l4.run import start_running, thread_word
from macadamia.kernels.l4.space import shared_pages
from macadamia.lang import (
    Ptr,
    Struct,
    address_of,
    cast,
    copy_bytes,
    implements,
    local,
    panic,
    range,
    static,
    u32,
    u64,
)
from macadamia.machine import interface
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, VirtAddr, round_down
from macadamia.machine.interface import physical_pointer
from macadamia.machine.text import log
from macadamia.machine.x86_64 import start_info
from macadamia.machine.x86_64.address_space import spaces
from macadamia.machine.x86_64.clock import clock
from macadamia.machine.x86_64.features import Feature, has
from macadamia.machine.x86_64.frames import frame_pool
from macadamia.machine.x86_64.initrd import Module, initrd
from macadamia.machine.x86_64.instructions import cpuid
from macadamia.machine.x86_64.layout import KERNEL_BASE, KERNEL_PHYSICAL
from macadamia.machine.x86_64.page_table import NO_EXECUTE, PRESENT, USER, Entry, descend
from macadamia.machine.x86_64.start_info import boot_info

POOL_SHARE = 8  # the kernel's pool is this part of memory
LARGEST_POOL = 256 << 20
VIDEO_START, VIDEO_END = 0xA_0000, 0xC_0000
FIRMWARE_END = 0xF_0000
DEVICES_START, DEVICES_END = 0xFEC0_0000, 0xFEF0_0000  # interrupt controllers: the kernel's
USER_VIRTUAL_END = 1 << 47
LEAF_ADDRESS_SIZES = 0x8000_0008
KILO = 1000
SERVERS = 2


class Range(Struct):
    start: u64
    end: u64


pool = static(Range)
machine_frames = static(Range)


@implements(interface.kernel_main)
def kernel_main() -> NoReturn:
    if initrd.count < SERVERS:
        panic("two boot modules are needed: sigma0 and the root task")
    find_memory()
    kip.kernel_interface.frame = PhysAddr(address_of(kip.interface_words) - KERNEL_BASE)
    describe_memory()
    make_shared_pages()
    start_server(initrd.modules[0], SIGMA0, NIL_THREAD, u64(Offset.SIGMA0))
    start_server(initrd.modules[1], ROOT_TASK, SIGMA0, u64(Offset.ROOT))
    log(f"l4: {kernel_memory.free_pages} pages of kernel memory are free")
    start_running()


def find_memory() -> None:
    """Divide memory between the machine, the kernel's pool and users."""
    sizes, _, _, _ = cpuid(u32(LEAF_ADDRESS_SIZES), u32(0))
    physical_memory.end = u64(1) << u64(sizes & 0xFF)
    if has(Feature.GIBIBYTE_PAGES):
        page_sizes.largest_level = LEVEL_3
    for index in range(boot_info.range_count):
        found = boot_info.ranges[index]
        if found.type == start_info.MemoryType.RAM:
            physical_memory.add_ram(found.start, found.start + found.size)
            choose_pool(found.start, found.start + found.size)
    machine_frames.start = KERNEL_PHYSICAL
    machine_frames.end = frame_pool.regions[0].start
    add_kernel(machine_frames.start, machine_frames.end)
    add_kernel(pool.start, pool.end)
    add_kernel(boot_info.initrd_start, boot_info.initrd_start + boot_info.initrd_size)
    add_kernel(DEVICES_START, DEVICES_END)
    kernel_memory.donate(PhysAddr(pool.start), PhysAddr(pool.end))


def add_kernel(start: u64, end: u64) -> None:
    if not physical_memory.add_kernel(start, end):
        panic("memory has more parts than the kernel can note")


def choose_pool(start: u64, end: u64) -> None:
    """The pool lies at the end of the largest piece of memory, before the boot modules if these are there."""
    if start <= boot_info.initrd_start < end:
        end = round_down(boot_info.initrd_start, PAGE_SIZE)
    size = min((end - start) // POOL_SHARE, LARGEST_POOL)
    if size > pool.end - pool.start:
        pool.start = round_down(end - size, PAGE_SIZE)
        pool.end = end


def describe_memory() -> None:
    """Memory descriptors: what sigma0 may hand out."""
    add_memory_descriptor(MemoryType.SHARED, 0, physical_memory.end)
    for index in range(boot_info.range_count):
        found = boot_info.ranges[index]
        is_ram = found.type == start_info.MemoryType.RAM
        type_ = u64(MemoryType.CONVENTIONAL) if is_ram else u64(MemoryType.ARCHITECTURE)
        add_memory_descriptor(type_, found.start, found.start + found.size)
    add_memory_descriptor(MemoryType.SHARED, VIDEO_START, VIDEO_END)
    add_memory_descriptor(MemoryType.SHARED, VIDEO_END, FIRMWARE_END)
    for index in range(physical_memory.kernel.count):
        start, end = physical_memory.kernel.starts[index], physical_memory.kernel.ends[index]
        add_memory_descriptor(MemoryType.RESERVED, start, end)
    add_memory_descriptor(MemoryType.VIRTUAL | MemoryType.CONVENTIONAL, 0, stubs.SHARED_START)
    set_interface_word(u64(Offset.RESERVED_MEMORY_0), machine_frames.start)
    set_interface_word(u64(Offset.RESERVED_MEMORY_0 + 8), machine_frames.end)
    set_interface_word(u64(kip.PROCESSOR_DESCRIPTORS), clock.frequency // KILO)
    set_interface_word(u64(kip.PROCESSOR_DESCRIPTORS + 8), clock.frequency // KILO)


def make_shared_pages() -> None:
    """The stubs and the thread word, in the root table that all others are copies of."""
    shared_pages.start = stubs.SHARED_START
    code = allocate_zeroed_page()
    copy_bytes(physical_pointer(code), stubs.stub_code, stubs.STUB_CODE_SIZE)
    share(VirtAddr(stubs.STUBS), code, USER)
    word = allocate_zeroed_page()
    share(VirtAddr(stubs.THREAD_WORD_PAGE), word, USER | NO_EXECUTE)
    thread_word.place = cast(u64, physical_pointer(word))


def share(address: VirtAddr, frame: PhysAddr, rights: u64) -> None:
    entry = descend(spaces.kernel_root, address, u64(1), allocate_table)
    if entry is None or frame == PhysAddr(0):
        panic("too little memory for the kernel")
    entry[0] = Entry(u64(frame) | rights | PRESENT)


def start_server(module: Ptr[Module], id_: ThreadId, pager: ThreadId, place: u64) -> None:
    """Load a program and start its first thread; note it in the kernel interface page at `place`."""
    file = module.content.start
    image = local(elf.Image)
    if file is None or not elf.measure(image, file, module.content.size):
        panic("a boot module that should be sigma0 or the root task is no ELF program")
    if not is_free(image.low, image.high):
        panic("a boot module wants memory that is not free")
    elf.load(file, module.content.size)
    set_interface_word(place + 8, image.entry)
    set_interface_word(place + 16, image.low)
    set_interface_word(place + 24, image.high)
    add_memory_descriptor(MemoryType.INITIAL_SERVER, image.low, image.high)
    space = create_root_space()
    thread = None if space is None else start_root_thread(id_, space, pager, image.entry)
    if thread is None or space is None:
        panic("too little memory for the kernel")
    space.is_sigma0 = id_ == SIGMA0


def is_free(low: u64, high: u64) -> bool:
    """Whether a program may be loaded there: to memory that is all RAM and none of the kernel's."""
    address = round_down(low, PAGE_SIZE)
    while address < high:
        if not physical_memory.is_ram(PhysAddr(address)):
            return False
        address += PAGE_SIZE
    return physical_memory.is_free_of_kernel(low, high)
