"""Kernel Python: everything a kernel Python module imports. See docs/language.md."""

from macadamia.lang.annotations import Array, Atomic, Ptr, UserPtr, Volatile
from macadamia.lang.functions import (
    Formatter,
    cold,
    export,
    formatter,
    implements,
    inline,
    interface,
    naked,
    noinline,
    panic_handler,
    section,
    storage,
)
from macadamia.lang.integers import bitfield, i8, i16, i32, i64, u8, u16, u32, u64, u128, usize
from macadamia.lang.intrinsics import (
    address_of,
    alignof,
    asm,
    asm_value,
    byte_swap,
    cast,
    compiler_barrier,
    constant,
    copy_bytes,
    fence,
    fill_bytes,
    global_asm,
    leading_zeros,
    likely,
    local,
    move_bytes,
    multiply_high,
    offsetof,
    panic,
    pointer_at,
    pointer_to,
    popcount,
    range,
    rotate_left,
    sizeof,
    static,
    text_bytes,
    trailing_zeros,
    unlikely,
    unreachable,
    user_pointer_at,
    volatile_load,
    volatile_store,
)
from macadamia.lang.memory import memory
from macadamia.lang.structs import Struct, bits, field
from macadamia.lang.traps import Trap, TrapKind
