"""Schedule and ThreadSwitch (X.2 manual, sections 3.2 and 3.3)."""

from enum import IntEnum

from macadamia.abi.l4.errors import CallError
from macadamia.abi.l4.identifiers import ThreadId
from macadamia.abi.l4.times import NEVER, Time
from macadamia.kernels.l4 import cancellation, scheduler
from macadamia.kernels.l4.names import named_thread
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.scheduler import NANOSECONDS_PER_MICROSECOND
from macadamia.kernels.l4.system_call import is_privileged, refuse
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.lang import Ptr, bitfield, leading_zeros, storage, u8, u16, u64

LEAVE = 0xFFFF_FFFF_FFFF_FFFF  # a parameter of all ones changes nothing
MAXIMUM_PRIORITY = 255


@storage(u8)
class Result(IntEnum):
    """What Schedule says of the thread."""

    ERROR = 0
    DEAD = 1
    HALTED = 2
    RUNNING = 3
    WAITING_TO_SEND = 4
    SENDING = 5
    WAITING_TO_RECEIVE = 6
    RECEIVING = 7


class TimeControl(u64):
    total_quantum = bitfield(Time, 0, 16)
    time_slice = bitfield(Time, 16, 16)


class PriorityControl(u64):
    priority = bitfield(u64, 0, 9)


class PreemptionControl(u64):
    maximum_delay = bitfield(u16, 0, 16)
    sensitive_priority = bitfield(u8, 16, 8)


def system_call_schedule(caller: Ptr[Thread]) -> None:
    """Inputs RDI dest, RDX time control, RSI priority control, R8 processor control, R9 preemption control;
    RAX = result, RDX = old time control."""
    frame = caller.frame
    thread = named_thread(caller, ThreadId(frame.rdi))
    if thread is None:
        refuse(caller, CallError.INVALID_THREAD)
        return
    error = schedule_error(caller, thread)
    if error != CallError.OK:
        refuse(caller, error)
        return
    old = time_control(thread)
    if frame.rdx != LEAVE:
        set_time(thread, TimeControl(frame.rdx))
    if frame.r9 != LEAVE:
        thread.maximum_delay = PreemptionControl(frame.r9).maximum_delay
        thread.sensitive_priority = PreemptionControl(frame.r9).sensitive_priority
    if frame.rsi != LEAVE:
        scheduler.set_priority(thread, u8(PriorityControl(frame.rsi).priority))
    set_result(caller, result_of(thread), old)


def schedule_error(caller: Ptr[Thread], thread: Ptr[Thread]) -> CallError:
    """Whether the caller may do to the thread what its registers ask for."""
    frame = caller.frame
    if not is_privileged(caller) and thread.scheduler != caller.id:
        return CallError.NO_PRIVILEGE
    if frame.rsi != LEAVE and not may_give(caller, PriorityControl(frame.rsi).priority):
        return CallError.NO_PRIVILEGE
    if frame.r8 != LEAVE and frame.r8 != 0:
        return CallError.INVALID_PARAMETER
    return CallError.OK


def set_result(caller: Ptr[Thread], result: Result, old: u64) -> None:
    utcb = caller.utcb
    assert utcb is not None
    utcb.error_code = u64(CallError.OK)
    caller.frame.rax = u64(result)
    caller.frame.rdx = old


def may_give(caller: Ptr[Thread], priority: u64) -> bool:
    """Whether the caller may set this priority: no unprivileged one above its own."""
    if priority > MAXIMUM_PRIORITY:
        return False
    return is_privileged(caller) or priority <= u64(caller.priority)


def result_of(thread: Ptr[Thread]) -> Result:
    if thread.state == ThreadState.HALTED:
        return Result.HALTED
    if thread.activity == Activity.COPY_FAULT or cancellation.in_transfer(thread):
        return Result.SENDING if cancellation.is_sending(thread) else Result.RECEIVING
    match thread.state:
        case ThreadState.READY:
            return Result.RUNNING
        case ThreadState.SENDING:
            return Result.WAITING_TO_SEND
        case ThreadState.RECEIVING:
            return Result.WAITING_TO_RECEIVE
        case _:
            return Result.DEAD


def set_time(thread: Ptr[Thread], control: TimeControl) -> None:
    """A new time slice and total quantum; never = infinite."""
    scheduler.charge_owner()
    processor.timer_changed = True
    thread.time_slice = nanoseconds(control.time_slice)
    thread.slice_left = thread.time_slice
    thread.total_quantum = nanoseconds(control.total_quantum)


def nanoseconds(time: Time) -> u64:
    """The length of a period; 0 for never."""
    if time == NEVER or time.point:
        return u64(0)
    return max(u64(1), (time.mantissa << time.exponent) * NANOSECONDS_PER_MICROSECOND)


def time_control(thread: Ptr[Thread]) -> u64:
    """What is left of slice and quantum, as times."""
    return u64(period(thread.slice_left)) << 16 | u64(period(thread.total_quantum))


def period(left: u64) -> Time:
    """The longest period not above `left` nanoseconds that 10 bits of mantissa can say; 0 is never."""
    microseconds = left // NANOSECONDS_PER_MICROSECOND
    if left == 0:
        return NEVER
    bits = 64 - leading_zeros(microseconds)
    exponent = bits - 10 if bits > 10 else u64(0)
    mantissa = microseconds >> exponent
    if mantissa == 0:
        return Time(0x0400)
    return Time(u16(mantissa | exponent << 10))


def system_call_thread_switch(caller: Ptr[Thread]) -> None:
    """Input RDI dest: run it on the caller's slice; nil or not ready: give up the slice."""
    dest = ThreadId(caller.frame.rdi)
    thread = caller if dest.is_nil() else named_thread(caller, dest)
    if thread is not None and thread != caller and scheduler.is_queued(thread):
        processor.successor = thread
        processor.gives_up = True
    elif dest.is_nil() or thread != caller:
        scheduler.give_up_slice(caller)
