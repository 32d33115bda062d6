"""Random well-typed kernel Python, as Hypothesis strategies that shrink.

Everything is drawn as source text: a program is a module with statics, a random struct, helper functions
that change memory, and functions of typed parameters. `Writer` knows the names and types in scope, so what
it writes is always accepted by the checker; it may well trap, rarely enough that most functions run to
their end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from macadamia.lang.types import INTEGERS
from tests.lang.random_expressions import (
    ARRAY_LENGTH,
    BOOL,
    DIVISIBLE,
    LOOP_LIMIT,
    MEMORY_TYPES,
    ExpressionWriter,
    Field,
    Scope,
    Signature,
    items_of,
    numbers,
    target_of,
    values,
)

HEADER = """\
from macadamia.lang import (
    Array, Ptr, Struct, bits, byte_swap, leading_zeros, local, multiply_high, pointer_to, popcount, range,
    rotate_left, static, trailing_zeros, u8, u16, u32, u64, u128, i8, i16, i32, i64,
)
"""


class Writer(ExpressionWriter):
    """Draws statements and functions."""

    # Statements: each gives lines without the indentation of the block they stand in

    def block(self, depth: int, length: int = 3) -> list[str]:
        """One or more statements; the last may leave the block."""
        lines: list[str] = []
        for _ in range(self.draw(st.integers(1, length))):
            lines += self.statement(depth)
        if self.scope.loops and self.draw(st.integers(0, 6)) == 0:
            lines.append(self.choose("break", "continue"))
        return lines

    def nested(self, depth: int, *, loop: bool = False, counter: str | None = None) -> list[str]:
        """An indented block with a scope of its own."""
        outer = self.scope
        self.scope = outer.inner()
        if loop:
            self.scope.loops += 1
        if counter:
            self.scope.counters |= {counter}
        lines = self.block(depth)
        self.scope = outer
        return ["    " + line for line in lines]

    def statement(self, depth: int) -> list[str]:
        simple = ("declare", "declare", "assign", "assign", "augment", "store", "store", "swap", "tuple")
        forms = (
            simple
            if depth <= 0
            else (*simple, "if", "if", "for", "for", "while", "match", "memory", "assert")
        )
        return list(getattr(self, f"{self.choose(*forms)}_statement")(depth))

    def declare_statement(self, depth: int) -> list[str]:
        name, variable = self.any_type(), self.fresh("v")
        if self.draw(st.booleans()):
            line = f"{variable} = {self.expression(name, depth + 1)}"
        else:
            line = f"{variable}: {name} = {self.assignable(name, depth + 1)}"
        self.scope.variables[variable] = name
        return [line]

    def assignable_variables(self) -> list[str]:
        return [v for v in self.scope.variables if v not in self.scope.counters]

    def assign_statement(self, depth: int) -> list[str]:
        known = self.assignable_variables()
        if not known:
            return self.declare_statement(depth)
        variable = self.draw(st.sampled_from(known))
        return [f"{variable} = {self.expression(self.scope.variables[variable], depth + 1)}"]

    def augment_statement(self, depth: int) -> list[str]:
        name = self.integer()
        targets = [v for v in self.assignable_variables() if self.scope.variables[v] == name]
        place = self.place(name, 1)
        if place and not self.is_bit_field(place):
            targets.append(place)
        if not targets:
            return self.declare_statement(depth)
        target = self.draw(st.sampled_from(targets))
        operator = self.choose("+", "-", "*", "&", "|", "^", "<<", ">>", "//", "%")
        if operator in ("<<", ">>"):
            return [f"{target} {operator}= {self.draw(st.integers(0, INTEGERS[name].bits - 1))}"]
        if operator in ("//", "%") and name != "u128":
            return [f"{target} {operator}= {self.expression(name, depth)} | 1"]
        return [
            f"{target} {operator if operator not in ('//', '%') else '^'}= {self.assignable(name, depth)}"
        ]

    def is_bit_field(self, place: str) -> bool:
        return any(f.bit_width and place.endswith("." + f.name) for f in self.scope.fields)

    def store_statement(self, depth: int) -> list[str]:
        if self.scope.structs and self.scope.fields and self.draw(st.booleans()):
            return self.store_field(depth)
        name = self.any_type()
        place = self.place(name, depth)
        if place is None or self.is_bit_field(place):
            return self.declare_statement(depth)
        return [f"{place} = {self.assignable(name, depth + 1)}"]

    def store_field(self, depth: int) -> list[str]:
        struct, item = (
            self.draw(st.sampled_from(self.scope.structs)),
            self.draw(st.sampled_from(self.scope.fields)),
        )
        return [f"{struct}.{item.name} = {self.assignable(item.type, depth + 1)}"]

    def swap_statement(self, depth: int) -> list[str]:
        name = self.any_type()
        known = [v for v in self.assignable_variables() if self.scope.variables[v] == name]
        place = self.place(name, 1)
        if place and not self.is_bit_field(place):
            known.append(place)
        if len(known) < 2:
            return self.declare_statement(depth)
        a, b = self.draw(st.permutations(known))[:2]
        return [f"{a}, {b} = {b}, {a}"]

    def tuple_statement(self, depth: int) -> list[str]:
        with_two = [f for f in self.scope.functions if len(items_of(f.result)) == 2]
        if with_two and self.draw(st.booleans()):
            function = self.draw(st.sampled_from(with_two))
            variables = [self.fresh("v"), self.fresh("v")]
            call = self.call(function, depth)
            self.scope.variables |= dict(zip(variables, items_of(function.result), strict=True))
            return [f"{', '.join(variables)} = {call}"]
        names = [self.any_type(), self.any_type()]
        values_ = [self.expression(name, depth) for name in names]
        variables = [self.fresh("v"), self.fresh("v")]
        self.scope.variables |= dict(zip(variables, names, strict=True))
        if names[0] in DIVISIBLE and names[0] == names[1] and self.draw(st.booleans()):
            return [f"{', '.join(variables)} = divmod({values_[0]}, {values_[1]} | 1)"]
        return [f"{', '.join(variables)} = {', '.join(values_)}"]

    def if_statement(self, depth: int) -> list[str]:
        lines = [f"if {self.condition(depth)}:", *self.nested(depth - 1)]
        if self.draw(st.integers(0, 3)) == 0:
            lines += [f"elif {self.condition(depth)}:", *self.nested(depth - 1)]
        if self.draw(st.booleans()):
            lines += ["else:", *self.nested(depth - 1)]
        return lines

    def for_statement(self, depth: int) -> list[str]:
        name, variable = self.integer(), self.fresh("k")
        header = f"for {variable} in {self.bounded_range(name, depth)}:"
        if self.draw(st.integers(0, 4)) == 0 and self.scope.arrays:
            array = self.draw(st.sampled_from(sorted(self.scope.arrays)))
            name, header = self.scope.arrays[array], f"for {variable} in {array}:"
        outer = self.scope
        self.scope = outer.inner()
        self.scope.variables[variable] = name
        body = self.nested(depth - 1, loop=True)
        self.scope = outer
        return [header, *body]

    def bounded_range(self, name: str, depth: int) -> str:
        """A range of at most LOOP_LIMIT values, often near an end of its type."""
        kind = INTEGERS[name]
        if self.draw(st.booleans()):
            return f"range({self.expression(name, depth)} & 7)"
        step = self.draw(
            st.integers(-kind.maximum if kind.signed else -3, 3).filter(lambda s: s != 0) | st.just(1)
        )
        count = self.draw(st.integers(0, LOOP_LIMIT))
        start = self.draw(numbers(name))
        stop = min(max(start + count * step, kind.minimum), kind.maximum)
        return f"range({name}({start}), {name}({stop}), {step})"

    def while_statement(self, depth: int) -> list[str]:
        counter = self.fresh("n")
        self.scope.variables[counter] = "u8"
        limit = self.draw(st.integers(1, LOOP_LIMIT))
        test = f"{counter} < {limit}" + (
            f" and {self.expression(BOOL, depth)}" if self.draw(st.booleans()) else ""
        )
        body = self.nested(depth - 1, loop=True, counter=counter)
        return [f"{counter} = u8(0)", f"while {test}:", f"    {counter} += 1", *body]

    def match_statement(self, depth: int) -> list[str]:
        name = self.integer()
        count = self.draw(st.integers(1, 5))
        if self.draw(st.booleans()):
            keys = [*range(count)]
        else:
            keys = self.draw(st.lists(numbers(name), min_size=count, max_size=count, unique=True))
        lines = [f"match {self.expression(name, depth)}:"]
        for key in keys:
            guard = f" if {self.expression(BOOL, depth - 1)}" if self.draw(st.integers(0, 4)) == 0 else ""
            lines += [f"    case {key}{guard}:", *("    " + line for line in self.nested(depth - 1))]
        if self.draw(st.booleans()):
            lines += ["    case _:", *("    " + line for line in self.nested(depth - 1))]
        return lines

    def memory_statement(self, depth: int) -> list[str]:
        """New memory on the stack, or another pointer into what there is."""
        name = self.any_type()
        variable = self.fresh("m")
        form = self.choose("array", "scalar", "struct", "pointer", "link", "function")
        if form == "link" and self.scope.structs:
            return self.link()
        if form == "function" and self.scope.functions:
            function = self.draw(st.sampled_from(self.scope.functions))
            self.scope.functions.append(replace(function, name=variable))
            return [f"{variable} = {function.name}"]
        if form == "array":
            self.scope.arrays[variable] = name
            return [f"{variable} = local(Array[{name}, {ARRAY_LENGTH}])"]
        if form == "struct" and self.scope.structs:
            self.scope.structs.append(variable)
            return [f"{variable} = local(Record)"]
        array = next((a for a, t in self.scope.arrays.items() if t == name), None)
        value = f"local({name})"
        if form == "pointer" and array:
            value = f"pointer_to({array}[{self.index(depth)}])"
        self.scope.pointers[variable] = name
        return [f"{variable} = {value}"]

    def link(self) -> list[str]:
        """Set or follow a pointer that may be None, and use what it points to if it is not."""
        struct, variable = self.draw(st.sampled_from(self.scope.structs)), self.fresh("q")
        if self.draw(st.booleans()):
            target = self.draw(st.sampled_from([*self.scope.structs, *self.scope.nullable, "None"]))
            return [f"{struct}.next = {target}"]
        self.scope.nullable.append(variable)
        item = self.draw(st.sampled_from(self.scope.fields))
        use = f"{variable}.{item.name} = {self.assignable(item.type, 1)}"
        test = self.choose(f"{variable} is not None", variable, f"{variable} == {struct}")
        return [f"{variable} = {struct}.next", f"if {test}:", f"    {use}"]

    def assert_statement(self, depth: int) -> list[str]:
        if self.rarely():
            return [f'assert {self.condition(depth)}, "random"']
        return [f"if {self.condition(depth)}:", f"    return {self.result()}"]

    def result(self) -> str:
        return ", ".join(self.expression(name, 1) for name in items_of(self.result_type))

    result_type: str = BOOL

    def function(self, signature: Signature, depth: int, length: int) -> list[str]:
        """A whole function, and its parameters p0, p1, ... in scope of its body."""
        self.scope = self.scope.inner()
        parameters = {f"p{i}": name for i, name in enumerate(signature.parameters)}
        for parameter, name in parameters.items():
            target = target_of(name)
            if target is None:
                self.scope.variables[parameter] = name
            elif target == "Record":
                self.scope.structs.append(parameter)
            else:
                self.scope.pointers[parameter] = target
        self.result_type = signature.result
        declared = ", ".join(f"{p}: {name}" for p, name in parameters.items())
        body = self.block(depth, length) if length else []
        results = [self.expression(name, depth + 1) for name in items_of(signature.result)]
        body.append(f"return {', '.join(results)}")
        return [f"def {signature.name}({declared}) -> {signature.result}:", *("    " + line for line in body)]


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple[int | bool, ...]


@dataclass(frozen=True)
class Program:
    """Source of a module, and calls to make in it, in order."""

    source: str
    calls: tuple[Call, ...]

    @property
    def functions(self) -> list[str]:
        return sorted({call.function for call in self.calls})


@st.composite
def signatures(draw: DrawFn, name: str, most: int = 4) -> Signature:
    types = st.sampled_from(MEMORY_TYPES)
    return Signature(name, tuple(draw(st.lists(types, min_size=1, max_size=most))), draw(types))


@st.composite
def helper_signatures(draw: DrawFn, name: str, array_types: list[str]) -> Signature:
    """Of a function that is called by others: it may take pointers, and give two results."""
    pointers = [f"Ptr[{target}]" for target in (*array_types, "Record")]
    types = st.sampled_from(MEMORY_TYPES) | st.sampled_from(pointers)
    results = draw(st.lists(st.sampled_from(MEMORY_TYPES), min_size=1, max_size=2))
    result = results[0] if len(results) == 1 else f"tuple[{', '.join(results)}]"
    return Signature(name, tuple(draw(st.lists(types, max_size=3))), result)


@st.composite
def calls_of(draw: DrawFn, functions: list[Signature], each: int) -> tuple[Call, ...]:
    calls = []
    for function in functions:
        for _ in range(each):
            calls.append(Call(function.name, tuple(draw(values(name)) for name in function.parameters)))
    return tuple(calls)


@st.composite
def expression_programs(draw: DrawFn, count: int = 8) -> Program:
    """Functions that are one expression each."""
    functions = [draw(signatures(f"f{i}")) for i in range(count)]
    lines = [HEADER]
    for function in functions:
        lines += ["", *Writer(draw, Scope()).function(function, 4, 0)]
    return Program("\n".join(lines) + "\n", draw(calls_of(functions, 4)))


@st.composite
def record_fields(draw: DrawFn) -> list[Field]:
    fields = []
    for i in range(draw(st.integers(1, 6))):
        name = draw(st.sampled_from(MEMORY_TYPES))
        width = draw(st.integers(1, INTEGERS[name].bits)) if name in INTEGERS and name != "u128" else 1
        bit_field = name != "u128" and draw(st.booleans())
        fields.append(Field(f"x{i}", name, width if bit_field else 0))
    return fields


@st.composite
def whole_programs(draw: DrawFn, count: int = 3) -> Program:
    """Helpers and functions with loops, branches, memory, structs and pointers."""
    fields = draw(record_fields())
    array_types = draw(st.lists(st.sampled_from(MEMORY_TYPES), min_size=1, max_size=3, unique=True))
    lines = [HEADER, "", "class Record(Struct):", *(item.declaration for item in fields)]
    lines += ['    next: Ptr["Record"] | None', ""]
    lines.append("record = static(Record)")
    for name in array_types:
        initial = draw(st.lists(values(name), min_size=ARRAY_LENGTH, max_size=ARRAY_LENGTH))
        lines.append(f"array_{name} = static(Array[{name}, {ARRAY_LENGTH}], {initial})")
    scope = Scope(arrays={f"array_{name}": name for name in array_types}, structs=["record"], fields=fields)
    helpers = [draw(helper_signatures(f"helper{i}", array_types)) for i in range(3)]
    functions = [draw(signatures(f"f{i}")) for i in range(count)]
    for function in helpers:
        lines += ["", *Writer(draw, scope).function(function, 1, 2)]
        scope.functions.append(function)
    for function in functions:
        lines += ["", *Writer(draw, scope).function(function, 2, 5)]
    return Program("\n".join(lines) + "\n", draw(calls_of(functions, 3)))
