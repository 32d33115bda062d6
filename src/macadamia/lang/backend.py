"""LLVM at work: parse, verify, optimise the whole program, make an object file or assembly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

from macadamia.lang.emit import TRIPLES, Target

# The kernel never touches the FPU or vector registers: they hold the state of user threads.
_NO_VECTORS = "-mmx,-sse,-sse2,-sse3,-ssse3,-sse4.1,-sse4.2,-avx,-avx2,-x87,+soft-float"


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


def optimised(text: str, options: BackendOptions) -> llvm.ModuleRef:
    """The module that `text` describes, after LLVM's whole-program passes."""
    machine = target_machine(options)
    try:
        module = llvm.parse_assembly(text, context=llvm.create_context())
        module.verify()
    except RuntimeError as error:
        raise BackendError(str(error)) from None
    tuning = llvm.create_pipeline_tuning_options(speed_level=options.optimize)
    if options.target == "bare":
        tuning.loop_vectorization = tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return module


def compile_object(text: str, options: BackendOptions) -> bytes:
    """A relocatable ELF object of the module."""
    image: bytes = target_machine(options).emit_object(optimised(text, options))
    return image


def compile_assembly(text: str, options: BackendOptions) -> str:
    """AT&T assembly of the module, for people."""
    assembly: str = target_machine(options).emit_assembly(optimised(text, options))
    return assembly
