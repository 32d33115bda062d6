"""ExchangeRegisters: reading and changing a thread's SP, IP, flags, handle and pager; halting, resuming and
cancelling its IPC (X.2 manual, section 2.3)."""

from macadamia.abi.l4.errors import CallError, IpcError
from macadamia.abi.l4.identifiers import ThreadId
from macadamia.abi.l4.utcb import Utcb
from macadamia.kernels.l4 import cancellation, scheduler
from macadamia.kernels.l4.names import named_thread
from macadamia.kernels.l4.system_call import refuse
from macadamia.kernels.l4.thread import Thread, ThreadState
from macadamia.kernels.l4.thread_table import find_thread
from macadamia.lang import Ptr, bitfield, u64

WAS_HALTED = 1
WAS_RECEIVING = 2
WAS_SENDING = 4


class Control(u64):
    """The control word: which registers are given, and what is to be done."""

    halt = bitfield(bool, 0, 1)
    cancel_receive = bitfield(bool, 1, 1)
    cancel_send = bitfield(bool, 2, 1)
    has_sp = bitfield(bool, 3, 1)
    has_ip = bitfield(bool, 4, 1)
    has_flags = bitfield(bool, 5, 1)
    has_handle = bitfield(bool, 6, 1)
    has_pager = bitfield(bool, 7, 1)
    has_halt = bitfield(bool, 8, 1)


def system_call_exchange_registers(caller: Ptr[Thread]) -> None:
    """Inputs RAX dest, RSI control, RDX SP, R8 IP, R9 flags, R10 handle, RDI pager; outputs in the same."""
    frame = caller.frame
    dest = ThreadId(frame.rax)
    thread = named_thread(caller, dest)
    if thread is None or not may_exchange(caller, thread):
        refuse(caller, CallError.INVALID_THREAD)
        return
    control = Control(frame.rsi)
    utcb = thread.utcb
    assert utcb is not None
    sp, ip, flags, handle, pager = frame.rdx, frame.r8, frame.r9, frame.r10, ThreadId(frame.rdi)
    frame.rax = u64(thread.id) if dest.is_local() else u64(thread.local_id)
    frame.rsi = state_word(thread)
    frame.rdx = thread.frame.rsp
    frame.r8 = thread.frame.rip
    frame.r9 = thread.frame.rflags
    frame.r10 = utcb.user_defined_handle
    frame.rdi = u64(utcb.pager)
    write_registers(thread, utcb, control, sp, ip, flags, handle, pager)
    apply(thread, control)


def may_exchange(caller: Ptr[Thread], thread: Ptr[Thread]) -> bool:
    """An active thread of the caller's space, or one whose pager is in it (feature "pagerexregs")."""
    utcb = thread.utcb
    if utcb is None:
        return False
    if thread.space == caller.space:
        return True
    pager = find_thread(utcb.pager)
    return pager is not None and pager.space == caller.space


def state_word(thread: Ptr[Thread]) -> u64:
    """The old control word: what the thread was doing."""
    word: u64 = 0
    if thread.state == ThreadState.HALTED or thread.halted:
        word |= WAS_HALTED
    if cancellation.is_receiving(thread):
        word |= WAS_RECEIVING
    if cancellation.is_sending(thread):
        word |= WAS_SENDING
    return word


def write_registers(
    thread: Ptr[Thread],
    utcb: Ptr[Utcb],
    control: Control,
    sp: u64,
    ip: u64,
    flags: u64,
    handle: u64,
    pager: ThreadId,
) -> None:
    if control.has_sp:
        thread.frame.rsp = sp
    if control.has_ip:
        thread.frame.jump(ip)
    if control.has_flags:
        thread.frame.set_flags(flags)
    if control.has_handle:
        utcb.user_defined_handle = handle
    if control.has_pager:
        utcb.pager = pager


def apply(thread: Ptr[Thread], control: Control) -> None:
    """Cancel, halt and resume as the control word says."""
    cancels = control.cancel_receive and cancellation.is_receiving(thread)
    if cancels or (control.cancel_send and cancellation.is_sending(thread)):
        cancellation.end_ipc(thread, IpcError.CANCELLED)
    if control.has_halt:
        if control.halt:
            halt(thread)
        else:
            resume_halted(thread)


def halt(thread: Ptr[Thread]) -> None:
    """Stop the thread; one that is inside an IPC or Unmap stops when that ends."""
    thread.halted = True
    if thread.state == ThreadState.READY and not thread.is_in_kernel():
        cancellation.detach(thread)
        thread.state = ThreadState.HALTED


def resume_halted(thread: Ptr[Thread]) -> None:
    thread.halted = False
    if thread.state == ThreadState.HALTED:
        scheduler.make_ready(thread)
