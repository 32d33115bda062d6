"""Structs in CPython: layout, fields, methods, inheritance and generics."""

import ctypes
from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import Any, Generic, NoReturn, Self, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macadamia.lang import (
    Array,
    Atomic,
    Ptr,
    Struct,
    UserPtr,
    Volatile,
    alignof,
    bits,
    field,
    i8,
    i32,
    memory,
    offsetof,
    sizeof,
    static,
    storage,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from macadamia.lang.annotations import resolve_annotation, resolve_function_annotations
from macadamia.lang.integers import CLASSES
from macadamia.lang.traps import Trap, TrapKind
from macadamia.lang.types import (
    BOOL,
    INTEGERS,
    NEVER,
    NONE,
    STRING,
    U32,
    U64,
    ArrayType,
    FunctionType,
    PointerType,
    TupleType,
    UserPointerType,
)

T = TypeVar("T", bound=Struct)
V = TypeVar("V")


class Missing(IntEnum):
    A = 1


@storage(u8)
class Colour(IntEnum):
    RED = 1
    BLUE = 2

    def is_red(self) -> bool:
        return self == Colour.RED


@storage(u8)
class Rights(IntFlag):
    READ = 1
    WRITE = 4


class PhysAddr(u64):
    """An address."""

    def page(self, size: u64) -> u64:
        return u64(self) // size


class Links(Struct):
    next: Ptr["Thread"] | None
    previous: Ptr["Thread"] | None


class Thread(Struct):
    """A bit of everything."""

    STACK_SIZE = 4096
    state: u32
    priority: u8 = bits(4)
    flags: u8 = bits(4)
    links: Links
    slots: Array[u64, 8]
    handler: Callable[[u64, "Ptr[Thread]"], u64] | None
    status: Volatile[u32] = field(offset=0x80)
    pending: Atomic[u64]
    colour: Colour
    rights: Rights
    address: PhysAddr

    def ready(self, mask: u32) -> bool:
        return self.state & mask != 0


def types_of(struct: Any) -> dict[str, Any]:
    return {item.name: item.type for item in struct.__kernel_type__.fields}


def offsets_of(struct: Any) -> dict[str, tuple[int, int]]:
    return {item.name: (item.offset, item.bit) for item in struct.__kernel_type__.fields}


def annotated(**annotations: Any) -> Any:
    """A new struct class with these fields."""
    return type("Made", (Struct,), {"__annotations__": annotations, "__module__": __name__})


# Layout

C_TYPES = {
    name: getattr(ctypes, f"c_{'u' if name[0] == 'u' else ''}int{name[1:]}")
    for name in INTEGERS
    if name != "u128"
}


@given(st.lists(st.tuples(st.sampled_from(sorted(C_TYPES)), st.integers(0, 3)), min_size=1, max_size=12))
def test_layout_is_that_of_c(fields: list[tuple[str, int]]) -> None:
    """Against ctypes; a count above 0 makes the field an array."""
    ours, c_fields = {}, []
    for number, (name, count) in enumerate(fields):
        kind: Any = CLASSES[INTEGERS[name]]
        ours[f"f{number}"] = Array[kind, count] if count else kind
        c_fields.append((f"f{number}", C_TYPES[name] * count if count else C_TYPES[name]))
    struct = annotated(**ours)
    c_struct: Any = type("CMade", (ctypes.Structure,), {"_fields_": c_fields})
    assert sizeof(struct) == ctypes.sizeof(c_struct)
    assert alignof(struct) == ctypes.alignment(c_struct)
    for name, _ in c_fields:
        assert offsetof(struct, name) == getattr(c_struct, name).offset


class Packed(Struct):
    a: u32 = bits(5)
    b: u32 = bits(27)
    c: u16 = bits(9)
    d: u16 = bits(9)  # does not fit the rest of the unit
    e: u8
    f: i8 = bits(3)  # of the byte after e
    on: bool = bits(1)
    rights: Rights = bits(3)
    g: u64 = bits(40)


def test_bit_fields_share_units() -> None:
    assert offsets_of(Packed) == {
        "a": (0, 0),
        "b": (0, 5),
        "c": (4, 0),
        "d": (6, 0),
        "e": (8, 0),
        "f": (9, 0),
        "on": (9, 3),
        "rights": (9, 4),
        "g": (8, 15),
    }
    assert (sizeof(Packed), alignof(Packed)) == (16, 8)


@given(
    st.tuples(
        st.integers(0, 2**5 - 1),
        st.integers(0, 2**27 - 1),
        st.integers(0, 511),
        st.integers(0, 511),
        st.integers(0, 255),
        st.integers(-4, 3),
        st.booleans(),
        st.sampled_from([Rights(0), Rights.READ, Rights.WRITE, Rights.READ | Rights.WRITE]),
        st.integers(0, 2**40 - 1),
    )
)
def test_bit_fields_keep_their_neighbours(values: tuple[Any, ...]) -> None:
    before = memory.save()
    packed: Any = static(Packed)
    names = list(offsets_of(Packed))
    for name, value in zip(names, values, strict=True):
        setattr(packed, name, value)
    assert [getattr(packed, name) for name in names] == list(values)
    raw = memory.bytes_at(packed.kernel_address, sizeof(Packed))
    assert int.from_bytes(raw[0:4], "little") == values[0] | values[1] << 5
    assert int.from_bytes(raw[6:8], "little") == values[3]
    assert raw[9] & 0x7F == values[5] & 7 | values[6] << 3 | values[7] << 4
    memory.restore(before)


def test_bit_fields_have_the_type_they_say() -> None:
    packed = static(Packed)
    assert [type(value) for value in (packed.a, packed.f, packed.on, packed.rights, packed.g)] == [
        u32,
        i8,
        bool,
        Rights,
        u64,
    ]


def test_placed_and_aligned_fields() -> None:
    class Device(Struct, align=64):
        control: Volatile[u32]
        data: Volatile[u16] = field(offset=0x10)
        buffer: Array[u8, 3] = field(align=32)

    assert offsets_of(Device) == {"control": (0, 0), "data": (16, 0), "buffer": (32, 0)}
    assert (sizeof(Device), alignof(Device)) == (64, 64)
    assert static(Device).kernel_address % 64 == 0


def test_fields_that_cannot_be_placed() -> None:
    for offset, text in ((2, "overlaps"), (6, "not aligned")):
        struct = annotated(a=u32, b=u32)
        struct.__kernel_type__.requests["b"] = field(offset=offset)
        with pytest.raises(TypeError, match=text):
            sizeof(struct)


# Fields


def test_fields() -> None:
    thread, other = Thread(), Thread()
    thread.state = u16(5)
    thread.links.next = other
    other.links.previous = thread
    thread.slots[7] = u64(9)
    thread.status = 3
    thread.colour = Colour.BLUE
    thread.address = PhysAddr(0x5000)
    assert (thread.state, thread.slots[7], thread.status, thread.colour) == (5, 9, 3, Colour.BLUE)
    assert thread.links.next == other
    assert thread.links.next.links.previous == thread
    assert thread.pending.fetch_add(2) == 0
    assert thread.address.page(u64(0x1000)) == 5
    assert thread.ready(u32(4)) is True
    assert Thread.STACK_SIZE == thread.STACK_SIZE == 4096
    assert {thread: 1}[thread] == 1
    assert thread != other


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("state", u64(1), "write u32"),
        ("state", i8(1), "write u32"),
        ("state", True, "write u32"),
        ("colour", 1, "write Colour"),
        ("links", None, "cannot be assigned as a whole"),
        ("slots", None, "cannot be assigned as a whole"),
        ("pending", 5, "cannot be assigned as a whole"),
        ("handler", 5, "name a function"),
        ("nothing", 5, "has no field nothing"),
    ],
)
def test_fields_take_what_fits_them(name: str, value: Any, error: str) -> None:
    with pytest.raises((TypeError, AttributeError), match=error):
        setattr(Thread(), name, value)


