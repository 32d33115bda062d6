"""Integer operators and conversions, defined for every operand.

LLVM leaves division by zero, the most negative value divided by -1 and shifts by the width undefined;
here each has a meaning (docs/language.md, "Integers"). No operation carries nsw or nuw. What a constant
operand makes superfluous is not emitted.
"""

from __future__ import annotations

from macadamia.lang import tree
from macadamia.lang.emit.code import Code, ExpressionTable
from macadamia.lang.emit.types import llvm_type
from macadamia.lang.traps import TrapKind
from macadamia.lang.tree import Comparison, Conversion, Operator, integer_of
from macadamia.lang.types import (
    BoolType,
    EnumType,
    FunctionType,
    IntType,
    NewType,
    NullType,
    PointerType,
    Type,
)

_SIMPLE = {
    Operator.ADD: "add",
    Operator.SUBTRACT: "sub",
    Operator.MULTIPLY: "mul",
    Operator.AND: "and",
    Operator.OR: "or",
    Operator.XOR: "xor",
}


def binary(code: Code, node: tree.Binary) -> str:
    left = code.value(node.left)
    right = code.value(node.right)
    simple = _SIMPLE.get(node.operator)
    if simple is not None:
        return code.emit(f"{simple} {llvm_type(node.type)} {left}, {right}", node.place)
    if node.operator in (Operator.SHIFT_LEFT, Operator.SHIFT_RIGHT):
        return _shift(code, node, left, right)
    if not (isinstance(node.right, tree.Constant) and node.right.value != 0):
        nonzero = code.emit(f"icmp ne {llvm_type(node.right.type)} {right}, 0", node.place)
        code.require(nonzero, TrapKind.DIVISION_BY_ZERO, node.place)
    modulo = node.operator is Operator.MODULO
    if not integer_of(node.type).signed:
        operation = "urem" if modulo else "udiv"
        return code.emit(f"{operation} {llvm_type(node.type)} {left}, {right}", node.place)
    if isinstance(node.right, tree.Constant):
        divide = _modulo_by_constant if modulo else _divide_by_constant
        return divide(code, node, left, node.right.value)
    return _divide_signed(code, node, left, right)


def _divide_by_constant(code: Code, node: tree.Binary, left: str, divisor: int) -> str:
    """Signed floor division by a literal: the quotient rounds down where the remainder has the wrong sign."""
    type_, place = llvm_type(node.type), node.place
    if divisor == -1:
        return code.emit(f"sub {type_} 0, {left}", place)
    if divisor > 0 and divisor & (divisor - 1) == 0:
        return code.emit(f"ashr {type_} {left}, {divisor.bit_length() - 1}", place)
    quotient = code.emit(f"sdiv {type_} {left}, {divisor}", place)
    remainder = code.emit(f"srem {type_} {left}, {divisor}", place)
    wrong = code.emit(f"icmp {'slt' if divisor > 0 else 'sgt'} {type_} {remainder}, 0", place)
    correction = code.emit(f"sext i1 {wrong} to {type_}", place)
    return code.emit(f"add {type_} {quotient}, {correction}", place)


def _modulo_by_constant(code: Code, node: tree.Binary, left: str, divisor: int) -> str:
    type_, place = llvm_type(node.type), node.place
    if divisor == -1:
        return "0"
    if divisor > 0 and divisor & (divisor - 1) == 0:
        return code.emit(f"and {type_} {left}, {divisor - 1}", place)
    remainder = code.emit(f"srem {type_} {left}, {divisor}", place)
    wrong = code.emit(f"icmp {'slt' if divisor > 0 else 'sgt'} {type_} {remainder}, 0", place)
    correction = code.emit(f"select i1 {wrong}, {type_} {divisor}, {type_} 0", place)
    return code.emit(f"add {type_} {remainder}, {correction}", place)


