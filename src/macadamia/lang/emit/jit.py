"""What a module for jit has besides its functions: the ways between Python and compiled code.

Values cross in a buffer of 64-bit words: the arguments in order, then the result. A root has an entry that
unpacks the buffer, calls the function and packs the result; a function that Python implements has a body
that packs its arguments, calls back and unpacks. Stopping, stacks and callbacks are reached through symbols
that jit/library.py gives addresses to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from macadamia.lang import tree
from macadamia.lang.emit.frame import STACK_END, STACK_TOP
from macadamia.lang.emit.types import STRING, llvm_type, quoted
from macadamia.lang.memory import FUNCTIONS_BASE
from macadamia.lang.types import (
    U8,
    U64,
    BoolType,
    FunctionType,
    NeverType,
    NoneType,
    PointerType,
    StringType,
    TupleType,
    Type,
)

if TYPE_CHECKING:
    from macadamia.lang.emit.module import Module

TRAP = '@"macadamia.trap"'  # (kind, message, file, line): leaves compiled code
UNWIND = '@"macadamia.unwind"'  # leaves compiled code because a callback raised
FLOOR = '@"macadamia.floor"'  # stack pointer of the innermost entry; 0 while Python runs
FUNCTION_AT = '@"macadamia.function_at"'
FUNCTIONS_SPAN = 1 << 32  # from FUNCTIONS_BASE on: numbers of functions, where no code is


def entry_symbol(number: int) -> str:
    """The symbol of the entry of root `number`."""
    return f"macadamia.entry.{number}"


def callback_symbol(number: int) -> str:
    """The symbol of the ctypes function behind the callback of function `number` of the program."""
    return f"macadamia.callback.{number}"


def pointer_symbol(number: int) -> str:
    """The symbol of the ctypes function for calls through pointers of the numbered signature."""
    return f"macadamia.pointer.{number}"


def pointer_caller(number: int) -> str:
    """The function that calls through pointers of the numbered signature."""
    return "@" + quoted(f"macadamia.call.{number}")


def scalars(type_: Type) -> list[Type]:
    """The scalars a value consists of: the items of a tuple, address and length of a text."""
    if isinstance(type_, TupleType):
        return [scalar for item in type_.items for scalar in scalars(item)]
    if isinstance(type_, StringType):
        return [PointerType(U8), U64]
    return [] if isinstance(type_, NoneType | NeverType) else [type_]


def words(type_: Type) -> int:
    """How many words of the buffer a value takes."""
    return sum((scalar.size + 7) // 8 for scalar in scalars(type_))


def support(module: Module) -> list[str]:
    """Declarations, entries, and the calls through function pointers."""
    return [
        f"declare void {TRAP}(i32, {STRING}, {STRING}, i32) noreturn",
        f"declare void {UNWIND}() noreturn",
        f"{FLOOR} = external global i64",
        f"{STACK_TOP} = external global i64",
        f"{STACK_END} = external global i64",
        *(entry(module, number, root) for number, root in enumerate(module.program.roots)),
        function_at(module),
        *(pointer_call(*item) for item in enumerate(module.signatures)),
    ]


class _Buffer:
    """Writes the accesses to the words of `%buffer`, one after the other."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._word = 0
        self._count = 0

    def _name(self) -> str:
        self._count += 1
        return f"%v{self._count}"

    def line(self, text: str) -> str:
        name = self._name()
        self.lines.append(f"  {name} = {text}")
        return name

    def _next(self, type_: Type) -> str:
        place = self.line(f"getelementptr i64, ptr %buffer, i64 {self._word}")
        self._word += words(type_)
        return place

    def unpack(self, type_: Type) -> str:
        """Load a value; its typed operand."""
        if isinstance(type_, BoolType):
            loaded = self.line(f"load i64, ptr {self._next(type_)}, align 8")
            return f"i1 {self.line(f'icmp ne i64 {loaded}, 0')}"
        if not isinstance(type_, TupleType | StringType):
            name = llvm_type(type_)
            return f"{name} {self.line(f'load {name}, ptr {self._next(type_)}, align 8')}"
        whole, name = "poison", llvm_type(type_)
        for index, item in enumerate(parts(type_)):
            whole = self.line(f"insertvalue {name} {whole}, {self.unpack(item)}, {index}")
        return f"{name} {whole}"

    def pack(self, type_: Type, value: str) -> None:
        """Store a value."""
        if isinstance(type_, TupleType | StringType):
            for index, item in enumerate(parts(type_)):
                self.pack(item, self.line(f"extractvalue {llvm_type(type_)} {value}, {index}"))
            return
        if isinstance(type_, BoolType):
            value = self.line(f"zext i1 {value} to i64")
        name = "i64" if isinstance(type_, BoolType) else llvm_type(type_)
        self.lines.append(f"  store {name} {value}, ptr {self._next(type_)}, align 8")


