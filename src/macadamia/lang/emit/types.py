"""How the types of kernel Python look in LLVM: in registers, in memory, as the stride of an array."""

from __future__ import annotations

from macadamia.lang.types import (
    AtomicType,
    BoolType,
    EnumType,
    FunctionType,
    IntType,
    NeverType,
    NewType,
    NoneType,
    NullType,
    PointerType,
    StringType,
    TupleType,
    Type,
    UserPointerType,
    VolatileType,
)

STRING = "{ ptr, i64 }"  # address and length

_FIXED: dict[type, str] = {
    BoolType: "i1",
    PointerType: "ptr",
    FunctionType: "ptr",
    NullType: "ptr",
    UserPointerType: "i64",  # never dereferenced, so an integer: no provenance, plain arithmetic
    StringType: STRING,
    NoneType: "void",
    NeverType: "void",
}


def llvm_type(type_: Type) -> str:
    """The type of a value in a register. Structs and arrays have none: they live in memory."""
    kind = type_.__class__
    if kind is IntType:
        return f"i{type_.bits}"  # type: ignore[attr-defined]
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed
    if isinstance(type_, EnumType):
        return f"i{type_.storage.bits}"
    if isinstance(type_, NewType):
        return f"i{type_.base.bits}"
    if isinstance(type_, TupleType):
        return "{ " + ", ".join(map(llvm_type, type_.items)) + " }"
    if isinstance(type_, VolatileType | AtomicType):
        return llvm_type(type_.value)
    raise TypeError(f"{type_} is never in a register")


def memory_type(type_: Type) -> str:
    """The type of a scalar in memory: a bool is a byte there."""
    return "i8" if type_.__class__ is BoolType else llvm_type(type_)


def stride(type_: Type) -> str:
    """A type of the size of `type_`, to count elements in."""
    size = type_.size
    return f"i{size * 8}" if size in (1, 2, 4, 8) else f"[{size} x i8]"


def slot_type(type_: Type) -> str:
    """Zeroed memory for one `type_`: what an alloca or a static without contents holds."""
    return f"[{type_.size} x i8]"


def quoted(name: str) -> str:
    """A name between quotes, with LLVM's escapes."""
    return '"' + escaped(name) + '"'


def escaped(text: str) -> str:
    """Text inside an LLVM string: backslash, quote and what is not printable ASCII become \\XX."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return escaped_bytes(text.encode())


def escaped_bytes(data: bytes) -> str:
    return "".join(_ESCAPES[byte] for byte in data)


_ESCAPES = [
    chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:02X}" for byte in range(256)
]
