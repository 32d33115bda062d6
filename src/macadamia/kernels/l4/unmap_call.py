"""The Unmap system call (X.2 manual, section 4.2): fpages in message registers, their status comes back
there.

A long one is preempted like a long string copy: the thread stays ready, in Activity.UNMAP, and goes on when
it gets the processor again.
"""

from macadamia.abi.l4.fpages import Fpage
from macadamia.kernels.l4 import registers
from macadamia.kernels.l4.completion import stop_if_halted
from macadamia.kernels.l4.mapping import Outcome
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.thread import Activity, Thread
from macadamia.lang import Ptr, bitfield, u64


class Control(u64):
    last = bitfield(u64, 0, 6)  # number of fpages, minus one
    flush = bitfield(bool, 6, 1)


def system_call_unmap(caller: Ptr[Thread]) -> None:
    """Input RDX control, MR0 and up the fpages, each with the rights to revoke; output the same registers."""
    registers.store_message(caller)
    caller.unmap.index = 0
    caller.unmap.begun = False
    caller.activity = Activity.UNMAP
    go_on(caller)


def go_on(thread: Ptr[Thread]) -> None:
    """Unmap until all is done, or until something more urgent waits."""
    utcb = thread.utcb
    assert utcb is not None
    space = thread.space
    assert space is not None
    control = Control(thread.frame.rdx)
    progress = thread.unmap
    while progress.index <= control.last:
        page = Fpage(utcb.message_registers[progress.index])
        if not progress.begun:
            progress.operation.prepare(space, page, control.flush)
            progress.begun = True
        if progress.operation.run() == Outcome.RESTART:
            processor.gives_up = True
            return
        utcb.message_registers[progress.index] = u64(page.replace(rights=progress.operation.status()))
        progress.begun = False
        progress.index += 1
    thread.activity = Activity.USER
    registers.load_message(thread)
    stop_if_halted(thread)


def give_up(thread: Ptr[Thread]) -> None:
    """The thread is going away."""
    if thread.activity == Activity.UNMAP and thread.unmap.begun:
        thread.unmap.operation.cancel()