def parts(type_: TupleType | StringType) -> list[Type]:
    return list(type_.items) if isinstance(type_, TupleType) else [PointerType(U8), U64]


def entry(module: Module, number: int, function: tree.Function) -> str:
    """`void entry(ptr buffer)`: calls a root with arguments from the buffer."""
    buffer = _Buffer()
    arguments = ", ".join([buffer.unpack(local.type) for local in function.parameters])
    call = f"call {llvm_type(function.result)} {module.symbol(function)}({arguments})"
    if llvm_type(function.result) == "void":
        buffer.lines.append("  " + call)
    else:
        buffer.pack(function.result, buffer.line(call))
    head = f"define void @{quoted(entry_symbol(number))}(ptr %buffer) nounwind {{"
    return "\n".join([head, *buffer.lines, "  ret void", "}"])


def _call_python(buffer: _Buffer, symbol: str, result: Type) -> None:
    """Call back; then return the result, or leave if Python raised.

    While Python runs, the floor is 0: a fault is Python's own then, and entries from there nest.
    """
    buffer.lines += [
        f"  %floor = load i64, ptr {FLOOR}",
        f"  store i64 0, ptr {FLOOR}",
        f"  %status = call i32 @{quoted(symbol)}(ptr %buffer)",
        f"  store i64 %floor, ptr {FLOOR}",
        "  %failed = icmp ne i32 %status, 0",
        "  br i1 %failed, label %raised, label %done",
        f"raised:\n  call void {UNWIND}()\n  unreachable",
        "done:",
    ]
    buffer.lines.append("  ret void" if llvm_type(result) == "void" else f"  ret {buffer.unpack(result)}")


def _allocated(types: list[Type]) -> str:
    return f"  %buffer = alloca [{max(1, sum(map(words, types)))} x i64]"


def callback(module: Module, number: int, function: tree.Function) -> str:
    """The body of a function that a Python callable implements."""
    buffer = _Buffer()
    types = [local.type for local in function.parameters]
    for index, type_ in enumerate(types):
        buffer.pack(type_, f"%a{index}")
    _call_python(buffer, callback_symbol(number), function.result)
    parameters = ", ".join(f"{llvm_type(type_)} %a{index}" for index, type_ in enumerate(types))
    head = f"define internal {llvm_type(function.result)} {module.symbol(function)}({parameters}) nounwind {{"
    declaration = f"declare i32 @{quoted(callback_symbol(number))}(ptr)"
    return "\n".join([declaration, head, _allocated([*types, function.result]), *buffer.lines, "}"])


def function_at(module: Module) -> str:
    """From the number that stands for a function in memory to its code; other values stay as they are."""
    known = module.program.function_addresses
    cases = " ".join(f"i64 {address}, label %f{address}" for address in known)
    return "\n".join(
        [
            f"define internal ptr {FUNCTION_AT}(ptr %function) nounwind {{",
            "  %number = ptrtoint ptr %function to i64",
            f"  switch i64 %number, label %other [ {cases} ]",
            *(f"f{address}:\n  ret ptr {module.symbol(function)}" for address, function in known.items()),
            "other:\n  ret ptr %function\n}",
        ]
    )


def pointer_call(number: int, signature: FunctionType) -> str:
    """`R call(ptr function, arguments...)`: a call through function pointers of one signature.

    The number of a function that is not compiled here leads to Python.
    """
    result, symbol = llvm_type(signature.result), pointer_symbol(number)
    types = [U64, *signature.parameters]
    arguments = [f"{llvm_type(type_)} %a{index}" for index, type_ in enumerate(types)][1:]
    buffer = _Buffer()
    for index, type_ in enumerate(types):
        buffer.pack(type_, f"%a{index}")
    _call_python(buffer, symbol, signature.result)
    parameters = ", ".join(["ptr %function", *arguments])
    kept, ending = ("", "ret void") if result == "void" else ("%result = ", f"ret {result} %result")
    return "\n".join(
        [
            f"declare i32 @{quoted(symbol)}(ptr)",
            f"define internal {result} {pointer_caller(number)}({parameters}) nounwind {{",
            _allocated([*types, signature.result]),
            f"  %code = call ptr {FUNCTION_AT}(ptr %function)",
            "  %a0 = ptrtoint ptr %code to i64",
            f"  %offset = sub i64 %a0, {FUNCTIONS_BASE}",
            f"  %uncompiled = icmp ult i64 %offset, {FUNCTIONS_SPAN}",
            "  br i1 %uncompiled, label %python, label %native",
            f"native:\n  {kept}call {result} %code({', '.join(arguments)})\n  {ending}",
            "python:",
            *buffer.lines,
            "}",
        ]
    )


def callbacks(program: tree.Program) -> Iterator[tuple[int, tree.Function]]:
    """The functions that Python implements, with their number."""
    return ((number, item) for number, item in enumerate(program.functions) if item.callback is not None)
