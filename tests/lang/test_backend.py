"""What reaches the machine code: volatile, atomics, checks, tables; and errors in assembly."""

import builtins
import ctypes
import random

import pytest

from macadamia.lang import (
    Array,
    Atomic,
    Ptr,
    Struct,
    Volatile,
    asm,
    asm_value,
    cold,
    compiler_barrier,
    copy_bytes,
    export,
    fence,
    fill_bytes,
    inline,
    local,
    naked,
    noinline,
    panic,
    range,
    section,
    static,
    u8,
    u16,
    u32,
    u64,
    u128,
    volatile_load,
    volatile_store,
)
from macadamia.lang.backend import BackendError, BackendOptions, compile_object
from macadamia.lang.emit import TRIPLES
from macadamia.lang.emit.types import escaped
from macadamia.lang.jit.runtime import runtime
from macadamia.lang.runtime import MEMORY
from tests.lang.machine_code import disassemble, instructions, llvm_text, object_file


class Device(Struct):
    status: Volatile[u32]
    data: Volatile[u8]
    plain: u32
    pending: Atomic[u64]
    owner: Atomic[u32]


# Volatile


def poll(device: Ptr[Device]) -> u32:
    first = device.status
    second = device.status
    device.data = 1
    device.data = 1
    return first + second * 0


def plain_twice(device: Ptr[Device]) -> u32:
    device.plain = 1
    device.plain = 1
    return device.plain


def builtin_volatile(p: Ptr[u16]) -> None:
    volatile_load(p)
    volatile_load(p)
    volatile_store(p, 7)
    volatile_store(p, 7)


class TestVolatile:
    def test_every_access_of_a_field_is_one_instruction(self) -> None:
        code = instructions(poll)
        assert sum("dword ptr [rdi]" in line for line in code) == 2
        assert code.count("mov byte ptr [rdi + 4], 1") == 2

    def test_plain_accesses_are_merged(self) -> None:
        assert sum("[rdi + 8]" in line for line in instructions(plain_twice)) == 1

    def test_volatile_load_and_store(self) -> None:
        code = instructions(builtin_volatile)
        assert sum(line.startswith("movzx") and "word ptr [rdi]" in line for line in code) == 2
        assert code.count("mov word ptr [rdi], 7") == 2


# Atomics


def atomic_add(device: Ptr[Device]) -> u64:
    return device.pending.fetch_add(3)


def atomic_or(device: Ptr[Device]) -> None:
    device.pending.fetch_or(8)


def atomic_exchange(device: Ptr[Device]) -> u32:
    return device.owner.exchange(5)


def atomic_compare_exchange(device: Ptr[Device]) -> bool:
    return device.owner.compare_exchange(0, 5) == 0


def atomic_store(device: Ptr[Device]) -> None:
    device.owner.store(9)


def atomic_load_twice(device: Ptr[Device]) -> u64:
    return device.pending.load() + device.pending.load()


def full_fence(p: Ptr[u32]) -> u32:
    p[0] = 1
    fence()
    return p[1]


def barrier(p: Ptr[u32]) -> u32:
    first = p[0]
    compiler_barrier()
    return first + p[0]


class TestAtomics:
    @pytest.mark.parametrize(
        ("function", "wanted"),
        [
            (atomic_add, "lock xadd qword ptr [rdi"),
            (atomic_or, "lock or"),
            (atomic_exchange, "xchg dword ptr [rdi"),
            (atomic_compare_exchange, "lock cmpxchg dword ptr [rdi"),
            (atomic_store, "xchg dword ptr [rdi"),
            (full_fence, "lock or dword ptr [rsp], 0"),
        ],
    )
    def test_instruction(self, function, wanted: str) -> None:  # type: ignore[no-untyped-def]
        code = instructions(function)
        assert any(line.startswith(wanted) for line in code), code

    def test_loads_are_not_merged(self) -> None:
        assert sum("[rdi" in line for line in instructions(atomic_load_twice)) == 2

    def test_compiler_barrier_reads_again_and_costs_nothing(self) -> None:
        code = instructions(barrier)
        assert sum("[rdi]" in line for line in code) == 2
        assert len(code) == 3


# Vectors and other registers of user threads


class Large(Struct):
    words: Array[u64, 32]


source = static(Large)
target = static(Large)