def _divide_signed(code: Code, node: tree.Binary, left: str, right: str) -> str:
    """Signed floor division or modulo. A divisor of -1 is replaced by 1: the processor would trap for the
    most negative dividend."""
    type_, place = llvm_type(node.type), node.place
    negates = code.emit(f"icmp eq {type_} {right}, -1", place)
    divisor = code.emit(f"select i1 {negates}, {type_} 1, {type_} {right}", place)
    remainder = code.emit(f"srem {type_} {left}, {divisor}", place)
    inexact = code.emit(f"icmp ne {type_} {remainder}, 0", place)
    signs = code.emit(f"xor {type_} {remainder}, {divisor}", place)
    differ = code.emit(f"icmp slt {type_} {signs}, 0", place)
    wrong = code.emit(f"and i1 {inexact}, {differ}", place)
    if node.operator is Operator.MODULO:
        correction = code.emit(f"select i1 {wrong}, {type_} {divisor}, {type_} 0", place)
        return code.emit(f"add {type_} {remainder}, {correction}", place)
    quotient = code.emit(f"sdiv {type_} {left}, {divisor}", place)
    correction = code.emit(f"sext i1 {wrong} to {type_}", place)
    floor = code.emit(f"add {type_} {quotient}, {correction}", place)
    negated = code.emit(f"sub {type_} 0, {left}", place)
    return code.emit(f"select i1 {negates}, {type_} {negated}, {type_} {floor}", place)


def _shift(code: Code, node: tree.Binary, left: str, right: str) -> str:
    """A shift; by the width or more it traps in checked and shifts everything out in release."""
    integer, type_, place = integer_of(node.type), llvm_type(node.type), node.place
    to_left = node.operator is Operator.SHIFT_LEFT
    operation = "shl" if to_left else "ashr" if integer.signed else "lshr"
    if isinstance(node.right, tree.Constant) and 0 <= node.right.value < integer.bits:
        return code.emit(f"{operation} {type_} {left}, {node.right.value}", place)
    amount_type = integer_of(node.right.type)
    fits = code.emit(f"icmp ult i{amount_type.bits} {right}, {integer.bits}", place)
    amount = resize(code, right, amount_type.bits, integer.bits, signed=False, place=place)
    if code.checked:
        code.require(fits, TrapKind.SHIFT, place)
    elif operation == "ashr":
        amount = code.emit(f"select i1 {fits}, {type_} {amount}, {type_} {integer.bits - 1}", place)
    shifted = code.emit(f"{operation} {type_} {left}, {amount}", place)
    if code.checked or operation == "ashr":
        return shifted
    return code.emit(f"select i1 {fits}, {type_} {shifted}, {type_} 0", place)


def resize(code: Code, value: str, bits: int, wanted: int, *, signed: bool, place: tree.Place) -> str:
    """Truncate or extend an integer of `bits` to `wanted` bits; `signed` says how it extends."""
    if bits == wanted:
        return value
    operation = "trunc" if bits > wanted else "sext" if signed else "zext"
    return code.emit(f"{operation} i{bits} {value} to i{wanted}", place)


def negate(code: Code, node: tree.Negate) -> str:
    value = code.value(node.value)
    return code.emit(f"sub {llvm_type(node.type)} 0, {value}", node.place)


def invert(code: Code, node: tree.Invert) -> str:
    """`~`; of flags, the members that are not set."""
    value = code.value(node.value)
    type_ = llvm_type(node.type)
    inverted = code.emit(f"xor {type_} {value}, -1", node.place)
    if isinstance(node.type, EnumType):
        return code.emit(f"and {type_} {inverted}, {flag_mask(node.type)}", node.place)
    return inverted


def flag_mask(type_: EnumType) -> int:
    """The bits that the members of a flag use, as an integer of its storage."""
    mask = 0
    for member in _members(type_):
        mask |= member
    return mask


def _members(type_: EnumType) -> list[int]:
    return [int(member) for member in type_.python.__members__.values()]  # type: ignore[attr-defined]


def logical_not(code: Code, node: tree.Not) -> str:
    return code.emit(f"xor i1 {code.value(node.value)}, true", node.place)


_UNSIGNED = {
    Comparison.EQUAL: "eq",
    Comparison.NOT_EQUAL: "ne",
    Comparison.LESS: "ult",
    Comparison.LESS_EQUAL: "ule",
    Comparison.GREATER: "ugt",
    Comparison.GREATER_EQUAL: "uge",
}


def compare(code: Code, node: tree.Compare) -> str:
    left = code.value(node.left)
    right = code.value(node.right)
    predicate = _UNSIGNED[node.operator]
    if predicate[0] == "u" and _is_signed(node.left.type):
        predicate = "s" + predicate[1:]
    return code.emit(f"icmp {predicate} {llvm_type(node.left.type)} {left}, {right}", node.place)


