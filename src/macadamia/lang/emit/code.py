"""One function's LLVM text while it is written: instructions, blocks, locations and checks.

Values are operand texts without their type (`%12`, `-1`, `@"name"`). Checks jump to cold blocks at the end
of the function, one for each message and line, so the straight path stays straight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from macadamia.lang import tree
from macadamia.lang.emit.frame import Frame
from macadamia.lang.emit.types import llvm_type
from macadamia.lang.traps import TrapKind

if TYPE_CHECKING:
    from macadamia.lang.emit.module import Module

ExpressionTable = dict[type, Callable[["Code", Any], str]]
StatementTable = dict[type, Callable[["Code", Any], None]]


@dataclass(slots=True)
class Loop:
    """Where `break` and `continue` jump. `broken` tells whether a `break` was met."""

    exit: str
    next: str
    broken: bool = False


class Code:
    """Writes the body of one function. `checked` says whether checks become code."""

    def __init__(
        self,
        module: Module,
        function: tree.Function,
        expressions: ExpressionTable,
        statements: StatementTable,
    ) -> None:
        self.module = module
        self.function = function
        self.checked = module.checked
        self.reachable = True
        self.block = "entry"
        self.loops: list[Loop] = []
        self.frame = Frame(function, shared=module.target == "jit")
        self.slots = self.frame.slots
        self.scope = module.debug.subprogram(function) if module.debug else None
        self._expressions = expressions
        self._statements = statements
        self._lines: list[str] = []
        self._cold: list[str] = []
        self._traps: dict[tuple[str, int], str] = {}
        self._count = len(function.parameters)  # the parameters are %0, %1, ...

    # Instructions

    def emit(self, text: str, place: tree.Place) -> str:
        """Append an instruction with a result; return the operand that names it."""
        self._count = count = self._count + 1
        self._lines.append(f"  %{count} = {text}{self._location(place)}")
        return f"%{count}"

    def do(self, text: str, place: tree.Place) -> None:
        """Append an instruction without a result."""
        self._lines.append(f"  {text}{self._location(place)}")

    def _location(self, place: tree.Place) -> str:
        return "" if self.scope is None else self.scope.location(place)

    def reserve(self, hint: str) -> str:
        """A name for a result that is used in the text before it is defined."""
        self._count += 1
        return f"%{hint}.{self._count}"

    def emit_named(self, name: str, text: str, place: tree.Place) -> None:
        """Append the instruction whose result `reserve` named."""
        self.do(f"{name} = {text}", place)

    def value(self, node: tree.Expression) -> str:
        """Evaluate an expression here; the operand of its result ("" for None)."""
        return self._expressions[node.__class__](self, node)

    def typed(self, node: tree.Expression) -> str:
        """Evaluate; type and operand, as an argument or a stored value is written."""
        value = self.value(node)
        return f"{llvm_type(node.type)} {value}"

    def run(self, statements: Sequence[tree.Statement]) -> None:
        """Write statements up to the first that never completes; what follows it cannot run."""
        table = self._statements
        for statement in statements:
            if not self.reachable:
                return
            table[statement.__class__](self, statement)

    # Blocks

    def label(self, hint: str) -> str:
        self._count += 1
        return f"{hint}.{self._count}"

    def begin(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self.block = label
        self.reachable = True

    def finish(self, text: str, place: tree.Place) -> None:
        """End the block by `text`, a terminator."""
        self.do(text, place)
        self.reachable = False

    def jump(self, label: str, place: tree.Place) -> None:
        """End the block, if it can be reached, by a jump."""
        if self.reachable:
            self.finish(f"br label %{label}", place)

    def branch(self, condition: str, then: str, otherwise: str, place: tree.Place) -> None:
        self.finish(f"br i1 {condition}, label %{then}, label %{otherwise}", place)

    def leave(self, value: str, place: tree.Place) -> None:
        """Return `value`, with its type."""
        self._lines += self.frame.closing()
        self.finish(f"ret {value}", place)

    # Checks

    def require(self, condition: str, kind: TrapKind, place: tree.Place, message: str = "") -> None:
        """Go on if `condition` (an i1 operand) holds, else stop. In every profile."""
        if condition == "true":
            return
        passed = self.label("ok")
        trap = self._trap(kind, message or kind.value, place)
        weights = self.module.unlikely
        self.do(f"br i1 {condition}, label %{passed}, label %{trap}, !prof {weights}", place)
        self.begin(passed)

    def _trap(self, kind: TrapKind, message: str, place: tree.Place) -> str:
        """The cold block that stops with `message`; one for all checks of a line."""
        key = (message, place.line)
        label = self._traps.get(key)
        if label is None:
            label = self._traps[key] = self.label("trap")
            location = self._location(place)
            call = self._stop(kind, message, place)
            self._cold += [f"{label}:", f"  {call}{location}", f"  unreachable{location}"]
        return label

    def stop(self, kind: TrapKind, message: str, place: tree.Place) -> None:
        """Call the panic handler here. The code written after it never runs."""
        self.do(self._stop(kind, message, place), place)

    def _stop(self, kind: TrapKind, message: str, place: tree.Place) -> str:
        return f"call void {self.module.stop(kind, message, place.file)}(i32 {place.line})"

    # The whole

    def text(self, head: str) -> str:
        """The finished definition, after `head` (up to the opening brace)."""
        if self.frame.shared:
            stop = self._stop(TrapKind.BOUNDS, "the stack of local(...) is full", self.function.place)
            self._cold += ["full:", f"  {stop}", "  unreachable"]
        records = self.scope.declare(self.function.parameters, self.frame.slots) if self.scope else []
        return "\n".join([head + " {", *self.frame.opening(), *records, *self._lines, *self._cold, "}"])
