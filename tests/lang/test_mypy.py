"""The mypy plug-in: what mypy takes kernel Python for, and what it refuses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HEADER = """\
from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import Generic, NoReturn, TypeVar

from macadamia.lang import (
    Array, Atomic, Ptr, Struct, UserPtr, Volatile, address_of, asm, asm_value, bitfield, bits, cast, constant,
    field, formatter, i8, i32, i64, implements, interface, local, naked, pointer_at, pointer_to, popcount,
    range, sizeof, static, storage, u8, u16, u32, u64, u128, user_pointer_at, usize, volatile_load,
)

T = TypeVar("T", bound=Struct)
N = 4


@storage(u8)
class State(IntEnum):
    A = 0


class PhysAddr(u64):
    def frame(self) -> u64:
        return u64(self) >> 12


class VirtAddr(usize):
    low = bitfield(u64, 0, 12)
    valid = bitfield(bool, 63, 1)


class Links(Struct):
    a: u32


class Thread(Struct):
    SIZE = 4096
    state: u32
    priority: u8 = bits(4)
    next: Ptr["Thread"] | None
    links: Links
    slots: Array[u64, 8]
    grid: Array[Array[u8, N], N * 2 + 1]
    handler: Callable[[u64], u64] | None
    status: Volatile[u32] = field(offset=0x100)
    pending: Atomic[u64]
    address: PhysAddr
    later: Ptr["Later"] | None
    pointers: Ptr[Ptr["Thread"]]
    user: UserPtr[u8]
    node: "Node[Thread]"

    def ready(self, mask: u32) -> bool:
        return self.state & mask != 0


class Later(Struct):
    x: u64


class Node(Struct, Generic[T]):
    next: Ptr["Node[T]"] | None
    item: Ptr[T] | None

    def take(self) -> Ptr[T] | None:
        return self.item


class Nodes(Node[Thread]):
    pass


def want64(x: u64) -> u64:
    return x

"""
ARGUMENTS = (
    "t: Ptr[Thread], nodes: Ptr[Nodes], x: u32, w: u64, y: i32, p: Ptr[u64], q: Ptr[u64] | None, "
    "pa: PhysAddr, va: VirtAddr, s: State, b: bool"
)

REVEALED = [
    ("x + 1", "u32"),
    ("5 - x", "u32"),
    ("x & ~0xFFF", "u32"),
    ("u8(1) + x", "u32"),
    ("x + u8(1)", "u32"),
    ("x << u8(3)", "u32"),
    ("-y", "i32"),
    ("~x", "u32"),
    ("x == 5", "bool"),
    ("x < u8(1)", "bool"),
    ("divmod(x, 3)", "tuple[u32, u32]"),
    ("popcount(x)", "u32"),
    ("u32.wrap(w)", "u32"),
    ("u32.MAX", "int"),
    ("u64(s) + u64(b) + u64(pa)", "u64"),
    ("pa + 5", "PhysAddr"),
    ("pa + u8(5)", "PhysAddr"),
    ("pa - pa", "u64"),
    ("pa.frame()", "u64"),
    ("va & ~0xFFF", "VirtAddr"),
    ("va.low", "u64"),
    ("va.valid", "bool"),
    ("va.replace(low=4)", "VirtAddr"),
    ("t.state", "u32"),
    ("t.priority", "u8"),
    ("t.next", "Thread | None"),
    ("t.links", "Links"),
    ("t.slots", "ArrayView[u64]"),
    ("t.slots[x]", "u64"),
    ("t.grid[1][2]", "u8"),
    ("t.status", "u32"),
    ("t.pending.fetch_add(1)", "u64"),
    ("t.later", "Later | None"),
    ("t.pointers", "Pointer[Thread]"),
    ("t.pointers[0]", "Thread"),
    ("t.user", "UserPointer[u8]"),
    ("t.node.item", "Thread | None"),
    ("nodes.take()", "Thread | None"),
    ("t + 1", "Thread"),
    ("t - t", "i64"),
    ("p + 1", "Pointer[u64]"),
    ("p - p", "i64"),
    ("p[x]", "u64"),
    ("local(u32)", "Pointer[u32]"),
    ("local(Thread)", "Thread"),
    ("local(Array[u32, N])", "ArrayView[u32]"),
    ("local(Array[Links, N])[1]", "Links"),
    ("local(Ptr[Thread])", "Pointer[Thread]"),
    ("local(Ptr[u8])", "Pointer[Pointer[u8]]"),
    ("local(Node[Thread])", "Node[Thread]"),
    ("local(Atomic[u8])", "AtomicView[u8]"),
    ("static(Array[u32, 4])", "ArrayView[u32]"),
    ("static(u64, 5, align=64)", "Pointer[u64]"),
    ("constant(u16, [1, 2])", "Pointer[u16]"),
    ("Array[u32, 4]()", "ArrayView[u32]"),
    ("Thread()", "Thread"),
    ("cast(u8, p)", "Pointer[u8]"),
    ("cast(Thread, p)", "Thread"),
    ("cast(Thread, q)", "Thread | None"),
    ("cast(u32, t.user)", "UserPointer[u32]"),
    ("pointer_to(t.state)", "Pointer[u32]"),
    ("pointer_to(t.slots[2])", "Pointer[u64]"),
    ("pointer_to(t.links)", "Links"),
    ("pointer_at(Links, w)", "Links"),
    ("pointer_at(u8, w)", "Pointer[u8]"),
    ("user_pointer_at(u8, w)", "UserPointer[u8]"),
    ("address_of(p)", "u64"),
    ("sizeof(Array[u8, 4])", "int"),
    ("volatile_load(p)", "u64"),
    ('asm_value(u64, "", "")', "u64"),
    ('asm_value((u64, u32), "", "")', "tuple[u64, u32]"),
    ("[i for i in range(x)][0]", "u32"),
    ("[i for i in range(u8(1), x)][0]", "u32"),
    ("[i for i in range(10)][0]", "u64"),
    ("[i for i in range(y, -1, -1)][0]", "i32"),
]

GOOD = """\
def good(ARGUMENTS) -> u64:
    total: u64 = 0
    for i in range(x):
        total += i
    state = t.next.state if t.next is not None else 0
    state -= 1
    small: u8 = 3
    wide: u128 = w
    t.slots[3] = small
    t.slots[3] = 5
    p[0] += x
    t.handler = want64
    if t.handler is not None:
        total += t.handler(x)
    match x:
        case 1 | 2:
            total += 100
        case 5:
            return 5
        case _:
            total += want64(x)
    a, b_ = divmod(x, 3)
    log(f"{x:#x} {t.state:d}")
    return total + state + pa.frame() + min(x, 5) + a + (w if b else 0) + u64(wide)


