"""The system calls by number. The stub pages (stubs.py) put the number into RBP."""

from macadamia.abi.l4.errors import CallError
from macadamia.abi.l4.fpages import Fpage
from macadamia.abi.l4.identifiers import ThreadId
from macadamia.kernels.l4.exchange_registers import system_call_exchange_registers
from macadamia.kernels.l4.ipc import system_call_ipc
from macadamia.kernels.l4.kip import kernel_interface_page
from macadamia.kernels.l4.mapping import Outcome
from macadamia.kernels.l4.schedule import system_call_schedule, system_call_thread_switch
from macadamia.kernels.l4.scheduler import NANOSECONDS_PER_MICROSECOND
from macadamia.kernels.l4.space import Space
from macadamia.kernels.l4.space_control import set_areas
from macadamia.kernels.l4.stubs import Call
from macadamia.kernels.l4.system_call import is_privileged, refuse, restart
from macadamia.kernels.l4.thread import Thread
from macadamia.kernels.l4.thread_control import space_of, system_call_thread_control
from macadamia.kernels.l4.unmap_call import system_call_unmap
from macadamia.lang import Ptr, u64
from macadamia.machine.interface import time_now


def system_call(caller: Ptr[Thread]) -> None:
    """The running thread executed SYSCALL."""
    match caller.frame.rbp:
        case Call.IPC | Call.LIPC:
            system_call_ipc(caller)
        case Call.UNMAP:
            system_call_unmap(caller)
        case Call.EXCHANGE_REGISTERS:
            system_call_exchange_registers(caller)
        case Call.SYSTEM_CLOCK:
            caller.frame.rax = time_now() // NANOSECONDS_PER_MICROSECOND
        case Call.THREAD_SWITCH:
            system_call_thread_switch(caller)
        case Call.SCHEDULE:
            system_call_schedule(caller)
        case Call.THREAD_CONTROL:
            system_call_thread_control(caller)
        case Call.SPACE_CONTROL:
            system_call_space_control(caller)
        case Call.MEMORY_CONTROL:
            system_call_memory_control(caller)
        case _:
            system_call_processor_control(caller)


def system_call_space_control(caller: Ptr[Thread]) -> None:
    """Inputs RDI SpaceSpecifier, RSI control, RDX KIP area, R8 UTCB area, R9 redirector; RAX = 1 if it
    succeeded, RDX = old control."""
    frame = caller.frame
    space = space_of(ThreadId(frame.rdi))
    if not is_privileged(caller):
        refuse(caller, CallError.NO_PRIVILEGE)
    elif space is None:
        refuse(caller, CallError.INVALID_SPACE)
    elif space.active_threads > 0:  # the areas stay what they are
        frame.rax, frame.rdx = u64(1), u64(0)
    else:
        set_areas_of(caller, space, Fpage(frame.rdx), Fpage(frame.r8))


def set_areas_of(caller: Ptr[Thread], space: Ptr[Space], kip_area: Fpage, utcb_area: Fpage) -> None:
    """Give a space without active threads its areas."""
    error = space.area_error(kip_area, utcb_area)
    if error != CallError.OK:
        refuse(caller, error)
        return
    match set_areas(space, kip_area, utcb_area, kernel_interface_page()):
        case Outcome.DONE:
            caller.frame.rax = 1
            caller.frame.rdx = 0
        case Outcome.RESTART:
            restart(caller)
        case _:
            refuse(caller, CallError.OUT_OF_MEMORY)


def system_call_processor_control(caller: Ptr[Thread]) -> None:
    """Inputs RDI processor, RSI and RDX frequencies, R8 voltage: this machine has none that could be set."""
    refuse(caller, CallError.INVALID_PARAMETER if is_privileged(caller) else CallError.NO_PRIVILEGE)


def system_call_memory_control(caller: Ptr[Thread]) -> None:
    """Inputs RDX control, RCX, RSI, R8, R11 attributes: there are none but the default. RDX = result, RDI =
    UTCB."""
    refuse(caller, CallError.INVALID_PARAMETER if is_privileged(caller) else CallError.NO_PRIVILEGE)
    caller.frame.rdx = 0
    caller.frame.rdi = u64(caller.local_id)
