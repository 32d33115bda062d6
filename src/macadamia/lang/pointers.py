"""What stands for an object in memory: pointers to scalars, arrays, atomics; addresses of users.

All of them are an address with the type of what lies there. Structs are pointers of this kind too
(structs.py): an instance of a struct class is the place, and its attributes read and write the memory.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import singledispatch
from typing import Any, ClassVar, Generic, Self, SupportsIndex, TypeVar, cast, overload

from macadamia.lang.conversion import assign, coerce, mismatch
from macadamia.lang.integers import i64
from macadamia.lang.memory import check_alignment, load, load_number, store, store_number
from macadamia.lang.traps import Trap, TrapKind
from macadamia.lang.types import (
    I64,
    U64,
    ArrayType,
    AtomicType,
    PointerType,
    StructType,
    Type,
    UserPointerType,
)

T = TypeVar("T")


class Address:
    """An address and the type of what lies there; `p + n` and `p - q` count elements of that type."""

    __slots__ = ("kernel_address", "kernel_type")
    kernel_address: int
    kernel_type: Any
    kernel_pointer_type: ClassVar[type[PointerType | UserPointerType]] = PointerType

    def __add__(self, count: SupportsIndex) -> Self:
        return place(type(self), self.kernel_type, moved(self, operator.index(count)))

    @overload
    def __sub__(self, other: Self) -> i64: ...
    @overload
    def __sub__(self, other: SupportsIndex) -> Self: ...
    def __sub__(self, other: Self | SupportsIndex) -> Self | i64:
        if isinstance(other, Address):
            distance = I64.wrap(self.kernel_address - other.kernel_address)
            return i64(distance // self.kernel_type.size)
        return place(type(self), self.kernel_type, moved(self, -operator.index(other)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Address):
            return NotImplemented
        return self.kernel_address == other.kernel_address

    def __hash__(self) -> int:
        return hash(self.kernel_address)

    def __bool__(self) -> bool:
        return True  # a pointer that may be null is None instead

    def __repr__(self) -> str:
        return f"<{self.kernel_type} at {self.kernel_address:#x}>"


A = TypeVar("A", bound=Address)


def place(kind: type[A], type_: Type, address: int) -> A:
    """A `kind` at `address`. A function, so that structs may have fields and methods of any name."""
    result = object.__new__(kind)
    result.kernel_address = address
    result.kernel_type = type_
    return result


def moved(pointer: Address, count: int) -> int:
    """The address `count` elements further; compiled code computes it modulo 2**64."""
    return U64.wrap(pointer.kernel_address + count * pointer.kernel_type.size)


class Pointer(Address, Generic[T]):
    """`Ptr[T]` for a T that a name can hold: an integer, bool, enum, pointer, text or function."""

    __slots__ = ()

    def __getitem__(self, index: SupportsIndex) -> T:
        return cast(T, load(self.kernel_type, moved(self, operator.index(index))))

    def __setitem__(self, index: SupportsIndex, value: T) -> None:
        assign(self.kernel_type, moved(self, operator.index(index)), value)


class ArrayView(Address, Generic[T]):
    """`Array[T, N]` in memory. Indices are checked; of a struct or array T an element is a pointer to it."""

    __slots__ = ()

    def __len__(self) -> int:
        return cast(int, self.kernel_type.length)

    def element_address(self, index: SupportsIndex) -> int:
        check_alignment(self.kernel_address, self.kernel_type.alignment)
        if not 0 <= operator.index(index) < self.kernel_type.length:
            raise Trap(TrapKind.BOUNDS)
        return self.kernel_address + operator.index(index) * cast(int, self.kernel_type.element.size)

    def __getitem__(self, index: SupportsIndex) -> T:
        return cast(T, load(self.kernel_type.element, self.element_address(index)))

    def __setitem__(self, index: SupportsIndex, value: T) -> None:
        assign(self.kernel_type.element, self.element_address(index), value)

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(self.kernel_type.length))


class AtomicView(Address, Generic[T]):
    """`Atomic[T]` in memory: sequentially consistent operations; those that change it give the old value."""

    __slots__ = ()

    def load(self) -> T:
        return cast(T, load(self.kernel_type.value, self.kernel_address))

    def store(self, value: T) -> None:
        assign(self.kernel_type.value, self.kernel_address, value)

    def exchange(self, value: T) -> T:
        old = self.load()
        self.store(value)
        return old

    def compare_exchange(self, old: T, new: T) -> T:
        """Store `new` if the value is `old`; the result is the value before."""
        wanted, new = (coerce(self.kernel_type.value, value) for value in (old, new))
        before = self.load()
        if before == wanted:
            self.store(new)
        return before

    def fetch_add(self, value: T) -> T:
        return self.exchange(cast(Any, self.load()) + value)

    def fetch_sub(self, value: T) -> T:
        return self.exchange(cast(Any, self.load()) - value)

    def fetch_and(self, value: T) -> T:
        return self.exchange(cast(Any, self.load()) & value)

    def fetch_or(self, value: T) -> T:
        return self.exchange(cast(Any, self.load()) | value)


class UserPointer(Address, Generic[T]):
    """`UserPtr[T]`: compared, offset and passed on. It has no elements and no fields here."""

    __slots__ = ()
    kernel_pointer_type = UserPointerType

    def __lt__(self, other: UserPointer[T]) -> bool:
        return self.kernel_address < other.kernel_address

    def __le__(self, other: UserPointer[T]) -> bool:
        return self.kernel_address <= other.kernel_address

    def __gt__(self, other: UserPointer[T]) -> bool:
        return self.kernel_address > other.kernel_address

    def __ge__(self, other: UserPointer[T]) -> bool:
        return self.kernel_address >= other.kernel_address


@coerce.register
def _(type_: UserPointerType, value: Any) -> Any:
    if isinstance(value, UserPointer) and value.kernel_type == type_.target:
        return value
    raise mismatch(type_, value, f"write user_pointer_at({type_.target}, ...)")


@singledispatch
def pointer_value(target: Type, address: int) -> Any:
    """A pointer to a `target` at `address`. Structs register their own class."""
    return place(Pointer, target, address)


@pointer_value.register
def _(target: ArrayType, address: int) -> Any:
    return place(ArrayView, target, address)


@pointer_value.register
def _(target: AtomicType, address: int) -> Any:
    return place(AtomicView, target, address)


@load.register(ArrayType)
@load.register(AtomicType)
@load.register(StructType)
def _(type_: Type, address: int) -> Any:
    """A name cannot hold such an object: loading it gives the pointer to it."""
    return pointer_value(type_, address)


@load.register
def _(type_: PointerType, address: int) -> Any:
    value = load_number(address, type_)
    return None if value == 0 and type_.nullable else pointer_value(type_.target, value)


@load.register
def _(type_: UserPointerType, address: int) -> Any:
    return place(UserPointer, type_.target, load_number(address, type_))


@store.register(PointerType)
@store.register(UserPointerType)
def _(type_: Type, address: int, value: Any) -> None:
    store_number(address, type_, 0 if value is None else value.kernel_address)


@coerce.register
def _(type_: PointerType, value: Any) -> Any:
    address = 0 if value is None else getattr(value, "kernel_address", None)
    if address is None or isinstance(value, type):
        raise mismatch(type_, value)
    if address == 0:
        if type_.nullable:
            return None
        if value is None:
            raise Trap(TrapKind.NULL)
    target = value.kernel_type
    if target == type_.target:
        return value
    if is_derived(target, type_.target):
        return pointer_value(type_.target, address)
    raise mismatch(type_, value, f"write cast({type_.target}, ...)")


def is_derived(type_: Type, base: Type) -> bool:
    """Whether `type_` is a struct that begins with the fields of the struct `base`."""
    if not isinstance(type_, StructType) or not isinstance(base, StructType):
        return False
    return issubclass(type_.python, base.python)
