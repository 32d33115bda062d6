"""Constants, memory, calls, tuples and choices.

Address arithmetic is getelementptr without `inbounds`: a kernel's pointers leave objects (the physical map,
one past the end), and no result may be undefined. Memory is read and written with the alignment of its type
in checked, where a misaligned pointer has been caught, and with alignment 1 in release, where it has not;
x86-64 machine code is the same.
"""

from __future__ import annotations

from macadamia.lang import tree
from macadamia.lang.emit.arithmetic import require_member, resize
from macadamia.lang.emit.code import Code, ExpressionTable
from macadamia.lang.emit.types import llvm_type, memory_type, stride
from macadamia.lang.traps import TrapKind
from macadamia.lang.tree import integer_of
from macadamia.lang.types import (
    BoolType,
    EnumType,
    Field,
    NeverType,
    NoneType,
    PointerType,
    Type,
    VolatileType,
)

# Constants


def constant(_code: Code, node: tree.Constant) -> str:
    if isinstance(node.type, BoolType):
        return "true" if node.value else "false"
    return str(node.value)


def null(_code: Code, _node: tree.Null) -> str:
    return "null"


def text(code: Code, node: tree.Text) -> str:
    return code.module.text(node.value)


def function_address(code: Code, node: tree.FunctionAddress) -> str:
    return code.module.function_pointer(node.function)


def static_address(code: Code, node: tree.StaticAddress) -> str:
    return code.module.static_pointer(node.static)


def stack_address(code: Code, node: tree.StackAddress) -> str:
    address = code.frame.memory[node.object]
    type_ = node.object.type
    if type_.size:
        arguments = f"ptr align {type_.alignment} {address}, i8 0, i64 {type_.size}, i1 false"
        code.do(f"call void @llvm.memset.p0.i64({arguments})", node.place)
    return address


def local_value(code: Code, node: tree.LocalValue) -> str:
    return code.emit(f"load {llvm_type(node.type)}, ptr {code.slots[node.local]}", node.place)


# Pointers


def pointer(code: Code, node: tree.Expression) -> str:
    """The address in a pointer that is about to be used; in checked neither null nor misaligned."""
    if code.checked and isinstance(node, tree.ElementAddress):
        return _element(code, node, used=True)
    address = code.value(node)
    if code.checked:
        require_usable(code, node, address)
    return address


def require_usable(code: Code, node: tree.Expression, address: str) -> None:
    """Stop if the pointer `node`, whose value is `address`, is null or misaligned.

    Addresses of statics, stack objects, fields and elements of arrays are right by construction: what
    they are computed from has been checked.
    """
    if isinstance(node, tree.StaticAddress | tree.StackAddress | tree.FieldAddress):
        return
    if isinstance(node, tree.ElementAddress) and node.length is not None:
        return
    place = node.place
    code.require(code.emit(f"icmp ne ptr {address}, null", place), TrapKind.NULL, place)
    alignment = node.type.target.alignment if isinstance(node.type, PointerType) else 1
    if alignment > 1:
        bits = code.emit(f"ptrtoint ptr {address} to i64", place)
        low = code.emit(f"and i64 {bits}, {alignment - 1}", place)
        code.require(code.emit(f"icmp eq i64 {low}, 0", place), TrapKind.MISALIGNED, place)


def field_address(code: Code, node: tree.FieldAddress) -> str:
    base = pointer(code, node.base)
    if node.field.offset == 0:
        return base
    return code.emit(f"getelementptr i8, ptr {base}, i64 {node.field.offset}", node.place)


def element_address(code: Code, node: tree.ElementAddress) -> str:
    return _element(code, node, used=False)


def _element(code: Code, node: tree.ElementAddress, *, used: bool) -> str:
    """`base + index`. Pointers are computed with freely; one that is `used`, and an array, must be there."""
    base, index = code.value(node.base), code.value(node.index)
    place = node.place
    if code.checked and (used or node.length is not None):
        require_usable(code, node.base, base)
    if not isinstance(node.index, tree.Constant):
        integer = integer_of(node.index.type)
        index = resize(code, index, integer.bits, 64, signed=integer.signed, place=place)
    if code.checked and node.length is not None:
        # A negative index is a huge unsigned one.
        code.require(code.emit(f"icmp ult i64 {index}, {node.length}", place), TrapKind.BOUNDS, place)
    if index == "0":
        return base
    assert isinstance(node.type, PointerType)
    return code.emit(f"getelementptr {stride(node.type.target)}, ptr {base}, i64 {index}", place)


