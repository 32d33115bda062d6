"""Statements: control flow, assignment and stores."""

from __future__ import annotations

from macadamia.lang import tree
from macadamia.lang.emit.code import Code, Loop, StatementTable
from macadamia.lang.emit.expressions import branch_on, pointer, store, store_bits
from macadamia.lang.emit.types import llvm_type
from macadamia.lang.traps import TrapKind
from macadamia.lang.tree import integer_of
from macadamia.lang.types import BoolType, IntType, NeverType, NoneType


def evaluate(code: Code, node: tree.Evaluate) -> None:
    code.value(node.value)
    if isinstance(node.value.type, NeverType):
        code.finish("unreachable", node.place)


def assign(code: Code, node: tree.Assign) -> None:
    value = code.typed(node.value)
    code.do(f"store {value}, ptr {code.slots[node.local]}", node.place)


def store_value(code: Code, node: tree.Store) -> None:
    value = code.value(node.value)
    address = pointer(code, node.pointer)
    store(code, node.value.type, value, address, node.place, volatile=node.volatile)


def store_field_bits(code: Code, node: tree.StoreBits) -> None:
    value = code.value(node.value)
    store_bits(code, node.field, value, pointer(code, node.pointer), node.place)


def return_(code: Code, node: tree.Return) -> None:
    if node.value is None or isinstance(node.value.type, NoneType | NeverType):
        if node.value is not None:
            code.value(node.value)
        code.leave("void", node.place)
    else:
        code.leave(code.typed(node.value), node.place)


def assert_(code: Code, node: tree.Assert) -> None:
    if code.checked:
        code.require(code.value(node.test), TrapKind.ASSERT, node.place, node.message)


# Choices


def if_(code: Code, node: tree.If) -> None:
    if isinstance(node.test, tree.Constant):  # a choice made at import time
        code.run(node.then if node.test.value else node.otherwise)
        return
    then, end = code.label("then"), code.label("endif")
    otherwise = code.label("else") if node.otherwise else end
    branch_on(code, node.test, then, otherwise)
    code.begin(then)
    code.run(node.then)
    joined = code.reachable or not node.otherwise
    code.jump(end, node.place)
    if node.otherwise:
        code.begin(otherwise)
        code.run(node.otherwise)
        joined = joined or code.reachable
        code.jump(end, node.place)
    if joined:
        code.begin(end)


def switch(code: Code, node: tree.Switch) -> None:
    """LLVM chooses between jump table, bit test and comparisons. The first of equal values wins."""
    subject = code.typed(node.subject)
    end = code.label("endmatch")
    labels = [code.label("case") for _ in node.cases]
    default = code.label("default") if node.otherwise else end
    targets: dict[int, str] = {}
    for case, label in zip(node.cases, labels, strict=True):
        for value in case.values:
            targets.setdefault(value, label)
    type_ = llvm_type(node.subject.type)
    boolean = isinstance(node.subject.type, BoolType)
    table = " ".join(
        f"{type_} {_boolean(value) if boolean else value}, label %{label}" for value, label in targets.items()
    )
    code.finish(f"switch {subject}, label %{default} [ {table} ]", node.place)
    joined = not node.otherwise
    bodies = [(label, case.body) for label, case in zip(labels, node.cases, strict=True)]
    if node.otherwise:
        bodies.append((default, node.otherwise))
    for label, body in bodies:
        code.begin(label)
        code.run(body)
        joined = joined or code.reachable
        code.jump(end, node.place)
    if joined:
        code.begin(end)


def _boolean(value: int) -> str:
    return "true" if value else "false"


# Loops


def while_(code: Code, node: tree.While) -> None:
    head, body, end = code.label("while"), code.label("body"), code.label("endwhile")
    endless = isinstance(node.test, tree.Constant) and node.test.value != 0
    code.jump(head, node.place)
    code.begin(head)
    if not endless:
        branch_on(code, node.test, body, end)
        code.begin(body)
    loop = _run_body(code, node.body, Loop(end, head))
    code.jump(head, node.place)
    if loop.broken or not endless:
        code.begin(end)


def _run_body(code: Code, body: list[tree.Statement], loop: Loop) -> Loop:
    code.loops.append(loop)
    code.run(body)
    return code.loops.pop()


def for_range(code: Code, node: tree.ForRange) -> None:
    """`for i in range(start, stop, step)`: a hidden counter, copied into the variable at each turn.

    The counter is never moved past `stop`: whether another turn fits is decided on the distance that is
    left, which cannot overflow. By one, the counter reaches `stop` at most, so its addition carries nuw or
    nsw (which holds: the counter is less than `stop` before it).
    """
    integer = integer_of(node.local.type)
    type_, place = llvm_type(node.local.type), node.place
    start, stop = code.value(node.start), code.value(node.stop)
    before = "s" if integer.signed else "u"
    goes = f"{before}lt" if node.step > 0 else f"{before}gt"
    counter, following = code.reserve("counter"), code.reserve("following")
    body, next_, end = code.label("for"), code.label("next"), code.label("endfor")
    first = code.emit(f"icmp {goes} {type_} {start}, {stop}", place)
    entry = code.block
    code.branch(first, body, end, place)
    code.begin(body)
    code.emit_named(counter, f"phi {type_} [ {start}, %{entry} ], [ {following}, %{next_} ]", place)
    code.do(f"store {type_} {counter}, ptr {code.slots[node.local]}", place)
    _run_body(code, node.body, Loop(end, next_))
    code.jump(next_, place)
    code.begin(next_)
    again = _advance(code, integer, node, counter, following, stop)
    code.branch(again, body, end, place)
    code.begin(end)


def _advance(
    code: Code, integer: IntType, node: tree.ForRange, counter: str, following: str, stop: str
) -> str:
    """Define `following`, the next counter; give whether it is still within the range."""
    type_, place = llvm_type(node.local.type), node.place
    if node.step == 1:
        exact = "nsw" if integer.signed else "nuw"
        code.emit_named(following, f"add {exact} {type_} {counter}, 1", place)
        return code.emit(f"icmp {'slt' if integer.signed else 'ult'} {type_} {following}, {stop}", place)
    left, right = (stop, counter) if node.step > 0 else (counter, stop)
    distance = code.emit(f"sub {type_} {left}, {right}", place)
    code.emit_named(following, f"add {type_} {counter}, {integer.wrap(node.step)}", place)
    if abs(node.step) >> integer.bits:
        return "false"
    return code.emit(f"icmp ugt {type_} {distance}, {abs(node.step)}", place)


def break_(code: Code, node: tree.Break) -> None:
    loop = code.loops[-1]
    loop.broken = True
    code.jump(loop.exit, node.place)


def continue_(code: Code, node: tree.Continue) -> None:
    code.jump(code.loops[-1].next, node.place)


TABLE: StatementTable = {
    tree.Evaluate: evaluate,
    tree.Assign: assign,
    tree.Store: store_value,
    tree.StoreBits: store_field_bits,
    tree.If: if_,
    tree.While: while_,
    tree.ForRange: for_range,
    tree.Switch: switch,
    tree.Return: return_,
    tree.Break: break_,
    tree.Continue: continue_,
    tree.Assert: assert_,
}