def test_a_misaligned_struct_is_not_used() -> None:
    thread: Any = Thread()
    thread.kernel_address += 2
    for action in (lambda: thread.priority, lambda: thread.links, lambda: setattr(thread, "state", 1)):
        with pytest.raises(Trap) as trap:
            action()
        assert trap.value.kind is TrapKind.MISALIGNED


def test_inheritance_puts_the_base_first() -> None:
    class Derived(Links):
        more: u8

        def count(self) -> u8:
            return self.more

    assert list(offsets_of(Derived)) == ["next", "previous", "more"]
    assert sizeof(Derived) == 24
    derived = Derived()
    derived.more = 3
    derived.next = Thread()
    assert derived.count() == 3
    assert resolve_function_annotations(Derived.count, Derived)[0]["self"] == PointerType(
        Derived.__kernel_type__
    )


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int has no size: write u64, i32, ..."),
        (float, "float does not exist"),
        (list, "write Array"),
        (list[int], "is not a type of kernel Python"),
        (dict, "write an Array"),
        (bytes, "Ptr\\[u8\\] and a length"),
        (Missing, "decorate it with @storage"),
        (object, "object has no layout"),
        (u32 | None, "only a pointer can be None"),
        (u32 | u64, "only `\\| None` is"),
        (Callable[..., u32], "no signature"),
        (tuple[u32, u32], "cannot lie in memory"),
        (None, "cannot lie in memory"),
        ("Nowhere", "cannot be evaluated"),
        (5, "is not a type of kernel Python"),
        (T, "T is not bound here"),
        (Ptr, "not a type of kernel Python"),
        (Generic, "Generic is not a type of kernel Python"),
    ],
)
def test_annotations_that_are_no_types(annotation: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        sizeof(annotated(wrong=annotation))


def test_fields_have_no_values() -> None:
    with pytest.raises(TypeError, match="write a constant without an annotation"):
        type("Bad", (Struct,), {"__annotations__": {"x": u32}, "x": 5})
    with pytest.raises(TypeError, match="every pointer has this name"):
        sizeof(annotated(kernel_address=u64))


# Annotations


def test_every_kind_of_annotation() -> None:
    assert resolve_annotation(u32) == U32
    assert resolve_annotation(bool) == BOOL
    assert resolve_annotation(str) == STRING
    assert resolve_annotation(None) == NONE
    assert str(resolve_annotation(Ptr[Thread] | None)) == "Ptr[Thread] | None"
    assert resolve_annotation(UserPtr[u8]) == UserPointerType(u8)
    assert resolve_annotation(tuple[u32, Ptr[Thread]]) == TupleType(
        (U32, PointerType(Thread.__kernel_type__))
    )
    assert resolve_annotation(Array[u32, 4]) == ArrayType(U32, 4)
    assert resolve_annotation(Callable[[u32], None]) == FunctionType((U32,), NONE)
    assert resolve_annotation(Callable[[u32], None] | None).nullable is True  # type: ignore[attr-defined]


def signature(
    a: u32, b: "Ptr[Thread] | None", c: Callable[["u64"], bool], *, d: Colour = Colour.RED
) -> tuple[u64, bool]:
    raise NotImplementedError


def no_result(a: u32):  # type: ignore[no-untyped-def]
    raise NotImplementedError


def no_type(a) -> None:  # type: ignore[no-untyped-def]
    raise NotImplementedError


def never() -> "NoReturn":
    raise NotImplementedError


def test_signatures() -> None:
    parameters, result = resolve_function_annotations(signature)
    assert list(parameters) == ["a", "b", "c", "d"]
    assert parameters["b"] == PointerType(Thread.__kernel_type__, nullable=True)
    assert parameters["c"] == FunctionType((U64,), BOOL)
    assert result == TupleType((U64, BOOL))
    for function, text in (
        (no_result, "has no result type"),
        (no_type, "parameter a of no_type has no type"),
    ):
        with pytest.raises(TypeError, match=text):
            resolve_function_annotations(function)
    assert resolve_function_annotations(never)[1] == NEVER


def test_self_of_value_types() -> None:
    assert resolve_function_annotations(PhysAddr.page, PhysAddr)[0]["self"] == PhysAddr.__kernel_type__
    assert resolve_function_annotations(Colour.is_red, Colour)[0]["self"] == Colour.__kernel_type__  # type: ignore[attr-defined]


# Generics


class Node(Struct, Generic[T]):
    item: Ptr[T] | None
    next: Ptr["Node[T]"] | None
    same: Ptr[Self] | None
    inside: "Pair[T]"

    def take(self, item: Ptr[T]) -> Ptr["Node[T]"]:
        raise NotImplementedError


class Pair(Struct, Generic[T]):
    left: Ptr[T] | None
    many: Array[Ptr[T] | None, 3]


class Box(Struct, Generic[V]):
    value: V
    values: Array[V, 2]
    volatile: Volatile[V]


class ThreadNode(Node[Thread]):
    extra: u32


class Tree(Node[T], Generic[T]):
    depth: u8


class Shelf(Struct, Generic[V]):
    box: Box[V]
    boxes: Array[Box[V], 2]


def test_specialisations() -> None:
    assert Node[Thread] is Node[Thread]
    assert Node[Thread].__name__ == "Node[Thread]"
    assert Node[Thread].__kernel_type_arguments__ == {T: Thread}
    assert types_of(Node[Thread])["item"] == PointerType(Thread.__kernel_type__, nullable=True)
    assert types_of(Node[Thread])["next"].target.python is Node[Thread]
    assert types_of(Node[Thread])["same"].target.python is Node[Thread]
    assert types_of(Node[Thread])["inside"].python is Pair[Thread]
    assert types_of(Pair[Thread])["many"].element.target is Thread.__kernel_type__
    assert types_of(ThreadNode)["same"].target.python is ThreadNode
    assert types_of(ThreadNode)["next"].target.python is Node[Thread]
    parameters, result = resolve_function_annotations(Node.take, ThreadNode)
    assert parameters["self"].target is ThreadNode.__kernel_type__  # type: ignore[attr-defined]
    assert parameters["item"] == PointerType(Thread.__kernel_type__)
    assert result == PointerType(Node[Thread].__kernel_type__)


def test_generic_values() -> None:
    assert sizeof(Box[u8]) == 4
    assert sizeof(Box[u128]) == 64
    assert sizeof(Box[Ptr[Thread]]) == 32
    box = static(Box[u16])
    box.value = u16(5)
    box.values[1] = u16(6)
    assert (type(box.value), box.values[1], box.volatile) == (u16, 6, 0)


def test_generics_within_generics() -> None:
    assert types_of(Shelf[u16])["box"] is Box[u16].__kernel_type__
    assert types_of(Shelf[u16])["boxes"].element is Box[u16].__kernel_type__
    assert types_of(Tree[Thread])["item"] == PointerType(Thread.__kernel_type__, nullable=True)
    assert list(types_of(Tree[Thread])) == ["item", "next", "same", "inside", "depth"]


def test_open_generics_have_no_layout() -> None:
    with pytest.raises(TypeError, match=r"is not bound here: write Box\[...\]"):
        sizeof(Box)
    with pytest.raises(TypeError, match="takes 1 type arguments, not 2"):
        Box[u8, u16]  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"write the whole type as a text: 'Box\[Later\]'"):
        Box["Later"]  # type: ignore[misc]