# Loads and stores


def load(code: Code, node: tree.Load) -> str:
    address = pointer(code, node.pointer)
    volatile = "volatile " if node.volatile else ""
    type_, place = node.type, node.place
    where = f"ptr {address}, {alignment(code, type_)}"
    loaded = code.emit(f"load {volatile}{memory_type(type_)}, {where}", place)
    return to_register(code, type_, loaded, place)


def store(code: Code, type_: Type, value: str, address: str, place: tree.Place, *, volatile: bool) -> None:
    """Store a register value of `type_` at `address`, which has been checked."""
    value = to_memory(code, type_, value, place)
    keyword = "store volatile" if volatile else "store"
    code.do(f"{keyword} {memory_type(type_)} {value}, ptr {address}, {alignment(code, type_)}", place)


def alignment(code: Code, type_: Type) -> str:
    return f"align {type_.alignment if code.checked else 1}"


def to_register(code: Code, type_: Type, value: str, place: tree.Place) -> str:
    """A bool is a byte in memory; any byte but 0 is True. What is read as an enum must be a member."""
    if code.checked and isinstance(type_, EnumType):
        require_member(code, type_, value, place)
    return code.emit(f"icmp ne i8 {value}, 0", place) if isinstance(type_, BoolType) else value


def to_memory(code: Code, type_: Type, value: str, place: tree.Place) -> str:
    return code.emit(f"zext i1 {value} to i8", place) if isinstance(type_, BoolType) else value


def load_bits(code: Code, node: tree.LoadBits) -> str:
    """A bit-field: its unit shifted down; signed fields extend their sign."""
    field, place = node.field, node.place
    address = pointer(code, node.pointer)
    type_, volatile = _unit(field)
    integer = integer_of(type_)
    unit = f"i{integer.bits}"
    value = code.emit(f"load {volatile}{unit}, ptr {address}, {alignment(code, type_)}", place)
    if integer.signed:
        value = code.emit(f"shl {unit} {value}, {integer.bits - field.bit - field.bit_width}", place)
        return code.emit(f"ashr {unit} {value}, {integer.bits - field.bit_width}", place)
    value = code.emit(f"lshr {unit} {value}, {field.bit}", place)
    value = code.emit(f"and {unit} {value}, {(1 << field.bit_width) - 1}", place)
    return to_register(code, type_, value, place)


def store_bits(code: Code, field: Field, value: str, address: str, place: tree.Place) -> None:
    """Replace the bits of one field within its unit."""
    type_, volatile = _unit(field)
    unit = f"i{integer_of(type_).bits}"
    mask = (1 << field.bit_width) - 1
    where = alignment(code, type_)
    value = to_memory(code, type_, value, place)
    value = code.emit(f"and {unit} {value}, {mask}", place)
    value = code.emit(f"shl {unit} {value}, {field.bit}", place)
    old = code.emit(f"load {volatile}{unit}, ptr {address}, {where}", place)
    rest = code.emit(f"and {unit} {old}, {~(mask << field.bit)}", place)
    value = code.emit(f"or {unit} {rest}, {value}", place)
    code.do(f"store {volatile}{unit} {value}, ptr {address}, {where}", place)


def _unit(field: Field) -> tuple[Type, str]:
    """The type of a bit-field's storage unit, and the keyword of its accesses."""
    if isinstance(field.type, VolatileType):
        return field.type.value, "volatile "
    return field.type, ""


# Calls


def call(code: Code, node: tree.Call) -> str:
    arguments = ", ".join([code.typed(argument) for argument in node.arguments])
    return emit_call(code, node.type, f"{code.module.symbol(node.function)}({arguments})", node.place)


def call_pointer(code: Code, node: tree.CallPointer) -> str:
    address = code.value(node.pointer)
    if code.checked and not isinstance(node.pointer, tree.FunctionAddress):
        place = node.pointer.place
        code.require(code.emit(f"icmp ne ptr {address}, null", place), TrapKind.NULL, place)
    arguments = [code.typed(argument) for argument in node.arguments]
    if code.module.target == "jit":
        caller = code.module.pointer_caller(node.signature)
        return emit_call(
            code, node.type, f"{caller}({', '.join([f'ptr {address}', *arguments])})", node.place
        )
    return emit_call(code, node.type, f"{address}({', '.join(arguments)})", node.place)


