"""LLVM at work: parse, verify, optimise the whole program, make an object file or assembly."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

import llvmlite.binding as llvm

from macadamia.lang.emit import TRIPLES, Target

# The kernel never touches the FPU or vector registers: they hold the state of user threads.
_NO_VECTORS = "-mmx,-sse,-sse2,-sse3,-ssse3,-sse4.1,-sse4.2,-avx,-avx2,-x87,+soft-float"

# LLVM's own 225 makes a kernel a tenth larger and a fifth slower to compile, and the benchmarks no faster.
_INLINING_THRESHOLD = 100


@dataclass(frozen=True)
class BackendOptions:
    """`optimize` is 0 to 3; `cpu` an LLVM name such as "x86-64" or "x86-64-v3"."""

    target: Target = "bare"
    optimize: int = 2
    cpu: str = "x86-64"


class BackendError(Exception):
    """LLVM does not accept the text: a bug in the emitter or an error in inline assembly."""


@cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()  # without it inline assembly aborts the process


@cache
def target_machine(options: BackendOptions) -> llvm.TargetMachine:
    """The machine to compile for. Made once: it takes milliseconds."""
    _initialise()
    target = llvm.Target.from_triple(TRIPLES[options.target])
    return target.create_target_machine(
        cpu=options.cpu,
        features=_NO_VECTORS if options.target == "bare" else "",
        opt=options.optimize,
        reloc="pic" if options.target == "jit" else "static",
        codemodel="kernel" if options.target == "bare" else "small",
        jit=options.target == "jit",
    )


@contextmanager
def optimised(text: str, options: BackendOptions) -> Iterator[llvm.ModuleRef]:
    """The module that `text` describes, after LLVM's whole-program passes.

    It is closed here, before the context it lives in: the garbage collector would not keep that order.
    """
    with closing(llvm.create_context()) as context, closing(parsed(text, context)) as module:
        optimise(module, options)
        yield module


def parsed(text: str, context: llvm.ContextRef) -> llvm.ModuleRef:
    """The verified module that `text` describes."""
    try:
        module = llvm.parse_assembly(text, context=context)
    except RuntimeError as error:
        raise BackendError(_explained_parse(str(error))) from None
    try:
        module.verify()
    except RuntimeError as error:
        module.close()
        raise BackendError(str(error)) from None
    return module


def optimise(module: llvm.ModuleRef, options: BackendOptions) -> None:
    """Run LLVM's pipeline for the level over the whole program."""
    machine = target_machine(options)
    tuning = llvm.create_pipeline_tuning_options(speed_level=options.optimize)
    tuning.inlining_threshold = _INLINING_THRESHOLD
    if options.target == "bare":
        tuning.loop_vectorization = tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)


def compile_object(text: str, options: BackendOptions) -> bytes:
    """A relocatable ELF object of the module."""
    machine = target_machine(options)
    with optimised(text, options) as module:
        if "asm" not in text:
            return bytes(machine.emit_object(module))
        image, errors = in_child(lambda: bytes(machine.emit_object(module)))
    if image is None:
        raise BackendError(explained(errors, text))
    return image


def compile_assembly(text: str, options: BackendOptions) -> str:
    """AT&T assembly of the module, for people."""
    with optimised(text, options) as module:
        return str(target_machine(options).emit_assembly(module))


def in_child(work: Callable[[], bytes]) -> tuple[bytes | None, str]:
    """What `work` gives, done in a child process, or None; and what it wrote to standard error.

    LLVM ends the process at the first error in assembly.
    """
    with tempfile.TemporaryFile() as errors:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _work_and_exit(work, writer, errors.fileno())
        os.close(writer)
        with open(reader, "rb") as pipe:
            result = pipe.read()
        _, status = os.waitpid(child, 0)
        errors.seek(0)
        return (result if status == 0 else None), errors.read().decode(errors="replace")


def _work_and_exit(work: Callable[[], bytes], writer: int, errors: int) -> NoReturn:
    """The child: nothing of the parent's Python may run in it but `work`."""
    status = 1
    try:
        os.dup2(errors, 2)
        with open(writer, "wb") as pipe:
            pipe.write(work())
        status = 0
    except BaseException as error:
        os.write(2, f"error: {error}\n".encode())
    finally:
        os._exit(status)


def explained(errors: str, text: str) -> str:
    """What LLVM said about assembly, as `file:line: error: ...`.

    It knows the place of an instruction from the marker in its template, and of a constraint only the number
    of the assembly.
    """
    message, _, rest = errors.strip().removeprefix("error: ").partition("\n")
    numbered = re.fullmatch(r"(.*) at line (\d+)", message)
    if numbered:
        return f"{_place_of_assembly(int(numbered[2]), text)}: error: {numbered[1]}"
    placed = re.match(r"(.*?:\d+:\d+): (.*)", message)
    return f"{placed[1]}: error: {placed[2]}\n{rest}".rstrip() if placed else message


def _place_of_assembly(number: int, text: str) -> str:
    """file:line of the numbered inline assembly (Module.assembly_number)."""
    node = re.search(rf"^(!\d+) = !{{i64 {number}}}$", text, re.MULTILINE)
    call = node and re.search(rf"^.*!srcloc {node[1]}\b", text, re.MULTILINE)
    return (call and _marked_place(call[0])) or "assembly"


def _marked_place(call: str) -> str | None:
    """file:line by the marker in the LLVM text of an inline assembly."""
    found = re.search(r"# (\d+) \\22(.*?)\\22", call)
    return f"{found[2]}:{found[1]}" if found else None


def _explained_parse(error: str) -> str:
    """LLVM checks the constraints of an inline assembly while it reads the text."""
    place = _marked_place(error)
    reason = re.search(r"error: (.*)", error)
    return f"{place}: error: {reason[1]}" if place and reason else error
