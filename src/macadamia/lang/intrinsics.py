"""The built-in functions, with their meaning in CPython. The checker knows them by identity."""

from __future__ import annotations

import builtins
import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NoReturn, SupportsIndex, TypeVar

from macadamia.lang.annotations import resolve_annotation
from macadamia.lang.conversion import coerce
from macadamia.lang.integers import Integer, is_plain, u8, u64
from macadamia.lang.memory import function_address, memory
from macadamia.lang.pointers import Address, Pointer, UserPointer, place, pointer_value
from macadamia.lang.statics import make_static
from macadamia.lang.traps import Trap, TrapKind
from macadamia.lang.types import U8, ArrayType, StructType

I = TypeVar("I", bound=Integer)  # noqa: E741
T = TypeVar("T")

assembly_of: dict[str, list[str]] = {}  # texts of global_asm by the module that gave them


# Types and objects


def sizeof(type_: object) -> int:
    """Bytes in an object of the type."""
    return resolve_annotation(type_).size


def alignof(type_: object) -> int:
    """Alignment of the type in bytes."""
    return resolve_annotation(type_).alignment


def offsetof(struct: object, field: str) -> int:
    """Offset of a field in bytes; of a bit-field, that of its storage unit."""
    type_ = resolve_annotation(struct)
    if not isinstance(type_, StructType) or field not in type_.by_name:
        raise TypeError(f"{type_} has no field {field}")
    return type_.by_name[field].offset


def local(type_: Any) -> Any:
    """Zeroed memory on the stack, until the function returns; the result points to it."""
    resolved = resolve_annotation(type_)
    return pointer_value(resolved, memory.allocate_local(resolved))


def static(
    type_: Any,
    value: Any = None,
    *,
    section: str | None = None,
    readonly: bool = False,
    align: int | None = None,
    export: str | None = None,
) -> Any:
    """Import time: a new object in the program's image; the result points to it."""
    options = {"section": section, "readonly": readonly, "alignment": align, "export": export}
    return make_static(resolve_annotation(type_), value, **options)


def constant(type_: Any, values: Iterable[Any] | bytes) -> Any:
    """Import time: read-only data, one value of the type after the other; the result points to the first."""
    element = resolve_annotation(type_)
    items = list(values)
    array = make_static(ArrayType(element, len(items)), items, readonly=True)
    return pointer_value(element, array.kernel_address)


def global_asm(text: str) -> None:
    """Import time: assembly that is part of every program that uses the calling module."""
    module = sys._getframe(1).f_globals["__name__"]
    assembly_of.setdefault(module, []).append(text)


# Pointers


def address_of(pointer: Any) -> u64:
    """The address in a pointer, a user pointer or a function."""
    if pointer is None:
        return u64(0)
    if isinstance(pointer, Address):
        return u64(pointer.kernel_address)
    if callable(pointer) and not isinstance(pointer, type):
        return u64(function_address(pointer))
    raise TypeError(f"{pointer!r} is not a pointer")


def pointer_at(type_: Any, address: u64) -> Any:
    return pointer_value(resolve_annotation(type_), int(address))


def user_pointer_at(type_: Any, address: u64) -> Any:
    return place(UserPointer, resolve_annotation(type_), int(address))


def cast(type_: Any, pointer: Any) -> Any:
    """The same address as a pointer to another type; None stays None."""
    if isinstance(pointer, UserPointer):
        return place(UserPointer, resolve_annotation(type_), pointer.kernel_address)
    if pointer is None:
        return None
    return pointer_value(resolve_annotation(type_), pointer.kernel_address)


def pointer_to(value: Any) -> Any:
    """`pointer_to(s.field)`, `pointer_to(a[i])`: the place instead of the value.

    A function only ever gets the value: `definition` and the compiler know this one by name. Of a nested
    struct, array or atomic the value is the pointer already.
    """
    if isinstance(value, Address):
        return value
    raise TypeError("pointer_to has a meaning in compiled functions and in definition(...) only")


def text_bytes(text: str) -> Pointer[u8]:
    """The bytes of a constant text."""
    return place(Pointer, U8, memory.text(text))


def volatile_load(pointer: Pointer[T]) -> T:
    """One read that reaches memory."""
    return pointer[0]


def volatile_store(pointer: Pointer[T], value: T) -> None:
    """One write that reaches memory."""
    pointer[0] = value


def fence() -> None:
    """Order all memory accesses before against all after, for every processor."""


def compiler_barrier() -> None:
    """Keep the compiler from moving memory accesses across."""


def copy_bytes(to: Address, from_: Address, count: SupportsIndex) -> None:
    """Copy `count` bytes between ranges that do not overlap."""
    move_bytes(to, from_, count)


def move_bytes(to: Address, from_: Address, count: SupportsIndex) -> None:
    """Copy `count` bytes; the ranges may overlap."""
    size = operator.index(count)
    if size:
        memory.write(to.kernel_address, memory.bytes_at(from_.kernel_address, size))