def moves_much(p: Ptr[Large]) -> None:
    copy_bytes(p.words + 0, source.words + 0, 64)
    fill_bytes(target.words + 0, 0, 128)
    other = local(Large)
    for i in range(32):
        target.words[i] += p.words[i] + other.words[i]


def test_bare_code_uses_no_vector_registers() -> None:
    elf = object_file(llvm_text([moves_much], "release"))
    for item in disassemble(elf, f"{__name__}.moves_much"):
        assert "xmm" not in item.op_str, item
        assert "mm0" not in item.op_str, item


def test_user_code_may_use_them() -> None:
    assert any("xmm" in line for line in instructions(moves_much, target="user"))


# Choices


def dispatch(number: u32, x: u64) -> u64:
    match number:
        case 0:
            return x + 17
        case 1:
            return x * 3
        case 2:
            return x ^ 0x55
        case 3:
            return x >> 3
        case 4:
            return x // 10
        case 5:
            return x << 7
        case 6:
            return ~x
        case 7:
            return x | 12345
        case _:
            return 0


def test_big_match_is_a_jump_table() -> None:
    code = instructions(dispatch)
    assert any(line.startswith("jmp") and "*8" in line for line in code), code


# Checks


def all_checks(p: Ptr[Array[u32, 8]], i: u32, shift: u32, wide: u64) -> u32:
    assert i != 100, "not a hundred"
    return (p[i] << shift) + u32(wide)


def divide(a: u32, b: u32) -> u32:
    return a // b


def stops(a: u32) -> u32:
    if a > 5:
        panic("too much")
    return a


class TestChecks:
    def test_release_has_none(self) -> None:
        code = instructions(all_checks, "release")
        assert not any(line.startswith("call") for line in code)

    def test_checked_has_one_for_each(self) -> None:
        code = instructions(all_checks, "checked")
        # assert, null, misaligned, bounds, shift, lossy conversion
        assert sum(line.startswith("call") for line in code) == 6

    @pytest.mark.parametrize("function", [divide, stops])
    def test_some_stay_in_release(self, function) -> None:  # type: ignore[no-untyped-def]
        assert sum(line.startswith("call") for line in instructions(function, "release")) == 1

    def test_the_straight_path_has_no_taken_jump(self) -> None:
        """Checks jump out of the way: the function returns before the first call."""
        code = instructions(all_checks, "checked")
        calls = [index for index, line in enumerate(code) if line.startswith("call")]
        assert code.index("ret") < min(calls)

    def test_unsigned_division_by_a_literal_is_not_a_division(self) -> None:
        assert not any("div" in line for line in instructions(divide_by_ten))


def divide_by_ten(a: u32) -> u32:
    return a // 10


# Functions and sections


@naked
def bare_body() -> None:
    asm("movl $$7, %eax\nretq", "")


@noinline
def callee(x: u64) -> u64:
    return x + 1


@inline
def always(x: u64) -> u64:
    return callee(x) * callee(x + 1) * callee(x + 2)


def calls(x: u64) -> u64:
    return always(x) + always(x + 1)


@section(".text.special")
def in_section(x: u32) -> u32:
    return x


@export("fixed_name")
def exported(x: u32) -> u32:
    return x


@cold
def rare(x: u32) -> u32:
    return x


@naked
def calls_by_symbol() -> None:
    asm("callq ${0:P}\nretq", "s", callee)


class TestFunctions:
    def test_naked(self) -> None:
        assert instructions(bare_body)[:2] == ["mov eax, 7", "ret"]

    def test_inline_and_noinline(self) -> None:
        """`always` is gone; `callee` is called for x, x + 1, x + 2 and x + 3."""
        code = instructions(calls)
        assert sum(line.startswith("call") for line in code) == 4

    def test_section(self) -> None:
        elf = object_file(llvm_text([in_section]))
        assert elf.get_section_by_name(".text.special") is not None

    def test_export(self) -> None:
        elf = object_file(llvm_text([exported]))
        assert disassemble(elf, "fixed_name")

    def test_cold(self) -> None:
        assert " cold" in llvm_text([rare])

    def test_symbol_operand(self) -> None:
        elf = object_file(llvm_text([calls_by_symbol]))
        (first, *_) = disassemble(elf, f"{__name__}.calls_by_symbol")
        assert first.mnemonic == "call"

    def test_frame_pointers_in_release(self) -> None:
        elf = object_file(llvm_text([calls], "release"))
        first = disassemble(elf, f"{__name__}.calls")[:2]
        assert [item.mnemonic for item in first] == ["push", "mov"]


