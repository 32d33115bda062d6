"""The table of instructions that may fault in kernel mode, and where to go on when they do.

Accesses to user memory are the only such instructions. A fault anywhere else in the kernel is a panic.
"""

from macadamia.lang import Ptr, Struct, pointer_at, range, u64
from macadamia.machine.x86_64.frame import Frame
from macadamia.machine.x86_64.layout import symbol_address


def fixup(faulting: str, recovery: str) -> str:
    """Assembly text: when the instruction at label `faulting` faults, continue at label `recovery`."""
    return f'.pushsection .fixups, "a", @progbits\n.quad {faulting}, {recovery}\n.popsection\n'


class Fixup(Struct):
    faulting: u64
    recovery: u64


fixups_start = symbol_address("fixups_start")
fixups_end = symbol_address("fixups_end")


def recover(frame: Ptr[Frame]) -> bool:
    """Send a kernel-mode fault to its recovery address. False when it has none."""
    table = pointer_at(Fixup, fixups_start())
    count = (fixups_end() - fixups_start()) // 16
    for i in range(count):
        if table[i].faulting == frame.rip:
            frame.rip = table[i].recovery
            return True
    return False
