"""Kernel Python compiled into this process.

`jit([f, g])` gives a library whose attributes `f` and `g` are called like the functions they were made of.
Statics and locals lie in the memory that CPython uses (memory.py), so compiled functions, uncompiled ones and
tests work on the same objects.
"""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from macadamia.lang import tree
from macadamia.lang.backend import BackendOptions, compile_object
from macadamia.lang.check.program import Implementations, check_program
from macadamia.lang.dump import dump_stages, level
from macadamia.lang.emit.jit import callback_symbol, callbacks, entry_symbol, pointer_symbol, words
from macadamia.lang.emit.module import EmitOptions, Module, Profile
from macadamia.lang.jit.runtime import FAULTED, RAISED, RETURNED, record, runtime
from macadamia.lang.jit.values import decode, encode
from macadamia.lang.memory import function_at, memory
from macadamia.lang.traps import Trap, TrapKind
from macadamia.lang.types import U64, Type

_PAGE_SIZE = 4096  # faults below it are uses of a null pointer
_SI_KERNEL = 0x80  # si_code of a general protection fault, Linux uapi/asm-generic/siginfo.h
_CALLBACK = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_uint64))
_raised: list[BaseException] = []  # the exception of a callback, on its way through compiled frames


class Compiled:
    """One compiled function. `kept` is what must live as long as its code is called."""

    def __init__(
        self, python: Callable[..., Any], function: tree.Function, address: int, kept: object
    ) -> None:
        self._kept = kept
        self.__wrapped__ = python
        self.__name__ = python.__name__
        self._address = address
        self._parameters = [local.type for local in function.parameters]
        self._result = function.result
        self._first_result = sum(map(words, self._parameters))
        self._buffer = ctypes.c_uint64 * max(1, self._first_result + words(function.result))
        self._signature = inspect.signature(python)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call it with Python values. A stop in compiled code raises Trap."""
        if keywords or len(arguments) != len(self._parameters):
            bound = self._signature.bind(*arguments, **keywords)
            bound.apply_defaults()
            arguments = bound.args
        values: list[int] = []
        for type_, argument in zip(self._parameters, arguments, strict=True):
            values += encode(type_, argument)
        buffer = self._buffer(*values)
        record.stack_top = memory.stack_top
        status = runtime().enter(self._address, buffer)
        if status != RETURNED:
            raise _failure(status)
        return decode(self._result, iter(buffer[self._first_result :]))


def _failure(status: int) -> BaseException:
    """The exception for a call that did not return."""
    if status == RAISED:
        return _raised.pop()
    if status == FAULTED:
        return _fault()
    message = ctypes.string_at(record.message, record.message_length).decode()
    file = ctypes.string_at(record.file, record.file_length).decode()
    return Trap(list(TrapKind)[record.kind], message, file=file, line=record.line)


def _fault() -> Trap:
    """The processor stopped compiled code: what checks do not catch, and in release what they would have."""
    address = record.fault_address
    if record.fault_code == _SI_KERNEL:
        return Trap(TrapKind.BOUNDS, "an address that is not canonical, or a privileged instruction")
    if abs(address - record.fault_stack) < _PAGE_SIZE:
        return Trap(TrapKind.BOUNDS, "the machine stack is full: recursion is too deep")
    if address < _PAGE_SIZE:
        return Trap(TrapKind.NULL, f"None dereferenced: access to {address:#x}")
    return Trap(TrapKind.BOUNDS, f"access to {address:#x}, where there is no memory")


class Library:
    """Compiled functions as attributes, by name."""

    def __init__(
        self, roots: Sequence[Callable[..., Any]], program: tree.Program, module: Module, image: bytes
    ) -> None:
        called_back = callback_functions(program, module)
        addresses = {
            name: ctypes.cast(function, ctypes.c_void_p).value or 0 for name, function in called_back.items()
        }
        symbols = [entry_symbol(number) for number in range(len(roots))]
        runtime().catch_faults()
        code = runtime().link(image, addresses, symbols)
        for python, function, symbol in zip(roots, program.roots, symbols, strict=True):
            compiled = Compiled(python, function, code[symbol], (code, called_back))
            setattr(self, python.__name__, compiled)

    def __getattr__(self, name: str) -> Compiled:
        raise AttributeError(f"{name} is not among the compiled functions")


def callback_functions(program: tree.Program, module: Module) -> dict[str, Any]:
    """The C functions that compiled code calls Python by, by symbol."""
    result = {}
    for number, function in callbacks(program):
        parameters = [local.type for local in function.parameters]
        result[callback_symbol(number)] = _callback(function.callback, parameters, function.result)
    for number, signature in enumerate(module.signatures):
        parameters = [U64, *signature.parameters]
        result[pointer_symbol(number)] = _callback(_call_numbered, parameters, signature.result)
    return result


def _call_numbered(number: int, *arguments: Any) -> Any:
    """Call the Python function that a number in memory stands for."""
    return function_at(int(number))(*arguments)


def _callback(python: Any, parameters: list[Type], result: Type) -> Any:
    """The C function behind a Python callable: 0 after a return, 1 after an exception."""
    count = sum(map(words, parameters))

    def call(buffer: Any) -> int:
        saved, top = memory.stack_top, record.stack_top
        memory.stack_top = top
        try:
            given = iter(buffer[:count])
            value = python(*[decode(type_, given) for type_ in parameters])
            for index, word in enumerate(encode(result, value)):
                buffer[count + index] = word
        except BaseException as error:
            _raised.append(error)
            return 1
        finally:
            memory.stack_top, record.stack_top = saved, top
        return 0

    return _CALLBACK(call)


def jit(
    functions: Sequence[Callable[..., Any]],
    implementations: Implementations = (),
    profile: Profile = "checked",
    optimize: int = 2,
    *,
    debug: bool = False,
) -> Library:
    """Compile `functions` and what they reach. Raises CompileErrors.

    `implementations` bind interfaces to kernel functions, which are compiled too, or plain Python callables.
    """
    program = check_program(functions, implementations)
    module = Module(program, EmitOptions(profile, "jit", debug))
    text, options = module.render(), BackendOptions("jit", optimize)
    if level():
        dump_stages(f"jit-{functions[0].__name__}", program, text, options)
    return Library(functions, program, module, compile_object(text, options))