def emit_call(code: Code, type_: Type, target: str, place: tree.Place) -> str:
    """A call, and a trap where a function that never returns would return."""
    if isinstance(type_, NoneType):
        code.do(f"call void {target}", place)
        return ""
    if isinstance(type_, NeverType):
        code.do(f"call void {target}", place)
        code.do("call void @llvm.trap()", place)
        return "poison"  # stands after the trap, where nothing runs
    return code.emit(f"call {llvm_type(type_)} {target}", place)


# Tuples and choices


def tuple_of(code: Code, node: tree.TupleOf) -> str:
    type_ = llvm_type(node.type)
    values = [code.typed(item) for item in node.items]
    result = "poison"
    for index, value in enumerate(values):
        result = code.emit(f"insertvalue {type_} {result}, {value}, {index}", node.place)
    return result


def tuple_item(code: Code, node: tree.TupleItem) -> str:
    value = code.typed(node.value)
    return code.emit(f"extractvalue {value}, {node.index}", node.place)


def let(code: Code, node: tree.Let) -> str:
    value = code.typed(node.value)
    code.do(f"store {value}, ptr {code.slots[node.local]}", node.place)
    return code.value(node.body)


def logical(code: Code, node: tree.Logical) -> str:
    """Short circuit: the right side runs in a block of its own."""
    left = code.value(node.left)
    start, right_label, end = code.block, code.label("right"), code.label("logical")
    if node.conjunction:
        code.branch(left, right_label, end, node.place)
    else:
        code.branch(left, end, right_label, node.place)
    code.begin(right_label)
    right = code.value(node.right)
    right_end = code.block
    code.jump(end, node.place)
    code.begin(end)
    short = "false" if node.conjunction else "true"
    return code.emit(f"phi i1 [ {short}, %{start} ], [ {right}, %{right_end} ]", node.place)


def conditional(code: Code, node: tree.Conditional) -> str:
    then, otherwise, end = code.label("then"), code.label("else"), code.label("chosen")
    branch_on(code, node.test, then, otherwise)
    arms = []
    for label, arm in ((then, node.then), (otherwise, node.otherwise)):
        code.begin(label)
        value = code.value(arm)
        if isinstance(arm.type, NeverType):
            code.finish("unreachable", arm.place)
        else:
            arms.append(f"[ {value}, %{code.block} ]")
            code.jump(end, node.place)
    code.begin(end)
    if isinstance(node.type, NoneType | NeverType):
        return ""
    return code.emit(f"phi {llvm_type(node.type)} {', '.join(arms)}", node.place)


def branch_on(code: Code, test: tree.Expression, then: str, otherwise: str) -> None:
    """End the block: go to `then` if `test` holds, else to `otherwise`."""
    if isinstance(test, tree.Not):
        branch_on(code, test.value, otherwise, then)
    elif isinstance(test, tree.Logical):
        middle = code.label("and" if test.conjunction else "or")
        if test.conjunction:
            branch_on(code, test.left, middle, otherwise)
        else:
            branch_on(code, test.left, then, middle)
        code.begin(middle)
        branch_on(code, test.right, then, otherwise)
    elif isinstance(test, tree.Constant):
        code.jump(then if test.value else otherwise, test.place)
    else:
        code.branch(code.value(test), then, otherwise, test.place)


TABLE: ExpressionTable = {
    tree.Constant: constant,
    tree.Null: null,
    tree.Text: text,
    tree.FunctionAddress: function_address,
    tree.StaticAddress: static_address,
    tree.StackAddress: stack_address,
    tree.LocalValue: local_value,
    tree.Load: load,
    tree.LoadBits: load_bits,
    tree.FieldAddress: field_address,
    tree.ElementAddress: element_address,
    tree.Call: call,
    tree.CallPointer: call_pointer,
    tree.TupleOf: tuple_of,
    tree.TupleItem: tuple_item,
    tree.Let: let,
    tree.Logical: logical,
    tree.Conditional: conditional,
}
