"""Every error a person can make has one message with a place and a help; their texts are pinned.

Each case is a function body (or a whole module) that must not compile. What the compiler says about it is
kept in __snapshots__/test_diagnostics.ambr; after an intended change run `./mac test --snapshot-update
tests/lang/test_diagnostics.py` and read the difference.
"""

from __future__ import annotations

import importlib.util
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
from syrupy.assertion import SnapshotAssertion

from macadamia.lang.check import check_program
from macadamia.lang.diagnostics import CompileErrors

HEADER = """\
from collections.abc import Callable
from enum import IntEnum, IntFlag
from macadamia.lang import *
from macadamia.lang import range, panic, static, formatter, interface, naked

class PhysAddr(u64):
    tag = bitfield(u64, 0, 4)
    def frame(self) -> u64:
        return u64(self) >> 12
class VirtAddr(u64): pass
@storage(u8)
class State(IntEnum):
    READY = 1
    DONE = 2
class Bare(IntEnum):
    ONE = 1
@storage(u32)
class Rights(IntFlag):
    READ = 1
    WRITE = 2
class Links(Struct):
    next: u64
class Thread(Struct):
    LIMIT = 10
    state: u32
    bit: u32 = bits(3)
    links: Links
    slots: Array[u16, 4]
    count: Atomic[u64]
    parent: Ptr["Thread"] | None
    handler: Callable[[u64], u64] | None
    def ready(self, mask: u32) -> bool:
        return self.state & mask != 0
thread = Thread()
counter = 0
some_list = [1, 2]
def helper(a: u32, b: u64 = u64(3)) -> u32:
    return a
def pair() -> tuple[u32, bool]:
    return u32(1), True
def nothing() -> None:
    pass
def put_text(text: str) -> None:
    pass
def put_number(value: u64, negative: bool, base: u8, width: u8, fill: u8) -> None:
    pass
log = formatter(put_text, put_number)
@interface
def unbound(x: u64) -> u64: ...
"""

PARAMETERS = (
    "a: u32, b: u32, c: u64, s: i32, p: Ptr[Thread], q: Ptr[Thread] | None, n: Ptr[u32], t: Rights, f: bool"
)

