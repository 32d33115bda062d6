"""The L4 microkernel alone: the first two boot modules are sigma0 and the root task.

`mac run l4 --module SIGMA0 --module ROOT`, both ELF programs of the X.2 interface for amd64.
"""

from macadamia.kernels.l4.boot import kernel_main
from macadamia.kernels.l4.run import (
    handle_exception,
    handle_interrupt,
    handle_non_maskable_interrupt,
    handle_page_fault,
    handle_system_call,
    handle_timer,
    is_preempted,
)
from macadamia.kernels.l4.thread_memory import find_slot, make_slot, release_slot
from macadamia.lang.program import Program
from macadamia.machine.x86_64 import machine

PROGRAM = Program(
    name="l4",
    entry=machine.ENTRY,
    roots=machine.ROOTS,
    linker_script=machine.LINKER_SCRIPT,
    implementations=(
        *machine.IMPLEMENTATIONS,
        *(kernel_main, handle_system_call, handle_page_fault, handle_exception),
        *(handle_timer, handle_interrupt, handle_non_maskable_interrupt),
        *(is_preempted, find_slot, make_slot, release_slot),
    ),
)
