"""The memory of CPython and jit: one range of bytes at a fixed address, holding every static and local.

Addresses in it are real addresses of this process, so compiled and uncompiled functions share objects,
and a pointer printed in one run means the same object in the next.
"""

from __future__ import annotations

import bisect
import ctypes
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from macadamia.lang.integers import CLASSES
from macadamia.lang.traps import Trap, TrapKind
from macadamia.lang.types import (
    U8,
    WORD,
    ArrayType,
    BoolType,
    EnumType,
    FunctionType,
    IntType,
    NewType,
    StringType,
    Type,
    VolatileType,
    round_up,
)

BASE = 0x10_0000_0000
SIZE = 1 << 30  # reserved; pages come into being when they are touched
STACK_SIZE = 64 << 20
MAP_FIXED_NOREPLACE, MAP_NORESERVE = 0x100000, 0x4000  # Linux uapi/asm-generic/mman-common.h
FUNCTIONS_BASE = 0x7F_0000_0000  # addresses of uncompiled functions: nothing is mapped there
FUNCTION_STEP = 16


@dataclass(eq=False, slots=True)
class StaticObject:
    """An object of the program's image, as `static`, `constant` or a call of its type made it."""

    type: Type
    address: int
    section: str | None
    readonly: bool
    alignment: int
    export: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The used part of the memory. Two snapshots of equal contents are equal."""

    statics: bytes
    stack: bytes


def reserve(size: int) -> int:
    """The address of `size` bytes of zeroed memory, BASE if that is free."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    for wanted, fixed in ((BASE, MAP_FIXED_NOREPLACE), (None, 0)):
        address = libc.mmap(wanted, size, protection, flags | fixed, -1, 0)
        if address == BASE or (wanted is None and address != ctypes.c_void_p(-1).value):
            return int(address)
    raise MemoryError(f"cannot reserve {size} bytes of address space")