@interface
def out(byte: u8) -> u16: ...


@implements(out)
def out_by_serial(byte: u8) -> u16:
    return byte


@naked
def entry() -> NoReturn:
    \"\"\"Leaves by iret.\"\"\"
    asm("iretq", "")


def put_text(text: str) -> None:
    pass


def put_number(value: u64, negative: bool, base: u8, width: u8, fill: u8) -> None:
    pass


log = formatter(put_text, put_number)


def sum_of(threads: Ptr[Array[Thread, 4]]) -> u32:
    total = u32(0)
    for thread in threads:
        total += thread.state
    return total


def host(t: Ptr[Thread]) -> int:
    names = ["a", "b"]
    return int(t.state) + t.state + len(names[t.state])
"""

MIXING = "do not mix: convert one of them"
REFUSED = [
    ("x + y", MIXING),
    ("y + x", MIXING),
    ("x == y", MIXING),
    ("x < y", MIXING),
    ("x + s", MIXING),
    ("x + b", MIXING),
    ("s + x", MIXING),
    ("b + x", MIXING),
    ("pa + va", MIXING),
    ("pa == va", MIXING),
    ("pa - va", MIXING),
    ("pa + pa", MIXING),
    ("pa * 5", MIXING),
    ("w + pa", MIXING),
    ("5 + pa", "Unsupported operand types"),
    ("x << y", "the amount of a shift is unsigned, not i32"),
    ("b << x", "bool has no width to shift in"),
    ("x / 5", "have no / and **"),
    ("x ** 2", "have no / and **"),
    ("x + 1.5", "Unsupported operand types"),
    ('"a" + x', "Unsupported operand types"),
    ("x = y", "Incompatible types in assignment"),
    ("x = w", "Incompatible types in assignment"),
    ("y = x", "Incompatible types in assignment"),
    ("pa = va", "Incompatible types in assignment"),
    ("pa = 5", "Incompatible types in assignment"),
    ("pa = w", "Incompatible types in assignment"),
    ("w = pa", "Incompatible types in assignment"),
    ("t.state = y", "Incompatible types in assignment"),
    ("t.pending = 5", "Incompatible types in assignment"),
    ("t.slots[0] = y", "Incompatible types in assignment"),
    ("p[0] = y", "Incompatible types in assignment"),
    ("want64(y)", "incompatible type"),
    ("want64(pa)", "incompatible type"),
    ("t.ready(y)", "incompatible type"),
    ("t.nothing", "has no attribute"),
    ("p.x", "has no attribute"),
    ("t.user[0]", "is not indexable"),
    ("t.next.state", 'Item "None"'),
    ("q[0]", "is not indexable"),
    ("bad_pointer: Ptr[u32] = p", "Incompatible types in assignment"),
    ("bad_array: Array[u32] = t.slots", "Array takes 2 parameters"),
    ("for i in range(x, y): pass", "the bounds of range do not mix"),
]


def source(*parts: str) -> str:
    return HEADER + "\n\n".join(parts).replace("ARGUMENTS", ARGUMENTS) + "\n"


def function(name: str, lines: list[str]) -> str:
    return f"def {name}(ARGUMENTS) -> None:\n" + "".join(f"    {line}\n" for line in lines)


class Mypy:
    """Runs mypy, as pyproject.toml configures it, on a file in a folder with a cache of its own."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self.repository = repository
        self.folder = folder

    def __call__(self, text: str, name: str) -> dict[int, list[str]]:
        """What mypy says, by line."""
        path = self.folder / f"{name}.py"
        path.write_text(text)
        command = [sys.executable, "-m", "mypy", "--cache-dir", str(self.folder / "cache"), str(path)]
        output = subprocess.run(command, cwd=self.repository, capture_output=True, text=True, timeout=300)
        assert not output.stderr, output.stderr
        found: dict[int, list[str]] = {}
        for line in output.stdout.splitlines():
            match = re.match(rf".*{name}\.py:(\d+): (?:error|note): (.*)", line)
            if match:
                found.setdefault(int(match[1]), []).append(match[2])
        return found


