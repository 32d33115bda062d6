"""Where a function keeps its variables and the memory of `local(T)`.

Variables are stack slots (LLVM makes registers of them). The memory of `local(T)` lies in the machine stack,
but for jit in the stack that CPython's `local` uses: so a Python callable that implements an interface can
be handed a pointer to it.
"""

from __future__ import annotations

from macadamia.lang import tree
from macadamia.lang.emit.types import llvm_type, quoted, slot_type
from macadamia.lang.types import round_up

STACK_TOP = '@"macadamia.stack_top"'  # jit: address of the first free byte of that stack
STACK_END = '@"macadamia.stack_end"'  # jit: where it ends


class Frame:
    """The slots of one function, all known before its body is written. When it is `shared`, the block `full`
    must exist: it stops the program because the shared stack is full."""

    def __init__(self, function: tree.Function, *, shared: bool) -> None:
        self.slots: dict[tree.Local, str] = {}
        self.memory: dict[tree.StackObject, str] = {}
        self._function = function
        self.shared = shared and bool(function.stack)
        self._lines: list[str] = []
        for local in (*function.parameters, *function.locals):
            self.slots[local] = self._allocate(local.name, llvm_type(local.type))
        for item in function.stack:
            name = f"%local.{len(self.memory)}"
            self.memory[item] = name
            if not self.shared:
                alignment = max(1, item.type.alignment)
                self._lines.append(f"  {name} = alloca {slot_type(item.type)}, align {alignment}")
        for index, local in enumerate(function.parameters):
            self._lines.append(f"  store {llvm_type(local.type)} %{index}, ptr {self.slots[local]}")

    def _allocate(self, hint: str, what: str) -> str:
        name = "%" + quoted(f"{hint}.{len(self.slots)}")
        self._lines.append(f"  {name} = alloca {what}")
        return name

    def opening(self) -> list[str]:
        """The text from the start of the function to where its body begins, in the block `entry`."""
        if not self.shared:
            return ["entry:", *self._lines]
        alignment = max(1, *(item.type.alignment for item in self.memory))
        places, size = [], 0
        for item, name in self.memory.items():
            offset = round_up(size, item.type.alignment)
            places.append(f"  {name} = getelementptr i8, ptr %frame, i64 {offset}")
            size = offset + item.type.size
        return [
            "start:",
            *self._lines,
            f"  %stack.top = load i64, ptr {STACK_TOP}",
            f"  %stack.rounded = add i64 %stack.top, {alignment - 1}",
            f"  %stack.frame = and i64 %stack.rounded, {-alignment}",
            f"  %stack.next = add i64 %stack.frame, {size}",
            f"  %stack.end = load i64, ptr {STACK_END}",
            "  %stack.fits = icmp ule i64 %stack.next, %stack.end",
            "  br i1 %stack.fits, label %entry, label %full",
            "entry:",
            f"  store i64 %stack.next, ptr {STACK_TOP}",
            "  %frame = inttoptr i64 %stack.frame to ptr",
            *places,
        ]

    def closing(self) -> list[str]:
        """What gives the memory back, before each return."""
        return [f"  store i64 %stack.top, ptr {STACK_TOP}"] if self.shared else []
