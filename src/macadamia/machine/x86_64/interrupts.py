"""Device interrupts: one protocol for all lines.

`handle_interrupt(line)` is called once; then the line is silent until `acknowledge_interrupt(line)`. A driver
in user mode may take its time in between.

A level-triggered line is masked meanwhile, and its device keeps it raised. An edge would be lost by that, so
an edge-triggered line stays open: an edge that comes meanwhile is noted (and only then the line masked), and
delivered again on acknowledgement, by an interrupt the processor sends to itself.
"""

from enum import IntEnum

from macadamia.lang import Array, Struct, implements, static, storage, u8, u32, u64
from macadamia.machine import interface
from macadamia.machine.interface import handle_interrupt, handle_timer
from macadamia.machine.x86_64.instructions import (
    disable_interrupts,
    enable_interrupts_and_halt,
    open_interrupt_window,
)
from macadamia.machine.x86_64.io_apic import LINES, MASKED, is_level_triggered, mask_line, route_line
from macadamia.machine.x86_64.local_apic import (
    TIMER_VECTOR,
    end_interrupt,
    interrupt_self,
    local_apic_id,
)

FIRST_LINE_VECTOR = 0x20


@storage(u8)
class LineState(IntEnum):
    """What an interrupt of the line does next."""

    OFF = 0  # nothing
    READY = 1  # is announced
    SERVED = 2  # waits for the acknowledgement of the one before
    PENDING = 3  # another edge came meanwhile


class Lines(Struct):
    state: Array[LineState, LINES]


lines = static(Lines)


def interrupt(vector: u64) -> None:
    """An interrupt vector arrived."""
    if vector == TIMER_VECTOR:
        end_interrupt()
        handle_timer()
    elif FIRST_LINE_VECTOR <= vector < FIRST_LINE_VECTOR + LINES:
        line_fired(u32(vector - FIRST_LINE_VECTOR))
    # What is left is spurious: it wants no end of interrupt (SDM volume 3, 11.9).


def line_fired(line: u32) -> None:
    state = lines.state[line]
    if is_level_triggered(line) or state != LineState.READY:
        mask_line(line, MASKED)
    end_interrupt()
    if state == LineState.READY:
        lines.state[line] = LineState.SERVED
        handle_interrupt(line)
    elif state == LineState.SERVED:
        lines.state[line] = LineState.PENDING


@implements(interface.enable_interrupt)
def enable_interrupt(line: u32) -> bool:
    if line >= LINES:
        return False
    lines.state[line] = LineState.READY
    return route_line(line, FIRST_LINE_VECTOR + line, local_apic_id())


@implements(interface.disable_interrupt)
def disable_interrupt(line: u32) -> None:
    if line < LINES:
        mask_line(line, MASKED)
        lines.state[line] = LineState.OFF


@implements(interface.acknowledge_interrupt)
def acknowledge_interrupt(line: u32) -> None:
    if line >= LINES or lines.state[line] < LineState.SERVED:
        return
    again = lines.state[line] == LineState.PENDING
    lines.state[line] = LineState.READY
    if again:
        interrupt_self(FIRST_LINE_VECTOR + line)
    if again or is_level_triggered(line):
        mask_line(line, 0)


@implements(interface.idle)
def idle() -> None:
    enable_interrupts_and_halt()
    disable_interrupts()


@implements(interface.allow_interrupts)
def allow_interrupts() -> None:
    open_interrupt_window()