def _is_signed(type_: Type) -> bool:
    return isinstance(type_, IntType | EnumType | NewType) and integer_of(type_).signed


# Conversions


def convert(code: Code, node: tree.Convert) -> str:
    value = code.value(node.value)
    return _CONVERSIONS[node.kind](code, node, value)


def _truth(code: Code, node: tree.Convert, value: str) -> str:
    source = node.value.type
    if isinstance(source, BoolType):
        return value
    zero = "null" if isinstance(source, PointerType | FunctionType | NullType) else "0"
    return code.emit(f"icmp ne {llvm_type(source)} {value}, {zero}", node.place)


def _widen(code: Code, node: tree.Convert, value: str) -> str:
    if isinstance(node.value.type, BoolType):
        return code.emit(f"zext i1 {value} to {llvm_type(node.type)}", node.place)
    source, target = integer_of(node.value.type), integer_of(node.type)
    return resize(code, value, source.bits, target.bits, signed=source.signed, place=node.place)


def _truncate(code: Code, node: tree.Convert, value: str) -> str:
    if isinstance(node.type, BoolType):
        return _truth(code, node, value)
    return _widen(code, node, value)


def _checked(code: Code, node: tree.Convert, value: str) -> str:
    if isinstance(node.type, PointerType | FunctionType):
        if code.checked:
            code.require(code.emit(f"icmp ne ptr {value}, null", node.place), TrapKind.NULL, node.place)
        return value
    if isinstance(node.value.type, BoolType) or isinstance(node.type, BoolType):
        return _truncate(code, node, value)
    if code.checked:
        _require_fit(code, node, value)
    result = _widen(code, node, value)
    if code.checked and isinstance(node.type, EnumType) and node.value.type is not node.type:
        require_member(code, node.type, result, node.place)
    return result


def _require_fit(code: Code, node: tree.Convert, value: str) -> None:
    """Stop unless the value lies in the range of the target type."""
    source, target, place = integer_of(node.value.type), integer_of(node.type), node.place
    sign = "s" if source.signed else "u"
    if source.minimum < target.minimum:
        above = code.emit(f"icmp sge i{source.bits} {value}, {target.minimum}", place)
        code.require(above, TrapKind.LOSSY, place)
    if source.maximum > target.maximum:
        below = code.emit(f"icmp {sign}le i{source.bits} {value}, {target.maximum}", place)
        code.require(below, TrapKind.LOSSY, place)


def require_member(code: Code, type_: EnumType, value: str, place: tree.Place) -> None:
    """Stop unless `value` is a member. Flags may be combined, and hardware sets bits nobody has named."""
    if type_.flag:
        return
    bits = f"i{type_.storage.bits}"
    members = sorted(set(_members(type_)))
    if members and members[-1] - members[0] + 1 == len(members):
        offset = code.emit(f"sub {bits} {value}, {members[0]}", place)
        found = code.emit(f"icmp ule {bits} {offset}, {len(members) - 1}", place)
    else:
        found = "false"
        for member in members:
            equal = code.emit(f"icmp eq {bits} {value}, {member}", place)
            found = code.emit(f"or i1 {found}, {equal}", place)
    code.require(found, TrapKind.INVALID_ENUM, place)


def _reinterpret(code: Code, node: tree.Convert, value: str) -> str:
    """The same bits as another type: nothing to do but between addresses and pointers."""
    source, target = llvm_type(node.value.type), llvm_type(node.type)
    if source == target:
        return value
    if source == "ptr":
        return code.emit(f"ptrtoint ptr {value} to {target}", node.place)
    if target == "ptr":
        return code.emit(f"inttoptr {source} {value} to ptr", node.place)
    return _truncate(code, node, value)


_CONVERSIONS = {
    Conversion.WIDEN: _widen,
    Conversion.TRUNCATE: _truncate,
    Conversion.CHECKED: _checked,
    Conversion.TRUTH: _truth,
    Conversion.REINTERPRET: _reinterpret,
    Conversion.ADDRESS: _reinterpret,
    Conversion.POINTER: _reinterpret,
}


TABLE: ExpressionTable = {
    tree.Binary: binary,
    tree.Negate: negate,
    tree.Invert: invert,
    tree.Not: logical_not,
    tree.Compare: compare,
    tree.Convert: convert,
}
