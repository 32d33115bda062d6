"""The interrupt descriptor table: all 256 vectors lead to the entry code (SDM volume 3, 6.10 and 6.14).

Each vector has a stub that pushes its number, and a zero where the processor pushes no error code, so that
every frame looks the same.
"""

from macadamia.lang import (
    Array,
    Struct,
    address_of,
    asm,
    asm_value,
    global_asm,
    local,
    pointer_to,
    range,
    sizeof,
    static,
    u8,
    u16,
    u32,
    u64,
)
from macadamia.machine.x86_64.frame import KERNEL_CODE, Vector
from macadamia.machine.x86_64.processor import (
    STACK_DEBUG,
    STACK_DOUBLE_FAULT,
    STACK_MACHINE_CHECK,
    STACK_NON_MASKABLE,
)
from macadamia.machine.x86_64.segments import DescriptorPointer

VECTORS = 256
STUB_SIZE = 16
WITH_ERROR_CODE = (8, 10, 11, 12, 13, 14, 17, 21)  # SDM volume 3, table 6-1

STACKS = {
    Vector.DEBUG: STACK_DEBUG,
    Vector.NON_MASKABLE_INTERRUPT: STACK_NON_MASKABLE,
    Vector.DOUBLE_FAULT: STACK_DOUBLE_FAULT,
    Vector.MACHINE_CHECK: STACK_MACHINE_CHECK,
}

INTERRUPT_GATE = 0x8E  # present, 64-bit interrupt gate: enters with interrupts off
USER_GATE = 0xEE  # the same with privilege level 3


def stub(vector: int) -> str:
    entry = "interrupt_entry"
    if vector in STACKS:
        entry = "debug_entry" if vector == Vector.DEBUG else "own_stack_entry"
    error = "" if vector in WITH_ERROR_CODE else "pushq $0\n"
    return f".balign {STUB_SIZE}\n{error}pushq ${vector}\njmp {entry}\n"


global_asm('.section .text.entry, "ax"\ninterrupt_stubs:\n' + "".join(map(stub, range(VECTORS))))


class Gate(Struct):
    """A 64-bit gate descriptor (SDM volume 3, figure 6-8)."""

    offset_low: u16
    selector: u16
    stack: u8  # slot of the interrupt stack table, 0 = the stack in use or rsp0
    type: u8
    offset_middle: u16
    offset_high: u32
    reserved: u32

    def set(self, address: u64) -> None:
        self.offset_low = u16.wrap(address)
        self.selector = KERNEL_CODE
        self.stack = 0
        self.type = INTERRUPT_GATE
        self.offset_middle = u16.wrap(address >> 16)
        self.offset_high = u32.wrap(address >> 32)
        self.reserved = 0


gates = static(Array[Gate, VECTORS])


def stubs_address() -> u64:
    return asm_value(u64, "movq $$interrupt_stubs, $0", "=r")


def fill_interrupt_table() -> None:
    stubs = stubs_address()
    for vector in range(u64(VECTORS)):
        gates[vector].set(stubs + vector * STUB_SIZE)
    gates[Vector.DEBUG].stack = STACK_DEBUG
    gates[Vector.NON_MASKABLE_INTERRUPT].stack = STACK_NON_MASKABLE
    gates[Vector.DOUBLE_FAULT].stack = STACK_DOUBLE_FAULT
    gates[Vector.MACHINE_CHECK].stack = STACK_MACHINE_CHECK
    gates[Vector.BREAKPOINT].type = USER_GATE
    gates[Vector.OVERFLOW].type = USER_GATE


def load_interrupt_table() -> None:
    """LIDT, on each processor."""
    pointer = local(DescriptorPointer)
    pointer.set(address_of(gates), sizeof(Gate) * VECTORS - 1)
    asm("lidt ($0)", "r,~{memory}", pointer_to(pointer.limit))
