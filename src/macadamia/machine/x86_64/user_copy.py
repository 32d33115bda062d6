"""Copying between the kernel and user memory.

The range is checked against the end of user space, SMAP is opened for the moment of the copy only, and an
instruction that faults continues after the copy with what is left: a user's bad pointer is a value, never a
crash. The kernel may then let the fault be resolved and copy the rest.

Words are copied first, then the last bytes one by one, so that the count left is exact to the byte; a word
that crosses into a bad page is retried bytewise.
"""

from macadamia.lang import Ptr, UserPtr, address_of, asm_value, implements, u8, u32, u64
from macadamia.machine import interface
from macadamia.machine.x86_64.assembly import template
from macadamia.machine.x86_64.fixup import fixup
from macadamia.machine.x86_64.layout import USER_END
from macadamia.machine.x86_64.smap import CLAC, STAC

# RDI = to, RSI = from, RDX = bytes left.
COPY = template(
    STAC,
    """
    movq %rdx, %rcx
    shrq $3, %rcx
    andl $7, %edx
1:  rep movsq
    movq %rdx, %rcx
3:  rep movsb
4:  movq %rcx, %rdx
    """,
    CLAC,
    """
    jmp 8f
6:  leaq (%rdx, %rcx, 8), %rcx
    jmp 3b
8:  """,
    fixup("1b", "6b"),
    fixup("3b", "4b"),
)
COPY_CONSTRAINTS = "={rdx},{rdi},{rsi},{rdx},~{rdi},~{rsi},~{rcx},~{memory},~{flags}"

# @0 = value, @1 = whether it was loaded, @2 = address.
LOAD_WORD = template(
    "xorl @k0, @k0; xorl @1, @1", STAC, "1: movq (@2), @0; incl @1; 2:", CLAC, fixup("1b", "2b")
)
# @0 = whether it was stored, @1 = address, @2 = value.
STORE_WORD = template("xorl @0, @0", STAC, "1: movq @2, (@1); incl @0; 2:", CLAC, fixup("1b", "2b"))


def is_user_range(address: u64, count: u64) -> bool:
    """Whether `count` bytes from `address` lie in user space."""
    return count <= USER_END and address <= USER_END - count


@implements(interface.copy_from_user)
def copy_from_user(to: Ptr[u8], from_: UserPtr[u8], count: u64) -> u64:
    if not is_user_range(address_of(from_), count):
        return count
    return asm_value(u64, COPY, COPY_CONSTRAINTS, to, address_of(from_), count)


@implements(interface.copy_to_user)
def copy_to_user(to: UserPtr[u8], from_: Ptr[u8], count: u64) -> u64:
    if not is_user_range(address_of(to), count):
        return count
    return asm_value(u64, COPY, COPY_CONSTRAINTS, address_of(to), from_, count)


@implements(interface.load_user_word)
def load_user_word(address: UserPtr[u64]) -> tuple[u64, bool]:
    if not is_user_range(address_of(address), 8):
        return u64(0), False
    value, loaded = asm_value(tuple[u64, u32], LOAD_WORD, "=&r,=&r,r,~{memory},~{flags}", address_of(address))
    return value, loaded != 0


@implements(interface.store_user_word)
def store_user_word(address: UserPtr[u64], value: u64) -> bool:
    if not is_user_range(address_of(address), 8):
        return False
    stored = asm_value(u32, STORE_WORD, "=&r,r,r,~{memory},~{flags}", address_of(address), value)
    return stored != 0