class Memory:
    """Statics grow from the start; the last STACK_SIZE bytes are the stack of `local`, growing upwards."""

    def __init__(self) -> None:
        self.base = reserve(SIZE)
        self.end = self.base + SIZE
        self.top = self.base  # first byte not used by a static
        self.stack_base = self.end - STACK_SIZE
        self.stack_top = self.stack_base
        self.statics: list[StaticObject] = []  # by ascending address
        self._bytes = memoryview((ctypes.c_ubyte * SIZE).from_address(self.base)).cast("B")
        self._texts: dict[str, int] = {}

    def allocate(self, size: int, alignment: int) -> int:
        """The address of zeroed bytes that stay."""
        address = round_up(self.top, alignment)
        if address + size > self.stack_base:
            raise MemoryError(f"no room for {size} bytes in the {SIZE >> 20} MiB of memory")
        self.top = address + size
        return address

    def allocate_local(self, type_: Type) -> int:
        """Zeroed bytes on the stack: they are gone when `stack_top` is set back to what it was."""
        address = round_up(self.stack_top, type_.alignment)
        if address + type_.size > self.end:
            raise MemoryError("the stack of local(...) is full")
        self.stack_top = address + type_.size
        self.write(address, bytes(type_.size))
        return address

    def allocate_static(
        self,
        type_: Type,
        *,
        section: str | None = None,
        readonly: bool = False,
        alignment: int | None = None,
        export: str | None = None,
    ) -> int:
        """The address of a new zeroed static, recorded in `statics`. One of no size has an address, too."""
        alignment = max(type_.alignment, alignment or 1)
        address = self.allocate(max(type_.size, 1), alignment)
        self.statics.append(StaticObject(type_, address, section, readonly, alignment, export))
        return address

    def static_at(self, address: int) -> StaticObject | None:
        """The static that contains `address`."""
        index = bisect.bisect_right(self.statics, address, key=lambda static: static.address) - 1
        if index < 0:
            return None
        found = self.statics[index]
        return found if address < found.address + max(found.type.size, 1) else None

    def bytes_at(self, address: int, size: int) -> bytes:
        offset = self._offset(address, size)
        return self._bytes[offset : offset + size].tobytes()

    def write(self, address: int, content: bytes) -> None:
        offset = self._offset(address, len(content))
        self._bytes[offset : offset + len(content)] = content

    def _offset(self, address: int, size: int) -> int:
        if address == 0:
            raise Trap(TrapKind.NULL)
        if not self.base <= address <= self.end - size:
            raise Trap(TrapKind.BOUNDS, f"{size} bytes at {address:#x} are outside the memory")
        return address - self.base

    def text(self, content: str) -> int:
        """The address of the bytes of a constant text."""
        if content not in self._texts:
            encoded = content.encode("ascii")
            self._texts[content] = self.allocate_static(ArrayType(U8, len(encoded)), readonly=True)
            self.write(self._texts[content], encoded)
        return self._texts[content]

    def save(self) -> Snapshot:
        return Snapshot(
            self.bytes_at(self.base, self.top - self.base),
            self.bytes_at(self.stack_base, self.stack_top - self.stack_base),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Set back everything that existed at `save`; statics made since keep their contents."""
        self.write(self.base, snapshot.statics)
        self.write(self.stack_base, snapshot.stack)
        self.stack_top = self.stack_base + len(snapshot.stack)


memory = Memory()
static_at = memory.static_at


def check_alignment(address: int, alignment: int) -> None:
    """What compiled code checks before it uses a pointer in the checked profile."""
    if address == 0:
        raise Trap(TrapKind.NULL)
    if address % alignment:
        raise Trap(TrapKind.MISALIGNED)


def load_number(address: int, type_: Type, *, signed: bool = False) -> int:
    check_alignment(address, type_.alignment)
    return int.from_bytes(memory.bytes_at(address, type_.size), "little", signed=signed)


def store_number(address: int, type_: Type, value: int) -> None:
    check_alignment(address, type_.alignment)
    memory.write(address, (value & ((1 << type_.size * 8) - 1)).to_bytes(type_.size, "little"))


@singledispatch
def load(type_: Type, address: int) -> Any:  # noqa: ARG001
    """The value at `address`. Pointers and structs register their own way in their modules."""
    raise TypeError(f"{type_} cannot lie in memory")


@load.register
def _(type_: IntType, address: int) -> Any:
    return CLASSES[type_](load_number(address, type_, signed=type_.signed))


@load.register
def _(type_: NewType, address: int) -> Any:
    return type_.python(load_number(address, type_.base, signed=type_.base.signed))


@load.register
def _(type_: BoolType, address: int) -> Any:
    return load_number(address, type_) != 0


@load.register
def _(type_: EnumType, address: int) -> Any:
    return enum_member(type_, load_number(address, type_.storage, signed=type_.storage.signed))


@load.register
def _(type_: VolatileType, address: int) -> Any:
    return load(type_.value, address)


@load.register
def _(type_: StringType, address: int) -> Any:
    check_alignment(address, type_.alignment)
    content = memory.bytes_at(address, type_.size)
    start, length = (int.from_bytes(content[i : i + WORD], "little") for i in (0, WORD))
    return ctypes.string_at(start, length).decode("ascii") if length else ""


@load.register
def _(type_: FunctionType, address: int) -> Any:
    value = load_number(address, type_)
    return function_at(value) if value else None


@singledispatch
def store(type_: Type, address: int, value: Any) -> None:  # noqa: ARG001
    """Write `value`, which has been converted to `type_` already."""
    raise TypeError(f"{type_} cannot be stored")


@store.register(IntType)
@store.register(NewType)
@store.register(EnumType)
@store.register(BoolType)
def _(type_: Type, address: int, value: int) -> None:
    store_number(address, type_, int(value))


@store.register
def _(type_: VolatileType, address: int, value: Any) -> None:
    store(type_.value, address, value)


@store.register
def _(type_: StringType, address: int, value: Any) -> None:
    check_alignment(address, type_.alignment)
    start = memory.text(value)
    memory.write(address, start.to_bytes(WORD, "little") + len(value).to_bytes(WORD, "little"))


@store.register
def _(type_: FunctionType, address: int, value: Any) -> None:
    store_number(address, type_, 0 if value is None else function_address(value))


def enum_member(type_: EnumType, value: int) -> Any:
    """The member of that value (for flags: any combination that the storage holds)."""
    if not type_.storage.holds(value):
        raise Trap(TrapKind.LOSSY)
    try:
        return type_.python(value)
    except ValueError:
        raise Trap(TrapKind.INVALID_ENUM) from None


_address_of_function: dict[Callable[..., Any], int] = {}
_function_at_address: dict[int, Callable[..., Any]] = {}


def function_address(function: Callable[..., Any]) -> int:
    """The number that stands for `function` in memory: its machine code if jit registered that."""
    if function not in _address_of_function:
        register_compiled(function, FUNCTIONS_BASE + FUNCTION_STEP * len(_function_at_address))
    return _address_of_function[function]


def register_compiled(function: Callable[..., Any], address: int) -> None:
    """Let `address`, too, stand for `function`; `function_address` gives it from now on."""
    _address_of_function[function] = address
    _function_at_address[address] = function


def function_at(address: int) -> Callable[..., Any]:
    if address not in _function_at_address:
        raise Trap(TrapKind.NULL if address == 0 else TrapKind.BOUNDS, f"no function at {address:#x}")
    return _function_at_address[address]
