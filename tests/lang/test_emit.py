"""The LLVM text: what is emitted and, as important, what is not."""

import builtins
import re
from collections.abc import Callable
from typing import Any, NoReturn

import llvmlite.binding as llvm
import pytest

from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    address_of,
    constant,
    export,
    global_asm,
    i8,
    i32,
    i64,
    implements,
    panic,
    panic_handler,
    pointer_at,
    range,
    section,
    static,
    u8,
    u16,
    u32,
    u64,
)
from macadamia.lang.check.program import check_program
from macadamia.lang.emit import EmitOptions, emit
from macadamia.lang.emit.types import escaped
from macadamia.lang.jit import jit
from macadamia.lang.memory import memory
from macadamia.lang.types import Type
from tests.lang.machine_code import llvm_text


def body(function: Callable[..., Any], profile: Any = "release", target: Any = "bare") -> str:
    """The text of one function."""
    text = llvm_text([function], profile, target)
    head = f'@"{function.__module__}.{function.__qualname__}"('
    start = next(line for line in text.split("\ndefine ") if head in line.split("\n")[0])
    return start[: start.index("\n}")]


def operations(function: Callable[..., Any], profile: Any = "release") -> list[str]:
    """The instructions of a function by name, without those that any function has."""
    names = re.findall(r"^  (?:%\S+ = )?(\w+)", body(function, profile), re.MULTILINE)
    return [name for name in names if name not in {"alloca", "load", "store", "ret", "br"}]


# Arithmetic


def unsigned_divide(a: u32) -> u32:
    return a // 7 + a % 7


def signed_power(a: i32) -> i32:
    return a // 8 + a % 8


def signed_literal(a: i32) -> i32:
    return a // 7


def signed_minus_one(a: i32) -> i32:
    return a // -1


def signed_any(a: i32, b: i32) -> i32:
    return a // b


def shift_literal(a: u32) -> u32:
    return a << 3


def shift_any(a: u32, n: u32) -> u32:
    return a << n


def shift_signed(a: i32, n: u8) -> i32:
    return a >> n


def wraps(a: i32, b: i32) -> i32:
    return a * b + a - b + (-a)


class TestArithmetic:
    def test_unsigned_division_needs_no_correction(self) -> None:
        assert operations(unsigned_divide, "checked") == ["udiv", "urem", "add"]

    def test_signed_division_by_a_power_of_two(self) -> None:
        assert operations(signed_power, "checked") == ["ashr", "and", "add"]

    def test_signed_division_by_a_literal(self) -> None:
        assert operations(signed_literal) == ["sdiv", "srem", "icmp", "sext", "add"]

    def test_division_by_minus_one_is_negation(self) -> None:
        assert operations(signed_minus_one) == ["sub"]

    def test_the_overflowing_division_is_avoided(self) -> None:
        assert "select i1" in body(signed_any)

    def test_shift_by_a_literal(self) -> None:
        assert operations(shift_literal, "checked") == ["shl"]

    def test_shift_in_release(self) -> None:
        assert operations(shift_any) == ["icmp", "shl", "select"]
        assert operations(shift_signed) == ["icmp", "zext", "select", "ashr"]

    def test_nothing_is_assumed_about_overflow(self) -> None:
        assert not re.search(r"\b(nsw|nuw|exact)\b", body(wraps))


# Statements


DEBUG = False


def import_time_choice(x: u32) -> u32:
    if DEBUG:
        panic("never compiled")
    return x


def after_return(x: u32) -> u32:
    while True:
        if x > 3:
            return x
        x += 1


def evaluation_order(p: Ptr[u32], i: u32) -> None:
    p[step(i)] = step(step(i))


def step(x: u32) -> u32:
    return x + 1


class TestStatements:
    def test_choices_at_import_time(self) -> None:
        assert operations(import_time_choice, "checked") == []
        assert "never compiled" not in llvm_text([import_time_choice], "checked")

    def test_endless_loops_have_no_exit(self) -> None:
        assert "endwhile" not in body(after_return)

    def test_a_store_computes_its_value_first(self) -> None:
        text = body(evaluation_order)
        first = re.search(r"(%\d+) = call i32 @\"[\w.]*step\"", text)
        assert first is not None
        assert f"(i32 {first[1]})" in text


