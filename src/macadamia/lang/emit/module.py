"""From the typed tree to LLVM's textual form (LLVM 22, opaque pointers).

One module per program. Functions are internal, so that LLVM inlines and drops them as it likes; roots,
exported functions and exported statics keep their symbols. Symbols are the dotted Python names, quoted.
The text has no undefined behaviour that kernel Python does not have; how is told where it is done
(emit_arithmetic, emit_expressions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from macadamia.lang import tree
from macadamia.lang.emit import arithmetic, assembly, expressions, intrinsics, jit, statements
from macadamia.lang.emit.code import Code, ExpressionTable
from macadamia.lang.emit.debuginfo import DebugInfo
from macadamia.lang.emit.statics import StaticsWriter
from macadamia.lang.emit.types import STRING, escaped, llvm_type, quoted
from macadamia.lang.memory import memory
from macadamia.lang.runtime import MEMORY
from macadamia.lang.traps import TrapKind
from macadamia.lang.types import NEVER, FunctionType

Profile = Literal["checked", "release"]
Target = Literal["bare", "user", "jit"]

# x86-64 System V; LLVM verifies that it agrees with the target machine's own.
DATA_LAYOUT = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
TRIPLES: dict[Target, str] = {
    "bare": "x86_64-unknown-none-elf",
    "user": "x86_64-unknown-none-elf",
    "jit": "x86_64-unknown-linux-gnu",
}

# Frame pointers let a panic walk the stack by rbp. In release a function that calls nothing has none: a fault
# in it is still named, only its caller is missing from the backtrace.
_FRAME_POINTER = {"checked": "all", "release": "non-leaf"}
# Address 0 can be read: what a null pointer does in release is left to the page tables, not to the optimiser.
# LLVM would make strlen of loops, and there is no libc.
_COMMON = 'nounwind null_pointer_is_valid "no-builtin-strlen" "no-builtin-wcslen"'
# Interrupts arrive on the kernel's own stack, and the FPU belongs to the threads.
_BARE = " noredzone noimplicitfloat"

_EXPRESSIONS: ExpressionTable = {
    **expressions.TABLE,
    **arithmetic.TABLE,
    **intrinsics.TABLE,
    **assembly.TABLE,
}


@dataclass(frozen=True)
class EmitOptions:
    """What to emit. `source_root` is cut off from the file names that panics print."""

    profile: Profile = "checked"
    target: Target = "bare"
    debug: bool = True
    source_root: str = ""


class Module:
    """What the functions of one module share: texts, symbols, trap stubs."""

    def __init__(self, program: tree.Program, options: EmitOptions) -> None:
        self.program = program
        self.options = options
        self.target = options.target
        self.checked = options.profile == "checked"
        self.metadata: list[str] = []
        self.unlikely = self.add_metadata('!{!"branch_weights", i32 1048576, i32 1}')
        self.debug = DebugInfo(self, options) if options.debug else None
        self.signatures: list[FunctionType] = []  # of calls through pointers, for jit
        self._assemblies = 0
        self._texts: dict[str, str] = {}
        self._stops: dict[tuple[TrapKind, str, str], str] = {}
        self._definitions: list[str] = []
        self._statics = StaticsWriter(self, program)
        self._roots = set(map(id, program.roots))
        self._handles = {id(function): address for address, function in program.function_addresses.items()}

    def add_metadata(self, text: str) -> str:
        self.metadata.append(text)
        return f"!{len(self.metadata) - 1}"

    def assembly_number(self) -> str:
        """A node with the next number of an inline assembly, which LLVM names in errors."""
        self._assemblies += 1
        return self.add_metadata(f"!{{i64 {self._assemblies}}}")

    # Symbols

    def symbol(self, function: tree.Function) -> str:
        return "@" + quoted(function.exported or function.symbol)

    def function_pointer(self, function: tree.Function) -> str:
        """A function as a value; in jit the number that stands for it in CPython's memory."""
        if self.target == "jit" and id(function) in self._handles:
            return f"inttoptr (i64 {self._handles[id(function)]} to ptr)"
        return self.symbol(function)

    def pointer_caller(self, signature: FunctionType) -> str:
        """jit: the function that calls what a function pointer of this signature stands for."""
        if signature not in self.signatures:
            self.signatures.append(signature)
        return jit.pointer_caller(self.signatures.index(signature))

    def static_pointer(self, static: tree.Static) -> str:
        """The address of a static; for jit it lies in the memory it shares with CPython."""
        if self.target == "jit":
            return f"inttoptr (i64 {static.address} to ptr)"
        return self._statics.symbol(static)

    def text(self, value: str) -> str:
        """A constant text as an operand of type STRING; in jit the one CPython has in its memory."""
        if self.target == "jit":
            return f"{{ ptr inttoptr (i64 {memory.text(value)} to ptr), i64 {len(value)} }}"
        return self._private_text(value)

    def _private_text(self, value: str) -> str:
        name = self._texts.get(value)
        if name is None:
            name = self._texts[value] = f'@"text.{len(self._texts)}"'
            contents = f'[{len(value)} x i8] c"{escaped(value)}"'
            self._definitions.append(f"{name} = private unnamed_addr constant {contents}, align 1")
        return f"{{ ptr {name}, i64 {len(value)} }}"

    # Stopping

    def stop(self, kind: TrapKind, message: str, file: str) -> str:
        """A function of the line number that stops the program: one for each message and file, so that a
        check costs a compare, a branch and, out of the way, a call with one argument."""
        key = (kind, message, file)
        name = self._stops.get(key)
        if name is None:
            name = self._stops[key] = f'@"macadamia.stop.{len(self._stops)}"'
            self._definitions.append(self._stop_definition(name, kind, message, file))
        return name

    def _stop_definition(self, name: str, kind: TrapKind, message: str, file: str) -> str:
        shown = self._private_text(message), self._private_text(self._shown(file))
        texts = f"{STRING} {shown[0]}, {STRING} {shown[1]}, i32 %line"
        call = []
        if self.target == "jit":
            number = list(TrapKind).index(kind)
            call = [f"  call void {jit.TRAP}(i32 {number}, {texts})"]
        elif self.program.panic_handler is not None:
            call = [f"  call void {self.symbol(self.program.panic_handler)}({texts})"]
        head = f"define internal void {name}(i32 %line) cold noinline noreturn #0 {{"
        return "\n".join([head, *call, "  call void @llvm.trap()", "  unreachable", "}"])

    def _shown(self, file: str) -> str:
        root = self.options.source_root
        return file.removeprefix(root.rstrip("/") + "/") if root else file

    # Functions

    def function(self, function: tree.Function) -> str:
        """The definition of a function."""
        if function.naked:
            return self._naked(function)
        code = Code(self, function, _EXPRESSIONS, statements.TABLE)
        code.run(function.body)
        if code.reachable:
            self._fall_off(code, function)
        return code.text(self._head(code, function))

    def _fall_off(self, code: Code, function: tree.Function) -> None:
        """The end of the body: a return of None, or a trap where the checker has shown none."""
        if llvm_type(function.result) == "void" and function.result != NEVER:
            code.leave("void", function.place)
        else:
            code.do("call void @llvm.trap()", function.place)
            code.finish("unreachable", function.place)

    def _naked(self, function: tree.Function) -> str:
        """A body of assembly only: no frame, no return that is not written."""
        bare = tree.Function(function.symbol, function.place, [], function.result)
        code = Code(self, bare, _EXPRESSIONS, statements.TABLE)
        code.run(function.body)
        if code.reachable:
            code.finish("unreachable", function.place)
        return code.text(self._head(code, function))

    def _head(self, code: Code, function: tree.Function) -> str:
        """The definition up to its brace."""
        linkage, result = "internal", llvm_type(function.result)
        if function.exported is not None or id(function) in self._roots:
            # A caller that LLVM does not see expects a bool in the whole of AL (System V ABI 3.2.3).
            linkage = "zeroext" if result == "i1" else ""
        parameters = ", ".join([llvm_type(local.type) for local in function.parameters])
        signature = f"{linkage} {result} {self.symbol(function)}({parameters})".lstrip()
        scope = "" if code.scope is None else f" !dbg {code.scope.node}"
        return f"define {signature} {self._traits(function)}{scope}"

    def _traits(self, function: tree.Function) -> str:
        traits = ["naked #0" if function.naked else "#0"]
        if function.inline:
            traits.append("alwaysinline")
        if function.noinline or function.naked:
            traits.append("noinline")
        if function.cold:
            traits.append("cold")
        if function.section and self.target != "jit":
            traits.append(f"section {quoted(function.section)}")
        return " ".join(traits)

    # The whole

    def render(self) -> str:
        functions = [self.function(item) for item in self.program.functions if item.callback is None]
        functions += [jit.callback(self, *item) for item in jit.callbacks(self.program)]
        statics = self._statics.definitions() if self.target != "jit" else []
        lines = [f'target datalayout = "{DATA_LAYOUT}"', f'target triple = "{TRIPLES[self.target]}"']
        if self.target == "jit":  # a kernel's boot code has no place in this process
            lines += jit.support(self)
        else:
            texts = [f'\n# 1 "global_asm"\n{text}' for text in (MEMORY, *self.program.assembly)]
            lines += [f'module asm "{escaped(text)}"' for text in texts]
        lines += [*statics, *self._definitions, *functions]
        bare = _BARE if self.target == "bare" else ""
        frame_pointer = f'"frame-pointer"="{_FRAME_POINTER[self.options.profile]}"'
        lines.append(f"attributes #0 = {{ {_COMMON} {frame_pointer}{bare} }}")
        if self.debug:
            lines += self.debug.module_lines()
        lines += [f"!{number} = {text}" for number, text in enumerate(self.metadata)]
        return "\n".join(lines) + "\n"


def emit(program: tree.Program, options: EmitOptions) -> str:
    """LLVM text of the whole program."""
    return Module(program, options).render()
