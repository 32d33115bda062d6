"""Entry to and exit from the kernel: what the machine calls, and how a thread gets the processor."""

from typing import NoReturn

from macadamia.abi.l4.fpages import Rights
from macadamia.kernels.l4 import emulation, events, faults
from macadamia.kernels.l4.dispatch import dispatch
from macadamia.kernels.l4.identity import map_identity
from macadamia.kernels.l4.mapping import Outcome, preemption_point
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.stubs import THREAD_WORD_PAGE
from macadamia.kernels.l4.system_calls import system_call
from macadamia.kernels.l4.thread import Thread
from macadamia.lang import Ptr, Struct, implements, static, u32, u64
from macadamia.machine import interface
from macadamia.machine.addresses import VirtAddr
from macadamia.machine.interface import idle, resume, set_io_permissions, set_user_bases, switch_fpu
from macadamia.machine.io_permissions import IoPermissions
from macadamia.machine.x86_64.frame import Frame, PageFault


class ThreadWord(Struct):
    """Where the word that %gs:0 reads is, for the kernel."""

    place: Ptr[u64]


thread_word = static(ThreadWord)
all_ports = static(IoPermissions)
"""All threads may use all I/O ports, as on a kernel without I/O fpages: programs for Pistachio expect it."""


def leave_kernel() -> NoReturn:
    """Run who is to run now; without anybody wait for an interrupt."""
    thread = dispatch()
    while thread == processor.idle:
        processor.in_kernel = True
        idle()
        processor.in_kernel = False
        thread = dispatch()
    switch_to(thread)
    resume(thread.frame)


def switch_to(thread: Ptr[Thread]) -> None:
    """Give the thread its address space, FPU and thread word."""
    space = thread.space
    assert space is not None
    if processor.current_space != space:
        processor.current_space = space
        space.address_space.load()
    switch_fpu(thread.fpu)
    thread_word.place[0] = u64(thread.local_id)


def start_running() -> NoReturn:
    """The end of the kernel's own start."""
    all_ports.changed()
    set_io_permissions(all_ports)
    set_user_bases(fs=u64(0), gs=u64(THREAD_WORD_PAGE))
    leave_kernel()


@implements(interface.handle_system_call)
def handle_system_call(frame: Ptr[Frame]) -> None:
    assert frame == processor.current.frame, "not the running thread"
    system_call(processor.current)
    leave_kernel()


@implements(interface.handle_page_fault)
def handle_page_fault(frame: Ptr[Frame], address: VirtAddr) -> None:
    thread = processor.current
    if not has_identity(thread, address):
        faults.page_fault(thread, u64(address), access_of(frame.error))
    leave_kernel()


def has_identity(thread: Ptr[Thread], address: VirtAddr) -> bool:
    """sigma0's own faults: whether the kernel gave it the page, which is physical memory."""
    space = thread.space
    return space is not None and space.is_sigma0 and map_identity(space, address) == Outcome.DONE


def access_of(error: u64) -> Rights:
    """What the thread tried."""
    if error & PageFault.FETCH:
        return Rights.EXECUTE
    return Rights.WRITE if error & PageFault.WRITE else Rights.READ


@implements(interface.handle_exception)
def handle_exception(frame: Ptr[Frame]) -> None:
    assert frame == processor.current.frame, "not the running thread"
    if not emulation.emulate(processor.current):
        faults.exception(processor.current)
    leave_kernel()


@implements(interface.handle_interrupt)
def handle_interrupt(line: u32) -> None:
    events.interrupt(line)
    if not processor.in_kernel:
        leave_kernel()


@implements(interface.handle_timer)
def handle_timer() -> None:
    events.timer()
    if not processor.in_kernel:
        leave_kernel()


@implements(interface.handle_non_maskable_interrupt)
def handle_non_maskable_interrupt() -> None:
    """The machine counts them; nothing here uses them."""


@implements(preemption_point)
def is_preempted() -> bool:
    """After so many points a long operation stops, so that waiting interrupts are taken."""
    points.passed += 1
    return points.passed % POINTS_PER_TURN == 0


POINTS_PER_TURN = 64


class Points(Struct):
    passed: u64


points = static(Points)
