"""What all system calls share: one signature, and how a call says no.

A system call is a function of the calling thread. Arguments are read from the caller's frame, results written
to it; who runs next is decided when it returns (scheduler.choose).
"""

from macadamia.abi.l4.errors import CallError
from macadamia.kernels.l4.thread import Thread
from macadamia.lang import Ptr, u64


def refuse(caller: Ptr[Thread], error: CallError) -> None:
    """Result 0 in RAX, the reason in ErrorCode."""
    utcb = caller.utcb
    assert utcb is not None
    utcb.error_code = u64(error)
    caller.frame.rax = 0


def is_privileged(thread: Ptr[Thread]) -> bool:
    """Whether the thread's space may create threads and spaces: sigma0's and the root task's."""
    space = thread.space
    return space is not None and space.privileged


SYSCALL_LENGTH = 2  # bytes of the SYSCALL instruction


def restart(caller: Ptr[Thread]) -> None:
    """A long operation was preempted: the caller executes its system call again when it runs next."""
    caller.frame.rip -= SYSCALL_LENGTH