# Errors in assembly


def bad_instruction() -> None:
    asm("nop\nbogus %rax", "")


def bad_register(x: u64) -> u64:
    return asm_value(u64, "mov $1, $0", "={nowhere},r", x)


def bad_count(x: u64) -> u64:
    return asm_value(u64, "mov $1, $0", "=r,r,r", x)


class TestAssemblyErrors:
    @pytest.mark.parametrize(
        ("function", "line", "wanted"),
        [
            (bad_instruction, 2, "invalid instruction mnemonic 'bogus'"),
            (bad_register, 1, "couldn't allocate output register for constraint '{nowhere}'"),
            (bad_count, 1, "number of input constraints does not match number of parameters"),
        ],
    )
    def test_the_place_is_told(self, function, line: int, wanted: str) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(BackendError) as caught:
            object_file(llvm_text([function]))
        expected = f"{__file__}:{function.__code__.co_firstlineno + line}"
        assert str(caught.value).startswith(expected)
        assert wanted in str(caught.value)


# Memory functions


@pytest.fixture(scope="module")
def memory_functions():  # type: ignore[no-untyped-def]
    names = ["memcpy", "memmove", "memset", "memcmp"]
    text = f'target triple = "{TRIPLES["jit"]}"\nmodule asm "{escaped(MEMORY)}"\n'
    addresses = runtime().link(compile_object(text, BackendOptions("jit")), {}, names)
    kind = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    setter = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    comparer = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    types = {"memset": setter, "memcmp": comparer}
    yield {name: types.get(name, kind)(addresses[name]) for name in names}
    assert addresses  # the code lives as long as this


class TestMemoryFunctions:
    SIZE = 96

    def buffer(self) -> tuple[ctypes.Array, int]:  # type: ignore[type-arg]
        content = bytes(range(self.SIZE))
        buffer = (ctypes.c_ubyte * self.SIZE).from_buffer_copy(content)
        return buffer, ctypes.addressof(buffer)

    @pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 15, 16, 31, 40])
    def test_memmove(self, memory_functions, length: int) -> None:  # type: ignore[no-untyped-def]
        for to in builtins.range(0, self.SIZE - length, 5):
            for from_ in builtins.range(self.SIZE - length):
                buffer, base = self.buffer()
                expected = bytearray(buffer)
                expected[to : to + length] = bytes(buffer)[from_ : from_ + length]
                assert memory_functions["memmove"](base + to, base + from_, length) == base + to
                assert bytes(buffer) == expected

    @pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 40])
    def test_memcpy_and_memset(self, memory_functions, length: int) -> None:  # type: ignore[no-untyped-def]
        buffer, base = self.buffer()
        assert memory_functions["memcpy"](base + 48, base + 1, length) == base + 48
        assert bytes(buffer)[48 : 48 + length] == bytes(builtins.range(1, 1 + length))
        assert memory_functions["memset"](base + 3, 0x1AB, length) == base + 3
        assert bytes(buffer)[3 : 3 + length] == b"\xab" * length
        assert buffer[3 + length] == (3 + length)

    def test_memcmp(self, memory_functions) -> None:  # type: ignore[no-untyped-def]
        choose = random.Random(1)
        for _ in builtins.range(3000):
            length = choose.randrange(40)
            left = bytes(choose.choice(b"\x00\x01\x80\xff") for _ in builtins.range(length))
            right = bytearray(left)
            if length and choose.random() < 0.8:
                right[choose.randrange(length)] = choose.choice(b"\x00\x01\x80\xff")
            a, b = ctypes.create_string_buffer(left), ctypes.create_string_buffer(bytes(right))
            result = memory_functions["memcmp"](ctypes.addressof(a), ctypes.addressof(b), length)
            assert (result > 0, result < 0) == (left > bytes(right), left < bytes(right))


def wide(a: u128, b: u128) -> u128:
    return (a * b) ^ (a >> 3)


def test_128_bit_arithmetic_needs_no_library() -> None:
    assert not any(line.startswith("call") for line in instructions(wide, "release"))
