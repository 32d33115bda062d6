"""Inline assembly and naked functions.

Templates and constraints are LLVM's own (`$0`, `${0:P}`, `=r,r,~{memory}`), AT&T syntax. The flags are always
clobbered, as C compilers do for x86: nobody remembers to write them.
"""

from __future__ import annotations

from macadamia.lang import tree
from macadamia.lang.emit.code import Code, ExpressionTable
from macadamia.lang.emit.expressions import to_memory, to_register
from macadamia.lang.emit.types import llvm_type, memory_type, quoted
from macadamia.lang.types import NeverType, NoneType, TupleType

_FLAGS = ("~{dirflag}", "~{fpsr}", "~{flags}")


def assembly(code: Code, node: tree.Assembly) -> str:
    inputs = ", ".join([_input(code, item) for item in node.inputs])
    place = node.place
    texts = f"{_template(node.template, place)}, {_constraints(node.constraints)}"
    target = f"asm sideeffect {texts}({inputs}), !srcloc {code.module.assembly_number()}"
    if isinstance(node.type, NoneType | NeverType):
        code.do(f"call void {target}", place)
        return ""
    if not isinstance(node.type, TupleType):
        result = code.emit(f"call {memory_type(node.type)} {target}", place)
        return to_register(code, node.type, result, place)
    items = node.type.items
    types = f"{{ {', '.join(map(memory_type, items))} }}"
    return _tuple(code, node.type, types, code.emit(f"call {types} {target}", place), place)


def _input(code: Code, item: tree.Expression) -> str:
    if isinstance(item, tree.FunctionAddress):
        return f"ptr {code.module.symbol(item.function)}"  # the symbol itself, not a pointer to it
    value = to_memory(code, item.type, code.value(item), item.place)
    return f"{memory_type(item.type)} {value}"


def _tuple(code: Code, type_: TupleType, types: str, result: str, place: tree.Place) -> str:
    """The results as a tuple of register values (they differ from asm's where there are bools)."""
    wanted = llvm_type(type_)
    if wanted == types:
        return result
    whole = "poison"
    for index, item in enumerate(type_.items):
        part = code.emit(f"extractvalue {types} {result}, {index}", place)
        part = to_register(code, item, part, place)
        whole = code.emit(f"insertvalue {wanted} {whole}, {llvm_type(item)} {part}, {index}", place)
    return whole


def _template(text: str, place: tree.Place) -> str:
    """The template after a line marker, by which LLVM tells the place of an error (backend.py reads it)."""
    marker = f'# {place.line} "{place.file}"'.replace("$", "$$")
    return quoted(f"\n{marker}\n{text}")  # markers are recognised at the start of a line only


def _constraints(text: str) -> str:
    """The written constraints and the flags, each once."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    parts += [flag for flag in _FLAGS if flag not in parts]
    return quoted(",".join(parts))


TABLE: ExpressionTable = {tree.Assembly: assembly}
