"""The built-in functions: bits, memory, atomics, barriers, texts, panic."""

from __future__ import annotations

from collections.abc import Callable

from macadamia.lang import tree
from macadamia.lang.emit.arithmetic import resize
from macadamia.lang.emit.code import Code, ExpressionTable
from macadamia.lang.emit.expressions import pointer, store, to_memory, to_register
from macadamia.lang.emit.types import STRING, llvm_type, memory_type
from macadamia.lang.traps import TrapKind
from macadamia.lang.tree import Intrinsic, IntrinsicCall, integer_of
from macadamia.lang.types import PointerType, Type, UserPointerType

Handler = Callable[[Code, IntrinsicCall], str]


def _values(code: Code, node: IntrinsicCall) -> list[str]:
    return [code.value(argument) for argument in node.arguments]


# Bits and numbers


def _unary(name: str, *extra: str) -> Handler:
    """A call of `llvm.<name>.iN(x, *extra)`."""

    def handler(code: Code, node: IntrinsicCall) -> str:
        type_ = llvm_type(node.type)
        arguments = ", ".join([f"{type_} {code.value(node.arguments[0])}", *extra])
        return code.emit(f"call {type_} @llvm.{name}.{type_}({arguments})", node.place)

    return handler


def _byte_swap(code: Code, node: IntrinsicCall) -> str:
    value = code.value(node.arguments[0])
    type_ = llvm_type(node.type)
    if type_ == "i8":
        return value
    return code.emit(f"call {type_} @llvm.bswap.{type_}({type_} {value})", node.place)


def _rotate_left(code: Code, node: IntrinsicCall) -> str:
    """A funnel shift of x with itself, which takes its amount modulo the width."""
    value, amount = _values(code, node)
    type_, integer = llvm_type(node.type), integer_of(node.arguments[1].type)
    bits = integer_of(node.type).bits
    amount = resize(code, amount, integer.bits, bits, signed=integer.signed, place=node.place)
    arguments = f"{type_} {value}, {type_} {value}, {type_} {amount}"
    return code.emit(f"call {type_} @llvm.fshl.{type_}({arguments})", node.place)


def _multiply_high(code: Code, node: IntrinsicCall) -> str:
    left, right = _values(code, node)
    place = node.place
    left = code.emit(f"zext i64 {left} to i128", place)
    right = code.emit(f"zext i64 {right} to i128", place)
    product = code.emit(f"mul i128 {left}, {right}", place)
    high = code.emit(f"lshr i128 {product}, 64", place)
    return code.emit(f"trunc i128 {high} to i64", place)


def _extreme(name: str) -> Handler:
    """min or max."""

    def handler(code: Code, node: IntrinsicCall) -> str:
        left, right = _values(code, node)
        type_ = llvm_type(node.type)
        sign = "s" if integer_of(node.type).signed else "u"
        arguments = f"{type_} {left}, {type_} {right}"
        return code.emit(f"call {type_} @llvm.{sign}{name}.{type_}({arguments})", node.place)

    return handler


def _absolute(code: Code, node: IntrinsicCall) -> str:
    value = code.value(node.arguments[0])
    if not integer_of(node.type).signed:
        return value
    type_ = llvm_type(node.type)
    return code.emit(f"call {type_} @llvm.abs.{type_}({type_} {value}, i1 false)", node.place)


# Memory


def _move(code: Code, node: IntrinsicCall) -> str:
    """copy_bytes and move_bytes. LLVM makes a plain copy of it where it sees that the ranges do not overlap;
    to promise that would make an overlapping copy_bytes undefined."""
    to, from_, count = _values(code, node)
    arguments = f"ptr {to}, ptr {from_}, i64 {count}, i1 false"
    code.do(f"call void @llvm.memmove.p0.p0.i64({arguments})", node.place)
    return ""


def _fill(code: Code, node: IntrinsicCall) -> str:
    to, value, count = _values(code, node)
    code.do(f"call void @llvm.memset.p0.i64(ptr {to}, i8 {value}, i64 {count}, i1 false)", node.place)
    return ""


def _volatile_store(code: Code, node: IntrinsicCall) -> str:
    address = pointer(code, node.arguments[0])
    value = code.value(node.arguments[1])
    store(code, node.arguments[1].type, value, address, node.place, volatile=True)
    return ""


def _pointer_difference(code: Code, node: IntrinsicCall) -> str:
    """(p - q) // size, rounded down as Python would."""
    left, right = _values(code, node)
    place = node.place
    type_ = node.arguments[0].type
    assert isinstance(type_, PointerType | UserPointerType)
    if isinstance(type_, PointerType):
        left = code.emit(f"ptrtoint ptr {left} to i64", place)
        right = code.emit(f"ptrtoint ptr {right} to i64", place)
    distance = code.emit(f"sub i64 {left}, {right}", place)
    return _floor_by_size(code, distance, max(1, type_.target.size), place)


def _floor_by_size(code: Code, distance: str, size: int, place: tree.Place) -> str:
    if size & (size - 1) == 0:
        return code.emit(f"ashr i64 {distance}, {size.bit_length() - 1}", place)
    quotient = code.emit(f"sdiv i64 {distance}, {size}", place)
    remainder = code.emit(f"srem i64 {distance}, {size}", place)
    negative = code.emit(f"icmp slt i64 {remainder}, 0", place)
    correction = code.emit(f"sext i1 {negative} to i64", place)
    return code.emit(f"add i64 {quotient}, {correction}", place)


def _offset_user_pointer(code: Code, node: IntrinsicCall) -> str:
    base, count = _values(code, node)
    place = node.place
    type_, integer = node.type, integer_of(node.arguments[1].type)
    assert isinstance(type_, UserPointerType)
    count = resize(code, count, integer.bits, 64, signed=integer.signed, place=place)
    offset = code.emit(f"mul i64 {count}, {type_.target.size}", place)
    return code.emit(f"add i64 {base}, {offset}", place)