def loop(type_: Any, step: int) -> Callable[..., Any]:
    """A function that counts the turns of a loop and mixes the values it sees."""

    def counts(start: type_, stop: type_) -> tuple[u32, i64]:
        turns: u32 = 0
        seen: i64 = 0
        for i in range(start, stop, step):
            seen = seen * 3 + i64.wrap(i)
            turns += 1
            i += 1
        return turns, seen

    return counts


EDGES = {
    u8: [0, 1, 2, 3, 127, 128, 200, 253, 254, 255],
    i8: [-128, -127, -126, -1, 0, 1, 125, 126, 127],
    u64: [0, 1, 2**64 - 3, 2**64 - 2, 2**64 - 1],
    i64: [-(2**63), 1 - 2**63, 2**63 - 2, 2**63 - 1],
}


@pytest.mark.parametrize("type_", [u8, i8, u64, i64])
@pytest.mark.parametrize("step", [1, 2, 3, 100, 255, -1, -2, -3, -100])
@pytest.mark.parametrize("optimize", [0, 2])
def test_range_never_overflows(type_: Any, step: int, optimize: int) -> None:
    if type_ is i8 and step == 255:
        pytest.skip("255 is not a step of i8")
    compiled = jit([loop(type_, step)], optimize=optimize).counts
    for start in EDGES[type_]:
        for stop in EDGES[type_]:
            if abs(stop - start) // abs(step) > 1000:
                continue
            seen = 0
            turns = builtins.range(start, stop, step)
            for i in turns:
                seen = seen * 3 + i
            assert compiled(type_(start), type_(stop)) == (len(turns), i64.wrap(seen))


# Statics


class Node(Struct):
    value: u32
    next: Ptr["Node"] | None
    action: Callable[[u32], u32] | None
    name: str
    inside: Ptr[u32] | None
    device: Ptr[u32] | None


tail = Node()
head = Node()
head.value = u32(0x01020304)
head.next = tail
head.action = step
head.name = "head"
table = constant(u16, [1, 2, 300])
numbers = static(Array[u32, 8])
head.inside = pointer_at(u32, address_of(numbers) + 12)
head.device = pointer_at(u32, 0xFEE0_0000)
zeros = static(Array[u8, 1 << 20])
scalar = static(u64, 77)
aligned = static(u32, align=64, section=".data.special")
visible = static(u32, 5, export="visible_symbol")


def uses_head() -> Ptr[Node]:
    return head


def uses_others(i: u32) -> u64:
    return table[i] + zeros[i] + scalar[0] + aligned[0] + visible[0]


def definition_of(name: str, text: str) -> str:
    """The line that defines a symbol."""
    (found,) = re.findall(rf'^@"{re.escape(name)}" = (.*)$', text, re.MULTILINE)
    return str(found)


class TestStatics:
    def test_pointers_are_relocated(self) -> None:
        text = llvm_text([uses_head], "release")
        line = definition_of(f"{__name__}.head", text)
        tail_symbol, _ = re.findall(r'ptr @"([^"]+)"', line)[:2]
        assert "static." in tail_symbol or "tail" in tail_symbol
        assert f'ptr @"{__name__}.step"' in line
        assert 'c"\\04\\03\\02\\01' in line
        assert re.search(r'\{ ptr, i64 \} \{ ptr @"text\.\d+", i64 4 \}', line)
        assert re.search(r'getelementptr \(i8, ptr @"[^"]+", i64 12\)', line)
        assert f"inttoptr (i64 {0xFEE0_0000} to ptr)" in line

    def test_plain_contents(self) -> None:
        text = llvm_text([uses_others], "release")
        assert definition_of(f"{__name__}.table", text).startswith('internal constant [6 x i8] c"\\01\\00')
        assert definition_of(f"{__name__}.scalar", text) == "internal global i64 77, align 8"

    def test_zeros_take_no_room(self) -> None:
        line = definition_of(f"{__name__}.zeros", llvm_text([uses_others], "release"))
        assert line == "internal global [1048576 x i8] zeroinitializer, align 1"

    def test_section_alignment_and_symbol(self) -> None:
        text = llvm_text([uses_others], "release")
        assert definition_of(f"{__name__}.aligned", text).endswith('section ".data.special", align 64')
        assert definition_of("visible_symbol", text) == "global i32 5, align 4"
        assert re.search(r"@llvm.compiler.used = .*aligned", text)

    def test_jit_uses_the_memory_of_cpython(self) -> None:
        text = llvm_text([uses_head], target="jit")
        assert f"inttoptr (i64 {head.kernel_address} to ptr)" in text
        assert f'@"{__name__}.head"' not in text

    def test_contents_are_those_at_the_time_of_emission(self) -> None:
        before = memory.save()
        scalar[0] = u64(78)
        assert definition_of(f"{__name__}.scalar", llvm_text([uses_others])).startswith(
            "internal global i64 78"
        )
        memory.restore(before)