# name: body of `def case(PARAMETERS) -> None`
BODIES = {
    # literals and names
    "literal_to_name": "x = 5",
    "none_to_name": "x = None",
    "literal_too_large": "x: u8 = 256",
    "literal_negative": "x: u32 = -1",
    "literal_beside_operand": "x = a + 5000000000",
    "literal_shift_without_width": "x = 1 << a",
    "undefined_name": "x = a + missing",
    "used_before_assignment": "x = y\ny = a",
    "assigned_on_one_path": "if f:\n    x = a\ny = x",
    "assigned_in_loop_only": "for i in range(3):\n    x = a\ny = x",
    "two_types": "x = a\nx = c",
    "narrower_without_annotation": "x = c\nx = a",
    "redeclared": "x: u32 = 1\nx: u64 = 2",
    "result_is_none": "x = nothing()",
    "global_counter": "counter += 1",
    "list_is_no_value": "x = some_list",
    "non_ascii_text": "put_text('é')",
    "float_constant": "x = 1.5",
    "bytes_constant": "x = b'ab'",
    # integers
    "mixed_signs": "x = a + s",
    "implicit_narrowing_argument": "x = helper(c)",
    "bool_in_arithmetic": "x = a + f",
    "true_division": "x = a / b",
    "power": "x = a ** b",
    "matrix_product": "x = a @ b",
    "division_by_literal_zero": "x = a // 0",
    "folded_division_by_zero": "x: u32 = 1 // 0",
    "shift_by_width": "x = a << 32",
    "shift_by_signed": "x = a << s",
    "shift_of_bool": "x = f << 1",
    "invert_bool": "x = ~f",
    "negate_bool": "x = -f",
    "convert_pointer": "x = u64(p)",
    "convert_two": "x = u32(a, b)",
    "wrap_pointer": "x = u32.wrap(p)",
    "python_int": "x = int(a)",
    "python_bool": "x = bool(a)",
    "literal_out_of_cast": "x = u8(300)",
    "divide_u128": "x = u128(c) // u128(c)",
    # opaque integers, enums
    "mixed_opaque": "x = PhysAddr(c) + VirtAddr(c)",
    "opaque_from_opaque": "x = PhysAddr(VirtAddr(c))",
    "opaque_plus_signed": "x = PhysAddr(c) + s",
    "add_two_opaque": "x = PhysAddr(c) + PhysAddr(c)",
    "opaque_on_the_right": "x = c + PhysAddr(c)",
    "opaque_unknown_bits": "x = PhysAddr(c).replace(nothing=1)",
    "opaque_replace_positional": "x = PhysAddr(c).replace(1)",
    "enum_plus": "x = State.READY + 1",
    "enum_compared_with_int": "x = State.READY == a",
    "enum_not_a_member": "x = State(7)",
    "enum_without_storage": "x = Bare.ONE",
    "flag_and_int": "x = t & a",
    # conditions and comparisons
    "pointer_as_condition": "if p:\n    pass",
    "literal_as_condition": "while 1:\n    pass",
    "and_of_integers": "x = a and b",
    "is_between_integers": "x = a is b",
    "never_none": "x = p is None",
    "equals_none": "x = q == None",
    "order_of_pointers": "x = p < p",
    "in_a_name": "x = a in c",
    "is_in_chain": "x = q is None is None",
    "conditional_of_literals": "x = 1 if f else 2",
    "conditional_of_two_types": "x = a if f else s",
    # memory
    "no_such_field": "x = p.missing",
    "field_of_integer": "x = a.field",
    "store_wrong_type": "p.state = c",
    "store_whole_struct": "p.links = p.links",
    "store_atomic": "p.count = 1",
    "atomic_method": "p.count.increment()",
    "index_out_of_range": "x = p.slots[4]",
    "negative_index": "x = p.slots[-1]",
    "index_by_bool": "x = p.slots[f]",
    "index_integer": "x = a[0]",
    "slice_of_array": "x = p.slots[0:2]",
    "pointer_to_bit_field": "x = pointer_to(p.bit)",
    "pointer_to_value": "x = pointer_to(a)",
    "multiply_pointer": "x = n * 2",
    "wrong_pointer": "p.parent = n",
    "none_to_pointer": "x: Ptr[Thread] = None",
    "struct_in_name": "x: Thread = p",
    "make_struct": "x = Thread()",
    "array_length": "x = len(a)",
    "static_in_function": "x = static(u64)",
    "volatile_struct": "x = volatile_load(p)",
    "address_of_integer": "x = address_of(a)",
    "cast_integer": "x = cast(Thread, a)",
    # calls
    "too_many_arguments": "x = helper(a, c, a)",
    "missing_argument": "x = helper()",
    "unknown_keyword": "x = helper(a, z=c)",
    "argument_twice": "x = helper(a, a=a)",
    "starred_argument": "x = helper(*p)",
    "call_integer": "x = a()",
    "no_such_method": "p.stop()",
    "method_not_called": "x = p.ready",
    "call_builtin": "print(a)",
    "call_isinstance": "x = isinstance(a, u32)",
    "pointer_arguments": "if p.handler is not None:\n    x = p.handler(a, b)",
    "interface_unbound": "x = unbound(c)",
    "min_of_one": "x = min(a)",
    "tuple_index": "x = pair()[2]",
    "unpack_count": "x, y, z = pair()",
    "unpack_integer": "x, y = a",
    "tuple_counts": "x, y = a, b, c",
    "panic_with_number": "panic(a)",
    # statements
    "unused_value": "a + b",
    "for_over_integer": "for i in a:\n    pass",
    "for_with_else": "for i in range(3):\n    pass\nelse:\n    pass",
    "for_enumerate": "for i in enumerate(p.slots):\n    pass",
    "range_by_name": "for i in range(u32(0), a, b):\n    pass",
    "range_negative_literals": "for i in range(-1, 3):\n    pass",
    "loop_variable_type": "i = c\nfor i in range(a):\n    pass",
    "return_value": "return a",
    "assert_tuple": "assert (f, 'text')",
    "assert_message": "assert f, a",
    "match_pointer": "match p:\n    case 1:\n        pass",
    "match_twice": "match a:\n    case 1:\n        pass\n    case 1:\n        pass",
    "match_sequence": "match a:\n    case [x]:\n        pass",
    "match_wrong_type": "match a:\n    case State.READY:\n        pass",
    "try": "try:\n    pass\nfinally:\n    pass",
    "raise": "raise ValueError",
    "with": "with p:\n    pass",
    "lambda": "x = lambda: a",
    "dict": "x = {}",
    "list": "x = [a]",
    "set": "x = {a}",
    "comprehension": "x = [i for i in p.slots]",
    "generator": "yield a",
    "walrus": "if (x := a) > 1:\n    pass",
    "nested_function": "def inner() -> None:\n    pass",
    "nested_class": "class Inner:\n    pass",
    "delete": "del a",
    "global": "global counter\ncounter = 1",
    "import": "import os",
    "fstring": "x = f'{a}'",
    "format_pointer": "log(f'{p}')",
    "format_unknown": "log(f'{a:e}')",
    "format_conversion": "log(f'{a!r}')",
    "format_signed_prefix": "log(f'{s:#x}')",
    "format_integer_alone": "log(a)",
    "type_unknown": "x: list[int] = p",
    "type_int": "x: int = 5",
    "two_errors": "x = 5\ny = a + s\nz = x + 1",
}

