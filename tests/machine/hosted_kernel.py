"""Kernel functions for the tests of the simulated machine: paging as a kernel does it, and a small kernel."""

from macadamia.lang import Array, Ptr, Struct, implements, pointer_to, static, u8, u32, u64, user_pointer_at
from macadamia.machine import interface
from macadamia.machine.addresses import PhysAddr, VirtAddr
from macadamia.machine.interface import (
    acknowledge_interrupt,
    activate,
    console_write,
    copy_from_user,
    copy_to_user,
    idle,
    load_user_word,
    power_off,
    resume,
    set_timer,
    time_now,
)
from macadamia.machine.x86_64.address_space import AddressSpace, spaces
from macadamia.machine.x86_64.frame import FpuState, Frame
from macadamia.machine.x86_64.frames import allocate_table, frame_pool, free_table
from macadamia.machine.x86_64.page_table import USER, WRITABLE, Entry

SPACES = 3


class Thread(Struct):
    frame: Frame
    fpu: FpuState


class Kernel(Struct):
    spaces: Array[AddressSpace, SPACES]
    threads: Array[Thread, 2]
    ticks: u64
    interrupts: u64
    buffer: Array[u8, 64]


kernel = static(Kernel)


def start_memory(start: u64, end: u64, no_flush: u64) -> None:
    frame_pool.add(start, end)
    spaces.kernel_root = allocate_table()
    spaces.no_flush = no_flush


def create_space(number: u64) -> None:
    kernel.spaces[number].create(frame_pool.allocate())


def destroy_space(number: u64) -> None:
    space = kernel.spaces[number]
    space.destroy(free_table)
    frame_pool.free(space.root)


def load_space(number: u64) -> None:
    kernel.spaces[number].load()


def map_page(number: u64, address: VirtAddr, physical: PhysAddr, level: u64, rights: u64) -> bool:
    return kernel.spaces[number].map(address, physical, level, rights, allocate_table)


def unmap_page(number: u64, address: VirtAddr) -> Entry:
    return kernel.spaces[number].unmap(address)


def translate(number: u64, address: VirtAddr) -> tuple[PhysAddr, Entry]:
    return kernel.spaces[number].translate(address)


def available() -> u64:
    return frame_pool.available


def allocate_contiguous(frames: u64, alignment: u64) -> PhysAddr:
    return frame_pool.allocate_contiguous(frames, alignment)


def reserve(start: u64, end: u64) -> None:
    frame_pool.reserve(start, end)


def add(start: u64, end: u64) -> None:
    frame_pool.add(start, end)


def allocate() -> PhysAddr:
    return frame_pool.allocate()


def free(frame: PhysAddr) -> None:
    frame_pool.free(frame)


# A kernel of two threads


def start_threads() -> None:
    kernel.threads[0].frame.start(0x1000, 0x2000)
    kernel.threads[1].frame.start(0x3000, 0x4000)
    activate(kernel.threads[0].frame)


@implements(interface.handle_system_call)
def handle_system_call(frame: Ptr[Frame]) -> None:
    if frame.rax == 1:
        other = kernel.threads[1].frame
        resume(kernel.threads[0].frame if frame == other else other)
    elif frame.rax == 2:
        buffer = pointer_to(kernel.buffer[0])
        frame.rax = copy_from_user(buffer, user_pointer_at(u8, frame.rdi), frame.rsi)
        copy_to_user(user_pointer_at(u8, frame.rdx), buffer, frame.rsi)
    elif frame.rax == 3:
        before = kernel.ticks
        while kernel.ticks == before:
            idle()
        frame.rax = time_now()
    elif frame.rax == 4:
        value, loaded = load_user_word(user_pointer_at(u64, frame.rdi))
        frame.rax = value if loaded else u64(77)
    elif frame.rax == 5:
        power_off(9)


@implements(interface.handle_page_fault)
def handle_page_fault(frame: Ptr[Frame], address: VirtAddr) -> None:
    if frame.error & 1:
        resume(kernel.threads[1].frame)
    map_page(0, address.page(), frame_pool.allocate_zeroed(), 1, USER | WRITABLE)


@implements(interface.handle_exception)
def handle_exception(frame: Ptr[Frame]) -> None:
    console_write(u8(frame.vector))
    frame.jump(0x5000)


@implements(interface.handle_interrupt)
def handle_interrupt(line: u32) -> None:
    kernel.interrupts += 1
    if line != 7:
        acknowledge_interrupt(line)


@implements(interface.handle_timer)
def handle_timer() -> None:
    kernel.ticks += 1
    set_timer(time_now() + 1000)


PAGING = (start_memory, create_space, destroy_space, load_space, map_page, unmap_page, translate, available)
FRAMES = (allocate_contiguous, reserve, add, allocate, free, available)
HANDLERS = (handle_system_call, handle_page_fault, handle_exception, handle_interrupt, handle_timer)