# Functions


@implements(panic_handler)
def handler(message: str, file: str, line: u32) -> NoReturn:
    while True:
        pass


@export("fixed")
def fixed(x: u32) -> u32:
    return step(x)


@section(".text.boot")
def boots(x: u32) -> u32:
    assert x != 7, "seven"
    return x


def takes_address() -> u64:
    return address_of(step)


global_asm(".section .note.test\n.quad 0x1122\n.text")


class TestModule:
    def test_only_roots_and_exports_are_visible(self) -> None:
        text = llvm_text([fixed, takes_address])
        assert 'define i32 @"fixed"' in text
        assert f'define i64 @"{__name__}.takes_address"' in text
        assert f'define internal i32 @"{__name__}.step"' in text

    def test_the_panic_handler_is_told_message_file_and_line(self) -> None:
        program = check_program([boots], [handler])
        text = emit(program, EmitOptions("checked", "bare", debug=False, source_root="/"))
        (stop,) = re.findall(r"define internal void @\"macadamia\.stop\.0\".*?\n}", text, re.DOTALL)
        assert f'call void @"{__name__}.handler"({{ ptr, i64 }}' in stop
        assert 'c"seven"' in text
        assert f'c"{escaped(__file__[1:])}"' in text
        line = boots.__code__.co_firstlineno + 2
        assert f'call void @"macadamia.stop.0"(i32 {line})' in text

    def test_without_a_handler_the_processor_stops(self) -> None:
        assert "call void @llvm.trap()" in llvm_text([boots])

    def test_sections(self) -> None:
        assert 'section ".text.boot"' in body(boots)

    def test_global_assembly_follows_the_target_lines(self) -> None:
        lines = llvm_text([fixed]).split("\n")
        assert lines[0].startswith("target datalayout")
        assert lines[1].startswith("target triple")
        assert any(line.startswith("module asm") and "0x1122" in line for line in lines)
        assert not any("0x1122" in line for line in llvm_text([fixed], target="jit").split("\n"))

    @pytest.mark.parametrize("profile", ["checked", "release"])
    @pytest.mark.parametrize("target", ["bare", "user", "jit"])
    def test_llvm_accepts_it(self, profile: Any, target: Any) -> None:
        functions: list[Any] = [uses_head, uses_others, boots, evaluation_order, signed_any]
        text = llvm_text(functions, profile, target, debug=True)
        module = llvm.parse_assembly(text)
        module.verify()

    def test_every_instruction_has_a_place(self) -> None:
        text = llvm_text([evaluation_order, uses_others], "checked", debug=True)
        for function in text.split("\ndefine ")[1:]:
            if "!dbg" not in function.split("\n")[0]:
                continue
            for line in function[: function.index("\n}")].split("\n")[1:]:
                frame = "alloca" in line or re.match(r"  store \w+ %\d, ptr %\"", line)
                assert frame or line.endswith(":") or "#dbg" in line or "!dbg !" in line, line

    def test_same_program_same_text(self) -> None:
        assert llvm_text([uses_others, boots], debug=True) == llvm_text([uses_others, boots], debug=True)


def test_every_type_has_a_description() -> None:
    """The debugger knows each kind of type."""
    from macadamia.lang.emit import debuginfo
    from macadamia.lang.types import LiteralType, NullType, SameAs

    every = {*Type.__subclasses__(), *SameAs.__subclasses__()}
    kinds = every - {SameAs, LiteralType, NullType}
    assert kinds == set(debuginfo._WRITERS)