@pytest.fixture(scope="module")
def mypy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Mypy:
    return Mypy(repository, tmp_path_factory.mktemp("mypy"))


def line_of(text: str, code: str) -> int:
    return text.splitlines().index("    " + code) + 1


def check_revealed(mypy: Mypy, name: str) -> None:
    text = source(function("reveal", [f"reveal_type({code})" for code, _ in REVEALED]))
    found = mypy(text, name)
    for code, type_ in REVEALED:
        (said,) = found.pop(line_of(text, f"reveal_type({code})"))
        plain = re.sub(r"(macadamia\.lang\.\w+|builtins|" + name + r")\.", "", said)
        assert plain == f'Revealed type is "{type_}"', code
    assert found == {}


def check_refused(mypy: Mypy, name: str) -> None:
    text = source(function("bad", [code for code, _ in REFUSED]))
    found = mypy(text, name)
    for code, message in REFUSED:
        said = found.pop(line_of(text, code), [])
        assert any(message in line for line in said), (code, said)
    assert found == {}


def test_types(mypy: Mypy) -> None:
    check_revealed(mypy, "revealed")


def test_what_is_right_passes(mypy: Mypy) -> None:
    assert mypy(source(GOOD), "good") == {}


def test_what_is_wrong_is_refused(mypy: Mypy) -> None:
    check_refused(mypy, "refused")


def test_the_cache_changes_nothing(mypy: Mypy) -> None:
    """Now that builtins and macadamia.lang come from the cache, another file is seen in the same way."""
    check_revealed(mypy, "revealed_again")
    check_refused(mypy, "refused_again")
    assert mypy(source(GOOD), "good_again") == {}


def test_classes_of_a_cached_module(mypy: Mypy) -> None:
    """Opaque integers and structs defined in one module and used in another."""
    (mypy.folder / "defines.py").write_text(source(""))
    user = """\
from defines import PhysAddr, Thread, VirtAddr
from macadamia.lang import Ptr, u64

def use(t: Ptr[Thread], pa: PhysAddr, va: VirtAddr) -> u64:
    pa + va
    reveal_type(pa - t.address)
    reveal_type(t.later)
    return va - va
"""
    for attempt in ("user_first", "user_second"):
        found = mypy(user.replace("def use", f"def {attempt}"), attempt)
        assert [found[line] for line in (5, 6)] == [
            [f"PhysAddr and VirtAddr {MIXING}  [misc]"],
            ['Revealed type is "macadamia.lang.integers.u64"'],
        ]
        assert set(found) == {5, 6, 7}