# name: a module whose function `case` must not compile
MODULES = {
    "no_result": "def case(a: u32) -> u32:\n    if a > 1:\n        return a",
    "never_ends": "from typing import NoReturn\ndef case() -> NoReturn:\n    pass",
    "struct_parameter": "def case(t: Thread) -> None:\n    pass",
    "missing_annotation": "def case(a) -> None:\n    pass",
    "missing_result": "def case(a: u32):\n    pass",
    "int_parameter": "def case(a: int) -> None:\n    pass",
    "float_parameter": "def case(a: float) -> None:\n    pass",
    "starred_parameters": "def case(*rest: u32) -> None:\n    pass",
    "enum_parameter_without_storage": "def case(a: Bare) -> None:\n    pass",
    "naked_with_code": "@naked\ndef case(a: u32) -> None:\n    b = a + 1",
    "empty_body": "def case(a: u32) -> None:\n    ...",
    "lambda_root": "case = lambda: None",
    "unknown_forward_reference": "class Bad(Struct):\n    next: Ptr['Nowhere']\n"
    "def case(b: Ptr[Bad]) -> None:\n    x = b.next",
    "async_function": "async def case() -> None:\n    pass",
}


def compile_module(source: str, folder: Path, name: str) -> str:
    """Compile the function `case` of a module made of `source`; gives what the compiler complains about."""
    path = folder / f"{name}.py"
    path.write_text(source)
    module = import_file(path, f"diagnostics_{name}")
    try:
        check_program([module.case])
    except CompileErrors as errors:
        return str(errors).replace(str(path), f"{name}.py")
    return ""


def import_file(path: Path, name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


def module_of(name: str) -> str:
    if name in MODULES:
        return HEADER + MODULES[name] + "\n"
    body = textwrap.indent(BODIES[name], "    ")
    return f"{HEADER}def case({PARAMETERS}) -> None:\n{body}\n"


@pytest.mark.parametrize("name", [*BODIES, *MODULES])
def test_diagnostic(name: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    said = compile_module(module_of(name), tmp_path, name)
    assert said, "this compiled"
    assert said == snapshot


def test_every_diagnostic_has_place_source_and_caret(tmp_path: Path) -> None:
    for name in BODIES:
        said = compile_module(module_of(name), tmp_path, name)
        first, source, caret = said.splitlines()[:3]
        assert first.startswith(f"{name}.py:")
        assert ": error: " in first
        assert "|" in source
        assert "^" in caret


def test_at_least_sixty_distinct_messages(tmp_path: Path) -> None:
    messages = {
        compile_module(module_of(name), tmp_path, name).splitlines()[0].split(": error: ")[1]
        for name in [*BODIES, *MODULES]
    }
    assert len(messages) >= 60
