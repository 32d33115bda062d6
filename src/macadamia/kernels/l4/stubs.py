"""How user programs enter the kernel: a page of stubs that all spaces share, and the page that %gs:0 is in.

A program calls the addresses that it finds in the kernel interface page. A stub puts the call's number into
RBP, the only register that no call takes or returns anything in, and executes SYSCALL. The pages lie in the
last 512 GiB of user memory; one table for that is in every root table.
"""

from macadamia.lang import constant, u8
from macadamia.machine.addresses import PAGE_SIZE
from macadamia.machine.x86_64.address_space import USER_ENTRIES

ROOT_ENTRY_BITS = 39  # what an entry of the root table maps
SHARED_START = (USER_ENTRIES - 1) << ROOT_ENTRY_BITS
STUBS = SHARED_START
THREAD_WORD_PAGE = SHARED_START + PAGE_SIZE  # its first word is where the running thread's MR0 is
STUB_SIZE = 16
MOVE_TO_EBP = b"\xbd"
SYSCALL_AND_RETURN = b"\x0f\x05\xc3"


class Call:
    """Numbers of the calls, in the order of their addresses in the kernel interface page."""

    SPACE_CONTROL = 0
    THREAD_CONTROL = 1
    PROCESSOR_CONTROL = 2
    MEMORY_CONTROL = 3
    IPC = 4
    LIPC = 5
    UNMAP = 6
    EXCHANGE_REGISTERS = 7
    SYSTEM_CLOCK = 8
    THREAD_SWITCH = 9
    SCHEDULE = 10


CALLS = 11


def stub_address(call: int) -> int:
    return STUBS + call * STUB_SIZE


def stub(call: int) -> bytes:
    """MOV EBP, number; SYSCALL; RET."""
    code = MOVE_TO_EBP + call.to_bytes(4, "little") + SYSCALL_AND_RETURN
    return code.ljust(STUB_SIZE, b"\xcc")


STUB_CODE_SIZE = CALLS * STUB_SIZE
stub_code = constant(u8, b"".join(stub(call) for call in range(CALLS)))