def fill_bytes(to: Address, value: u8, count: SupportsIndex) -> None:
    """Set `count` bytes to `value`."""
    size = operator.index(count)
    if size:
        memory.write(to.kernel_address, bytes([u8(value)]) * size)


# Numbers


class range(Generic[T]):  # noqa: A001, N801
    """`for i in range(...)`: Python's range, of values that have the type of the bounds (literals: u64)."""

    def __init__(self, *bounds: SupportsIndex) -> None:
        start, stop, step = {1: (0, *bounds, 1), 2: (*bounds, 1), 3: bounds}[len(bounds)]
        if type(step) is not int or step == 0:
            raise TypeError("the step of range is a literal other than 0")
        self.kind = common_kind((start, stop))
        self.numbers = builtins.range(int(coerced(self.kind, start)), int(coerced(self.kind, stop)), step)

    def __iter__(self) -> Iterator[T]:
        kind: Any = self.kind
        return map(kind, self.numbers)


def common_kind(values: Iterable[Any]) -> type[Integer]:
    """The type a group of operands has together: the widest, u64 for literals only."""
    kinds = [type(value) for value in values if isinstance(value, Integer)]
    return max(kinds, key=lambda kind: kind.BITS) if kinds else u64


def coerced(kind: type[Integer], value: Any) -> Any:
    return coerce(kind.__kernel_type__, value)


def popcount(value: I) -> I:
    """The number of bits that are 1."""
    return value.wrap(unsigned(value).bit_count())


def leading_zeros(value: I) -> I:
    """The number of zeros above the highest 1; the width if there is none."""
    return value.wrap(value.BITS - unsigned(value).bit_length())


def trailing_zeros(value: I) -> I:
    """The number of zeros below the lowest 1; the width if there is none."""
    number = unsigned(value)
    return value.wrap((number & -number).bit_length() - 1 if number else value.BITS)


def byte_swap(value: I) -> I:
    """The bytes in the opposite order."""
    size = value.BITS // 8
    return value.wrap(int.from_bytes(unsigned(value).to_bytes(size, "little"), "big"))


def rotate_left(value: I, amount: SupportsIndex) -> I:
    """The bits that leave at the top come in at the bottom; the amount counts modulo the width."""
    if type(amount) is not int and not is_plain(amount, signed=False):
        raise TypeError("the amount of rotate_left must be unsigned")
    count = operator.index(amount) % value.BITS
    number = unsigned(value)
    return value.wrap(number << count | number >> (value.BITS - count))


def unsigned(value: Integer) -> int:
    """The bits of a value as a number from 0."""
    if not isinstance(value, Integer):
        raise TypeError(f"{type(value).__name__} {value!r} has no width: write u64({value!r})")
    return int(value) & ((1 << value.BITS) - 1)


def multiply_high(left: u64, right: u64) -> u64:
    """The upper 64 bits of the 128-bit product."""
    return u64(int(coerced(u64, left)) * int(coerced(u64, right)) >> 64)


# Control


def likely(condition: object) -> bool:
    """The condition as a bool; the compiler lays out the code for True."""
    return bool(condition)


def unlikely(condition: object) -> bool:
    """The condition as a bool; the compiler lays out the code for False."""
    return bool(condition)


def panic(text: str) -> NoReturn:
    """Stop, in both profiles."""
    raise Trap(TrapKind.PANIC, text)


def unreachable(text: str = "unreachable code was reached") -> NoReturn:
    """Stop: the program should never come here."""
    raise Trap(TrapKind.PANIC, text)


def asm(template: str, constraints: str, *inputs: Any) -> None:  # noqa: ARG001
    """Inline assembly (AT&T syntax, LLVM constraints), volatile, without a result."""
    raise no_assembly(template)


def asm_value(type_: Any, template: str, constraints: str, *inputs: Any) -> Any:  # noqa: ARG001
    """Inline assembly with a result of `type_`, which may be a tuple of types."""
    raise no_assembly(template)


def no_assembly(template: str) -> RuntimeError:
    return RuntimeError(
        f"CPython cannot run the assembly {template!r}: put it behind an @interface function and give"
        " definition(...) or jit(...) another implementation"
    )


# What Python's own functions mean for sized integers


def minimum(*values: Any) -> Any:
    """`min`: of the type the values have together."""
    return chosen(min, values)


def maximum(*values: Any) -> Any:
    """`max`: of the type the values have together."""
    return chosen(max, values)


def chosen(choose: Callable[[Iterable[Any]], Any], values: tuple[Any, ...]) -> Any:
    if all(type(value) is int for value in values):
        return choose(values)
    kind = common_kind(values)
    return choose([coerced(kind, value) for value in values])


def length(value: Any) -> Any:
    """`len`: of a text a u64, of an array a literal."""
    return u64(len(value)) if isinstance(value, str) else len(value)


PYTHON_FUNCTIONS: dict[Any, Callable[..., Any]] = {min: minimum, max: maximum, len: length}
