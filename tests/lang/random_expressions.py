"""Random well-typed expressions of kernel Python, as source text: what the statements of a program hold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from macadamia.lang.types import INTEGERS

BOOL = "bool"
UNSIGNED = ("u8", "u16", "u32", "u64", "u128")
SIGNED = ("i8", "i16", "i32", "i64")
INTEGER_NAMES = (*UNSIGNED, *SIGNED)
DIVISIBLE = tuple(name for name in INTEGER_NAMES if name != "u128")
MEMORY_TYPES = (*INTEGER_NAMES, BOOL)
ARRAY_LENGTH = 8
LOOP_LIMIT = 6
RARE = 25  # what may trap is drawn once in so many times


def same_sign_narrower(name: str) -> list[str]:
    """The types that widen implicitly to `name`, itself included."""
    if name == BOOL:
        return [BOOL]
    family = UNSIGNED if name in UNSIGNED else SIGNED
    return list(family[: family.index(name) + 1])


def numbers(name: str) -> st.SearchStrategy[int]:
    """Values of an integer type, more often those near its ends and near powers of two."""
    kind = INTEGERS[name]
    edges = [kind.minimum, kind.maximum, kind.minimum + 1, kind.maximum - 1, 0, 1, 2, 3, 7, 8, 16, 64]
    edges += [1 << bit for bit in (kind.bits // 2, kind.bits - 2)] + ([-1, -2] if kind.signed else [])
    return st.sampled_from([e for e in edges if kind.holds(e)]) | st.integers(kind.minimum, kind.maximum)


def values(name: str) -> st.SearchStrategy[int | bool]:
    return st.booleans() if name == BOOL else numbers(name)


@dataclass(frozen=True)
class Signature:
    """A function that generated code may call. A parameter is a scalar, `Ptr[T]` or `Ptr[Record]`;
    the result a scalar or `tuple[A, B]`."""

    name: str
    parameters: tuple[str, ...]
    result: str


def target_of(name: str) -> str | None:
    """T of `Ptr[T]`."""
    return name.removeprefix("Ptr[").removesuffix("]") if name.startswith("Ptr[") else None


def items_of(name: str) -> list[str]:
    """The items of a tuple type; of a scalar, itself."""
    return name.removeprefix("tuple[").removesuffix("]").split(", ") if name.startswith("tuple[") else [name]


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    bit_width: int = 0

    @property
    def declaration(self) -> str:
        return f"    {self.name}: {self.type}" + (f" = bits({self.bit_width})" if self.bit_width else "")


@dataclass
class Scope:
    """What a statement can name. `pointers` and `arrays` give the type of the target or element."""

    variables: dict[str, str] = field(default_factory=dict)
    pointers: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, str] = field(default_factory=dict)
    structs: list[str] = field(default_factory=list)
    nullable: list[str] = field(default_factory=list)  # names of type Ptr[Record] | None
    fields: list[Field] = field(default_factory=list)
    functions: list[Signature] = field(default_factory=list)
    loops: int = 0  # how deep in loops
    counters: frozenset[str] = frozenset()  # variables that end a while loop: not to be assigned

    def inner(self) -> Scope:
        """The scope of a nested block: what it introduces is not visible outside."""
        copies = {name: dict(getattr(self, name)) for name in ("variables", "pointers", "arrays")}
        lists = {name: list(getattr(self, name)) for name in ("structs", "nullable", "functions")}
        return replace(self, **copies, **lists)


class ExpressionWriter:
    """Draws source text. `draw` is Hypothesis'; `scope` holds what can be named."""

    def __init__(self, draw: DrawFn, scope: Scope) -> None:
        self.draw = draw
        self.scope = scope
        self.names = 0

    # Choices

    def choose(self, *options: str) -> str:
        return self.draw(st.sampled_from(options))

    def rarely(self) -> bool:
        return self.draw(st.integers(0, RARE)) == RARE

    def integer(self) -> str:
        return self.draw(st.sampled_from(INTEGER_NAMES))

    def any_type(self) -> str:
        return self.draw(st.sampled_from(MEMORY_TYPES))

    def fresh(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    # Expressions: each gives text of exactly the type asked for

    def expression(self, name: str, depth: int) -> str:
        if depth <= 0 or self.draw(st.integers(0, 5)) == 0:
            return self.leaf(name)
        if name == BOOL:
            return self.boolean(depth - 1)
        form = self.choose(
            "binary", "binary", "literal", "unary", "wrap", "convert", "divide", "shift", "extremes",
            "conditional", "bits", "call", "load",
        )  # fmt: skip
        return str(getattr(self, f"{form}_form")(name, depth - 1))

    def assignable(self, name: str, depth: int) -> str:
        """Text of a type that `name` takes without a cast."""
        return self.expression(self.draw(st.sampled_from(same_sign_narrower(name))), depth)

    def leaf(self, name: str) -> str:
        known = [v for v, t in self.scope.variables.items() if t == name]
        if known and self.draw(st.integers(0, 3)):
            return self.draw(st.sampled_from(known))
        others = [v for v, t in self.scope.variables.items() if t in INTEGERS]
        if others and self.draw(st.booleans()):
            other = self.draw(st.sampled_from(others))
            return f"({other} != 0)" if name == BOOL else f"{name}.wrap({other})"
        value = self.draw(values(name))
        return str(value) if name == BOOL else f"{name}({value})"

    def unknown(self, name: str) -> str | None:
        """A variable: the checker refuses constants of which it sees that they trap."""
        known = [v for v, t in self.scope.variables.items() if t == name]
        return self.draw(st.sampled_from(known)) if known else None

    def pair(self, name: str, depth: int) -> tuple[str, str]:
        """Two operands whose common type is `name`."""
        left, right = self.expression(name, depth), self.assignable(name, depth)
        return (left, right) if self.draw(st.booleans()) else (right, left)

    def binary_form(self, name: str, depth: int) -> str:
        left, right = self.pair(name, depth)
        return f"({left} {self.choose('+', '-', '*', '&', '|', '^')} {right})"

    def literal_form(self, name: str, depth: int) -> str:
        literal = self.draw(numbers(name))
        operator = self.choose("+", "-", "*", "&", "|", "^")
        operand = self.expression(name, depth)
        if operator in "&|^" and literal > 0 and self.draw(st.booleans()):
            kind = INTEGERS[name]
            literal = kind.wrap(literal) if kind.signed else max(-literal, -(1 << kind.bits - 1))
        left, right = (operand, f"{literal}") if self.draw(st.booleans()) else (f"{literal}", operand)
        return f"({left} {operator} {right})"

    def unary_form(self, name: str, depth: int) -> str:
        return f"({self.choose('-', '~')}{self.expression(name, depth)})"

    def wrap_form(self, name: str, depth: int) -> str:
        return f"{name}.wrap({self.expression(self.integer(), depth)})"

    def convert_form(self, name: str, depth: int) -> str:
        if self.rarely():
            return f"{name}({self.expression(self.integer(), depth)})"
        if self.draw(st.booleans()):
            return f"{name}({self.expression(BOOL, depth)})"
        return f"{name}({self.expression(self.draw(st.sampled_from(same_sign_narrower(name))), depth)})"

    def divide_form(self, name: str, depth: int) -> str:
        if name == "u128":
            return self.binary_form(name, depth)
        operator = self.choose("//", "%")
        dividend = self.expression(name, depth)
        if self.rarely() and (divisor := self.unknown(name)):
            return f"({dividend} {operator} {divisor})"
        if self.draw(st.booleans()):
            divisor = self.draw(numbers(name).filter(lambda value: value != 0))
            return f"({dividend} {operator} {divisor})"
        return f"({dividend} {operator} ({self.expression(name, depth)} | 1))"

    def shift_form(self, name: str, depth: int) -> str:
        operator = self.choose("<<", ">>")
        width = INTEGERS[name].bits
        amount_type = self.draw(st.sampled_from(UNSIGNED))
        amount = self.expression(amount_type, depth)
        limited = f"({amount} & {width - 1})"
        if not self.rarely():
            literal = str(self.draw(st.integers(0, width - 1)))
            amount = literal if self.draw(st.booleans()) else limited
        return f"({self.expression(name, depth)} {operator} {amount})"

    def extremes_form(self, name: str, depth: int) -> str:
        if self.draw(st.booleans()):
            return f"abs({self.expression(name, depth)})"
        left, right = self.expression(name, depth), self.expression(name, depth)
        return f"{self.choose('min', 'max')}({left}, {right})"

    def conditional_form(self, name: str, depth: int) -> str:
        then, otherwise = self.expression(name, depth), self.expression(name, depth)
        return f"({then} if {self.condition(depth)} else {otherwise})"

    def bits_form(self, name: str, depth: int) -> str:
        value = self.expression(name, depth)
        if name not in UNSIGNED[:4]:
            return f"(~{value})"
        function = self.choose(
            "popcount", "leading_zeros", "trailing_zeros", "byte_swap", "rotate_left", "multiply_high"
        )
        if function == "rotate_left":
            return f"rotate_left({value}, {self.expression('u8', depth)})"
        if function == "multiply_high" or (function == "byte_swap" and name == "u8"):
            return (
                f"multiply_high({value}, {self.expression('u64', depth)})"
                if name == "u64"
                else f"popcount({value})"
            )
        return f"{function}({value})"

    def call_form(self, name: str, depth: int) -> str:
        callable_ = [f for f in self.scope.functions if f.result == name]
        if not callable_:
            return self.leaf(name)
        return self.call(self.draw(st.sampled_from(callable_)), depth)

    def call(self, function: Signature, depth: int) -> str:
        return f"{function.name}({', '.join(self.argument(p, depth - 1) for p in function.parameters)})"

    def argument(self, name: str, depth: int) -> str:
        """What may be passed for a parameter of that type."""
        target = target_of(name)
        if target is None:
            return self.assignable(name, depth)
        if target == "Record":
            return self.draw(st.sampled_from(self.scope.structs))
        places = [
            f"pointer_to({a}[{self.index(depth)}])" for a, t in self.scope.arrays.items() if t == target
        ]
        places += [p for p, t in self.scope.pointers.items() if t == target]
        return self.draw(st.sampled_from(places))

    def load_form(self, name: str, depth: int) -> str:
        place = self.place(name, depth)
        return place if place else self.leaf(name)

    def place(self, name: str, depth: int) -> str | None:
        """Something in memory that holds exactly `name`: array[i], pointer[0] or struct.field."""
        places = [f"{a}[{self.index(depth)}]" for a, t in self.scope.arrays.items() if t == name]
        places += [f"{p}[0]" for p, t in self.scope.pointers.items() if t == name]
        wanted = [f for f in self.scope.fields if f.type == name]
        structs = [*self.scope.structs, *(self.scope.nullable if self.rarely() else ())]
        places += [f"{s}.{f.name}" for s in structs for f in wanted]
        return self.draw(st.sampled_from(places)) if places else None

    def index(self, depth: int) -> str:
        name = self.draw(st.sampled_from(UNSIGNED[:4]))
        value = self.expression(name, min(depth, 1))
        if self.rarely():
            return self.unknown(name) or "0"
        return f"{value} % {ARRAY_LENGTH}"

    def boolean(self, depth: int) -> str:
        form = self.choose(
            "compare", "compare", "chain", "logic", "bit_logic", "not", "member", "call", "load", "select"
        )
        if form in ("call", "load", "select"):
            method = {"call": self.call_form, "load": self.load_form, "select": self.conditional_form}[form]
            return method(BOOL, depth)
        return str(getattr(self, f"{form}_boolean")(depth))

    def comparison(self) -> str:
        return self.choose("<", "<=", ">", ">=", "==", "!=")

    def compare_boolean(self, depth: int) -> str:
        left, right = self.pair(self.integer(), depth)
        return f"({left} {self.comparison()} {right})"

    def chain_boolean(self, depth: int) -> str:
        name = self.integer()
        items = [self.expression(name, depth - 1) for _ in range(3)]
        return f"({items[0]} {self.comparison()} {items[1]} {self.comparison()} {items[2]})"

    def logic_boolean(self, depth: int) -> str:
        return f"({self.expression(BOOL, depth)} {self.choose('and', 'or')} {self.expression(BOOL, depth)})"

    def bit_logic_boolean(self, depth: int) -> str:
        operator = self.choose("&", "|", "^", "==", "!=")
        return f"({self.expression(BOOL, depth)} {operator} {self.expression(BOOL, depth)})"

    def not_boolean(self, depth: int) -> str:
        return f"(not {self.condition(depth)})"

    def member_boolean(self, depth: int) -> str:
        name = self.integer()
        members = ", ".join(str(self.draw(numbers(name))) for _ in range(3))
        return f"({self.expression(name, depth)} {self.choose('in', 'not in')} ({members}))"

    def condition(self, depth: int) -> str:
        """Where a bool or an integer may stand."""
        return self.expression(self.any_type() if self.draw(st.booleans()) else BOOL, depth)