# Atomics: sequentially consistent, of the natural alignment x86-64 needs for them


def _atomic_load(code: Code, node: IntrinsicCall) -> str:
    address = pointer(code, node.arguments[0])
    type_ = node.type
    loaded = code.emit(
        f"load atomic {memory_type(type_)}, ptr {address} seq_cst, align {type_.alignment}", node.place
    )
    return to_register(code, type_, loaded, node.place)


def _atomic_store(code: Code, node: IntrinsicCall) -> str:
    address, value, type_ = _atomic_operands(code, node)
    where = f"ptr {address} seq_cst, align {type_.alignment}"
    code.do(f"store atomic {memory_type(type_)} {value}, {where}", node.place)
    return ""


def _atomic_operands(code: Code, node: IntrinsicCall) -> tuple[str, str, Type]:
    """Address and value, as it is in memory, and its type."""
    address = pointer(code, node.arguments[0])
    value = code.value(node.arguments[1])
    type_ = node.arguments[1].type
    return address, to_memory(code, type_, value, node.place), type_


def _atomic_update(operation: str) -> Handler:
    """exchange, fetch_add, ...: gives the old value."""

    def handler(code: Code, node: IntrinsicCall) -> str:
        address, value, type_ = _atomic_operands(code, node)
        operands = f"ptr {address}, {memory_type(type_)} {value}"
        old = code.emit(f"atomicrmw {operation} {operands} seq_cst, align {type_.alignment}", node.place)
        return to_register(code, type_, old, node.place)

    return handler


def _atomic_compare_exchange(code: Code, node: IntrinsicCall) -> str:
    address, expected, type_ = _atomic_operands(code, node)
    place = node.place
    new = to_memory(code, type_, code.value(node.arguments[2]), place)
    memory = memory_type(type_)
    operands = f"ptr {address}, {memory} {expected}, {memory} {new}"
    pair = code.emit(f"cmpxchg {operands} seq_cst seq_cst, align {type_.alignment}", place)
    old = code.emit(f"extractvalue {{ {memory}, i1 }} {pair}, 0", place)
    return to_register(code, type_, old, place)


def _statement(text: str) -> Handler:
    """A fixed instruction without operands or result."""

    def handler(code: Code, node: IntrinsicCall) -> str:
        code.do(text, node.place)
        return ""

    return handler


# Hints, texts, panic


def _expect(expected: str) -> Handler:
    def handler(code: Code, node: IntrinsicCall) -> str:
        value = code.value(node.arguments[0])
        return code.emit(f"call i1 @llvm.expect.i1(i1 {value}, i1 {expected})", node.place)

    return handler


def _text_part(index: int) -> Handler:
    def handler(code: Code, node: IntrinsicCall) -> str:
        value = code.value(node.arguments[0])
        return code.emit(f"extractvalue {STRING} {value}, {index}", node.place)

    return handler


def _panic(code: Code, node: IntrinsicCall) -> str:
    message = node.arguments[0]
    assert isinstance(message, tree.Text)
    code.stop(TrapKind.PANIC, message.value, node.place)
    return "poison"


_HANDLERS: dict[Intrinsic, Handler] = {
    Intrinsic.POPCOUNT: _unary("ctpop"),
    Intrinsic.LEADING_ZEROS: _unary("ctlz", "i1 false"),
    Intrinsic.TRAILING_ZEROS: _unary("cttz", "i1 false"),
    Intrinsic.BYTE_SWAP: _byte_swap,
    Intrinsic.ROTATE_LEFT: _rotate_left,
    Intrinsic.MULTIPLY_HIGH: _multiply_high,
    Intrinsic.MINIMUM: _extreme("min"),
    Intrinsic.MAXIMUM: _extreme("max"),
    Intrinsic.ABSOLUTE: _absolute,
    Intrinsic.COPY_BYTES: _move,
    Intrinsic.MOVE_BYTES: _move,
    Intrinsic.FILL_BYTES: _fill,
    Intrinsic.VOLATILE_STORE: _volatile_store,
    Intrinsic.LIKELY: _expect("true"),
    Intrinsic.UNLIKELY: _expect("false"),
    Intrinsic.FENCE: _statement("fence seq_cst"),
    Intrinsic.COMPILER_BARRIER: _statement('call void asm sideeffect "", "~{memory}"()'),
    Intrinsic.ATOMIC_LOAD: _atomic_load,
    Intrinsic.ATOMIC_STORE: _atomic_store,
    Intrinsic.ATOMIC_EXCHANGE: _atomic_update("xchg"),
    Intrinsic.ATOMIC_ADD: _atomic_update("add"),
    Intrinsic.ATOMIC_SUBTRACT: _atomic_update("sub"),
    Intrinsic.ATOMIC_AND: _atomic_update("and"),
    Intrinsic.ATOMIC_OR: _atomic_update("or"),
    Intrinsic.ATOMIC_COMPARE_EXCHANGE: _atomic_compare_exchange,
    Intrinsic.TEXT_BYTES: _text_part(0),
    Intrinsic.TEXT_LENGTH: _text_part(1),
    Intrinsic.PANIC: _panic,
    Intrinsic.POINTER_DIFFERENCE: _pointer_difference,
    Intrinsic.OFFSET_USER_POINTER: _offset_user_pointer,
}


def intrinsic_call(code: Code, node: IntrinsicCall) -> str:
    return _HANDLERS[node.intrinsic](code, node)


TABLE: ExpressionTable = {IntrinsicCall: intrinsic_call}