def made_in_a_function(element: Any, length: int) -> Any:
    """Names of the function are real objects in annotations; the class may name itself."""

    class Ring(Struct):
        next: Ptr["Ring"] | None
        items: Array[element, length]

        def first(self) -> "Ptr[Ring]":
            raise NotImplementedError

    return Ring


def test_local_classes() -> None:
    narrow, wide = made_in_a_function(u8, 3), made_in_a_function(u64, 2)
    assert (sizeof(narrow), sizeof(wide)) == (16, 24)
    assert types_of(narrow)["next"].target is narrow.__kernel_type__
    assert resolve_function_annotations(wide.first, wide)[1] == PointerType(wide.__kernel_type__)


class Table(Struct):
    SIZE = 0
    entries: Array[u32, 0]

    def __init_subclass__(cls, size: int = 0, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.SIZE = size
        cls.__annotations__["entries"] = Array[u32, size]
        cls.__annotations__["last"] = i32


class SmallTable(Table, size=3, align=16):
    own: u8


def test_class_keywords_add_fields() -> None:
    assert offsets_of(SmallTable) == {"entries": (0, 0), "own": (12, 0), "last": (16, 0)}
    assert (SmallTable.SIZE, sizeof(SmallTable), alignof(SmallTable)) == (3, 32, 16)
    assert sizeof(Table) == 0


# Enums


def test_storage() -> None:
    assert resolve_annotation(Colour).size == 1
    with pytest.raises(TypeError, match="300 does not fit u8"):
        storage(u8)(IntEnum("Big", {"A": 300}))  # type: ignore[misc]
    assert ~Rights.READ is Rights.WRITE
    assert Rights(0) == ~(Rights.READ | Rights.WRITE)
    assert type(Rights.READ | Rights.WRITE) is Rights
