"""The mypy plug-in: what mypy has to know of kernel Python beyond its classes.

- A plain `int` is accepted where a sized integer is wanted, and a narrower integer of the same sign where a
  wider one is; signs and opaque integers do not mix, in operators neither.
- `Ptr[S]` of a struct, array or atomic S is S itself, `Ptr[u64]` is a `Pointer[u64]`; `Array[T, N]` is an
  `ArrayView[T]` for whatever N, `Atomic[T]` an `AtomicView[T]`, `Volatile[T]` just T.
- `local(T)`, `static(T)`, `pointer_at(T, a)`, `cast(T, p)`, ... give a pointer to T.

Promotions (mypy's word for "accepted as") live in the TypeInfo of the classes and are kept by mypy's cache:
that of u8 to u16 in `_promote`; that of int to u8 follows from `alt_promote` of u8, which mypy's own native
integers use. So nothing depends on whether a module was read from the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mypy.nodes import CallExpr, ExpressionStmt, FuncDef, IndexExpr, RefExpr, StrExpr, TypeInfo
from mypy.options import Options
from mypy.plugin import (
    AnalyzeTypeContext,
    ClassDefContext,
    FunctionContext,
    MethodContext,
    Plugin,
)
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    LiteralType,
    NoneType,
    Overloaded,
    PlaceholderType,
    ProperType,
    TupleType,
    Type,
    TypeOfAny,
    TypeType,
    TypeVarType,
    UnboundType,
    UninhabitedType,
    UnionType,
    get_proper_type,
)

LANG = "macadamia.lang."
INTEGER = LANG + "integers.Integer"
SIGNED = ("i8", "i16", "i32", "i64")
UNSIGNED = ("u8", "u16", "u32", "u64", "u128")
INTEGERS = {LANG + "integers." + name: name for name in (*SIGNED, *UNSIGNED)}
POINTER = LANG + "pointers.Pointer"
USER_POINTER = LANG + "pointers.UserPointer"
ARRAY_VIEW = LANG + "pointers.ArrayView"
ATOMIC_VIEW = LANG + "pointers.AtomicView"
STRUCT = LANG + "structs.Struct"
PLACES = (STRUCT, ARRAY_VIEW, ATOMIC_VIEW)  # what a name holds is the place, as a pointer is
FORM = LANG + "annotations.Form"
OPAQUE = "macadamia-opaque"  # metadata of an opaque integer's TypeInfo: the name of its base

SHIFTS = ("__lshift__", "__rshift__")
MISSING = ("__truediv__", "__rtruediv__", "__pow__", "__rpow__")
COMPARISONS = ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__")
ARITHMETIC = ("__add__", "__sub__", "__mul__", "__floordiv__", "__mod__", "__and__", "__or__", "__xor__")
OPAQUE_OPERATORS = tuple(name for name in ARITHMETIC if name != "__mul__")


def plugin(_version: str) -> type[Plugin]:
    return KernelPython


class KernelPython(Plugin):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        options.allow_empty_bodies = True  # @interface functions have none; the compiler checks the others

    def get_base_class_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        if fullname == INTEGER:
            return integer_class
        return opaque_class if fullname in INTEGERS else None

    def get_type_analyze_hook(self, fullname: str) -> Callable[[AnalyzeTypeContext], Type] | None:
        return TYPE_FORMS.get(fullname)

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        hook = FUNCTIONS.get(fullname)
        return partial(hook, self.instance) if hook else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        hook = OPERATORS.get(fullname.rpartition(".")[2])  # of any class: opaque integers have any name
        if hook is not None:
            return partial(hook, self.instance)
        if fullname == LANG + "annotations.TypeForm.__getitem__":
            return partial(type_form, self.instance)
        return None

    def instance(self, fullname: str, arguments: list[Type]) -> Instance:
        """A class by its full name, wherever it is used."""
        found = self.lookup_fully_qualified(fullname)
        assert found is not None
        assert isinstance(found.node, TypeInfo)
        return Instance(found.node, arguments)


Maker = Callable[[str, list[Type]], Instance]

# Integers


def integer_class(context: ClassDefContext) -> None:
    """u8 ... i64: accepted from int, to int, and from the narrower ones of the same sign."""
    info = context.cls.info
    name = INTEGERS.get(info.fullname)
    if name is None:
        return
    info.alt_promote = context.api.named_type("builtins.int")
    accept(info.alt_promote.type, info)
    family = SIGNED if name in SIGNED else UNSIGNED
    position = family.index(name)
    if position:
        narrower = context.api.lookup_fully_qualified_or_none(LANG + "integers." + family[position - 1])
        if narrower is not None and isinstance(narrower.node, TypeInfo):
            accept(narrower.node, info)


def accept(given: TypeInfo, wanted: TypeInfo) -> None:
    """Let a `given` be accepted where a `wanted` is."""
    if all(not isinstance(old, Instance) or old.type is not wanted for old in given._promote):
        given._promote.append(Instance(wanted, []))


def opaque_class(context: ClassDefContext) -> None:
    """`class PhysAddr(u64)` has the operators of u64, but is none."""
    info = context.cls.info
    base = info.mro[1]
    if base.fullname not in INTEGERS:
        return
    info.metadata[OPAQUE] = {"base": base.fullname}
    info.bases = list(base.bases)
    info.mro = [info, *base.mro[1:]]


def base_of(type_: Instance) -> str | None:
    """The name of the integer type that represents an opaque integer."""
    for info in type_.type.mro:
        if OPAQUE in info.metadata:
            return str(info.metadata[OPAQUE]["base"])
    return None


def is_integer(type_: ProperType) -> bool:
    return isinstance(type_, Instance) and type_.type.has_base(INTEGER)


def is_literal(type_: ProperType) -> bool:
    """A plain int."""
    if isinstance(type_, LiteralType):
        type_ = type_.fallback
    return isinstance(type_, Instance) and type_.type.fullname == "builtins.int"


def operands(context: MethodContext) -> tuple[Instance, Instance] | None:
    """The two sides of an operator, if one is a sized integer and the other any integer, bool or enum."""
    if not context.arg_types or not context.arg_types[0]:
        return None
    sides = [single(side) for side in (context.type, context.arg_types[0][0])]
    left, right = sides
    if not isinstance(left, Instance) or not isinstance(right, Instance):
        return None
    numbers = all(is_integer(side) or side.type.has_base("builtins.int") for side in (left, right))
    return (left, right) if numbers and (is_integer(left) or is_integer(right)) else None


def single(type_: Type) -> ProperType:
    """`type_` as one class, if it is one; `x if c else 0`, a union for mypy, as the class of x."""
    proper = get_proper_type(type_)
    if isinstance(proper, UnionType):
        typed = [item for item in map(get_proper_type, proper.items) if not is_literal(item)]
        return typed[0] if len(typed) == 1 else proper
    return proper.fallback if isinstance(proper, LiteralType) else proper


def mixing(context: MethodContext, left: Instance, right: Instance) -> Type:
    text = f"{left.type.name} and {right.type.name} do not mix: convert one of them"
    context.api.fail(text, context.context)
    return context.default_return_type


def arithmetic(name: str) -> Callable[[Maker, MethodContext], Type]:
    def hook(instance: Maker, context: MethodContext) -> Type:
        sides = operands(context)
        if sides is None:
            return context.default_return_type
        left, right = sides
        if is_literal(left) and base_of(right) is not None:
            return context.default_return_type  # mypy's own error: an opaque integer is no int
        result = result_of(instance, name, left, right) if is_integer(left) else literal_first(left, right)
        return result or mixing(context, left, right)

    return hook


def result_of(instance: Maker, name: str, left: Instance, right: Instance) -> Type | None:
    """The type of `left name right`, None if they do not mix."""
    base = base_of(left)
    if base is not None and name not in OPAQUE_OPERATORS:
        return None
    if is_literal(right):
        return left
    if not is_integer(right):
        return None
    if right.type is left.type:
        if base is None:
            return left
        return instance(base, []) if name == "__sub__" else None
    wider = wider_of(base or left.type.fullname, right.type.fullname)
    if base is not None:
        return left if wider == base else None
    return instance(wider, []) if wider else None


def wider_of(left: str, right: str) -> str | None:
    """The wider of two integer types of the same sign."""
    names = [INTEGERS.get(left), INTEGERS.get(right)]
    for family in (SIGNED, UNSIGNED):
        if all(name in family for name in names):
            return max(left, right, key=lambda fullname: family.index(INTEGERS[fullname]))
    return None


def literal_first(left: Instance, right: Instance) -> Type | None:
    """`5 - x` has the type of x. A bool or an enum is no literal."""
    return right if is_literal(left) and base_of(right) is None else None


def shift(_instance: Maker, context: MethodContext) -> Type:
    sides = operands(context)
    if sides is None:
        return context.default_return_type
    left, amount = sides
    if not is_integer(left):
        context.api.fail(f"{left.type.name} has no width to shift in: convert it", context.context)
    elif not is_literal(amount) and INTEGERS.get(amount.type.fullname) not in UNSIGNED:
        context.api.fail(f"the amount of a shift is unsigned, not {amount.type.name}", context.context)
    return left


def comparison(_instance: Maker, context: MethodContext) -> Type:
    sides = operands(context)
    if sides is not None and not comparable(*sides):
        return mixing(context, *sides)
    return context.default_return_type


def comparable(left: Instance, right: Instance) -> bool:
    if is_literal(left) or is_literal(right):
        return True
    return left.type is right.type or wider_of(left.type.fullname, right.type.fullname) is not None


def reflected(_instance: Maker, context: MethodContext) -> Type:
    """Tried when the left side has refused: right only for a literal before an integer that is not opaque."""
    sides = operands(context)
    if sides is not None and literal_first(sides[1], sides[0]) is None:
        return mixing(context, *sides)
    return context.default_return_type


def missing(_instance: Maker, context: MethodContext) -> Type:
    """`/` and `**`."""
    if operands(context) is not None:
        context.api.fail("sized integers have no / and **: write // or a shift", context.context)
    return context.default_return_type


OPERATORS: dict[str, Callable[[Maker, MethodContext], Type]] = {
    **{name: arithmetic(name) for name in ARITHMETIC},
    **{"__r" + name[2:]: reflected for name in ARITHMETIC},
    **dict.fromkeys(SHIFTS, shift),
    **dict.fromkeys(MISSING, missing),
    **dict.fromkeys(COMPARISONS, comparison),
}


# Pointers in annotations


def is_place(type_: Type) -> bool:
    """Whether a pointer to `type_` is `type_` itself for mypy."""
    proper = get_proper_type(type_)
    if isinstance(proper, TypeVarType):
        return is_place(proper.upper_bound)
    return isinstance(proper, Instance) and any(proper.type.has_base(name) for name in PLACES)


def analyzed(context: AnalyzeTypeContext, count: int) -> list[Type] | None:
    """The first type argument; of `Array` the length is not a type and may be any expression."""
    if len(context.type.args) != count:
        context.api.fail(f"{context.type.name} takes {count} parameters", context.context)
        return None
    return [context.api.analyze_type(context.type.args[0])]


def pointer_annotation(context: AnalyzeTypeContext) -> Type:
    arguments = analyzed(context, 1)
    if arguments is None:
        return AnyType(TypeOfAny.from_error)
    (target,) = arguments
    proper = get_proper_type(target)
    if isinstance(proper, AnyType | PlaceholderType):
        return target
    if is_place(target) and not names_pointer(context, context.type.args[0]):
        return target
    return context.api.named_type(POINTER, [target])


def names_pointer(context: AnalyzeTypeContext, type_: Type) -> bool:
    """Whether a type is written as `Ptr[...]`: a pointer to a pointer is not a pointer."""
    if isinstance(type_, UnionType):
        return any(names_pointer(context, item) for item in type_.items)
    if not isinstance(type_, UnboundType):
        return False
    found = context.api.lookup_qualified(type_.name, type_)  # type: ignore[attr-defined]
    return found is not None and found.fullname == LANG + "annotations.Ptr"


def generic_annotation(name: str, count: int = 1) -> Callable[[AnalyzeTypeContext], Type]:
    def hook(context: AnalyzeTypeContext) -> Type:
        arguments = analyzed(context, count)
        if arguments is None:
            return AnyType(TypeOfAny.from_error)
        return context.api.named_type(name, arguments)

    return hook


def volatile_annotation(context: AnalyzeTypeContext) -> Type:
    arguments = analyzed(context, 1)
    return arguments[0] if arguments else AnyType(TypeOfAny.from_error)


TYPE_FORMS: dict[str, Callable[[AnalyzeTypeContext], Type]] = {
    LANG + "annotations.Ptr": pointer_annotation,
    LANG + "annotations.UserPtr": generic_annotation(USER_POINTER),
    LANG + "annotations.Array": generic_annotation(ARRAY_VIEW, 2),
    LANG + "annotations.Atomic": generic_annotation(ATOMIC_VIEW),
    LANG + "annotations.Volatile": volatile_annotation,
}


# Types as values: local(u32), cast(Array[u8, 16], p)


def value_type(type_: Type) -> tuple[Type, bool]:
    """The type whose objects a type expression describes, and whether they are pointers (`Ptr[T]`)."""
    proper = get_proper_type(type_)
    if isinstance(proper, Overloaded):
        proper = proper.items[0]
    if isinstance(proper, CallableType) and proper.is_type_obj():
        return proper.ret_type, False
    if isinstance(proper, TypeType):
        return proper.item, False
    if isinstance(proper, Instance) and proper.type.fullname == FORM:
        return proper.args[0], isinstance(get_proper_type(proper.args[1]), NoneType)
    return AnyType(TypeOfAny.special_form), False


def type_form(instance: Maker, context: MethodContext) -> Type:
    """`Array[u8, 16]` as an expression."""
    node = context.context
    form = node.base.fullname if isinstance(node, IndexExpr) and isinstance(node.base, RefExpr) else ""
    key = get_proper_type(context.arg_types[0][0])
    described = key.items[0] if isinstance(key, TupleType) and key.items else key
    target, pointer = value_type(described)
    none: Type = AnyType(TypeOfAny.special_form)
    if form == LANG + "annotations.Ptr":
        result, none = pointer_type(instance, target, pointer=pointer), NoneType()
    elif form == LANG + "annotations.Array":
        result = instance(ARRAY_VIEW, [target])
    elif form == LANG + "annotations.Atomic":
        result = instance(ATOMIC_VIEW, [target])
    elif form == LANG + "annotations.UserPtr":
        result = instance(USER_POINTER, [target])
    else:
        result = target
    return instance(FORM, [result, none])


def pointer_type(instance: Maker, target: Type, *, pointer: bool) -> Type:
    """What mypy takes a pointer to `target` for."""
    if isinstance(get_proper_type(target), AnyType) or (is_place(target) and not pointer):
        return target
    return instance(POINTER, [target])


def new_pointer(instance: Maker, context: FunctionContext) -> Type:
    """`local(T)`, `static(T)`, `constant(T, values)`, `pointer_at(T, address)`."""
    target, pointer = value_type(context.arg_types[0][0])
    return pointer_type(instance, target, pointer=pointer)


def cast_pointer(instance: Maker, context: FunctionContext) -> Type:
    """`cast(T, p)`: a user pointer stays one, and None stays possible."""
    target, pointer = value_type(context.arg_types[0][0])
    given = get_proper_type(context.arg_types[1][0])
    if isinstance(given, Instance) and given.type.fullname == USER_POINTER:
        return instance(USER_POINTER, [target])
    result = pointer_type(instance, target, pointer=pointer)
    nullable = isinstance(given, UnionType) and any(
        isinstance(get_proper_type(item), NoneType) for item in given.items
    )
    return UnionType.make_union([result, NoneType()]) if nullable else result


def new_user_pointer(instance: Maker, context: FunctionContext) -> Type:
    return instance(USER_POINTER, [value_type(context.arg_types[0][0])[0]])


def pointer_to_place(instance: Maker, context: FunctionContext) -> Type:
    """`pointer_to(s.field)`; a nested struct is its pointer. (So is, for mypy, a field that is a pointer.)"""
    return pointer_type(instance, context.arg_types[0][0], pointer=False)


BARE = CallExpr | StrExpr  # what may stand in a function that is nothing but assembly


def assembly(_instance: Maker, context: FunctionContext) -> Type:
    """A function that is nothing but `asm` leaves in its own way: `-> NoReturn` is believed."""
    function = context.api.scope.top_level_function()  # type: ignore[attr-defined]
    statements = function.body.body if isinstance(function, FuncDef) else []
    if not all(isinstance(item, ExpressionStmt) and isinstance(item.expr, BARE) for item in statements):
        return context.default_return_type
    declared = get_proper_type(function.type) if function else None
    result = get_proper_type(declared.ret_type) if isinstance(declared, CallableType) else None
    return result if isinstance(result, UninhabitedType) else context.default_return_type


def assembly_value(_instance: Maker, context: FunctionContext) -> Type:
    """`asm_value(T, ...)` gives a T, or a tuple of them."""
    described = get_proper_type(context.arg_types[0][0])
    if isinstance(described, TupleType):
        items = [value_type(item)[0] for item in described.items]
        return TupleType(items, described.partial_fallback)
    return value_type(described)[0]


def range_of_integers(instance: Maker, context: FunctionContext) -> Type:
    """`range(...)` yields the type of its bounds, u64 if they are literals."""
    result = get_proper_type(context.default_return_type)
    given = [get_proper_type(types[0]) for types in context.arg_types[:1] if types]
    given += [get_proper_type(type_) for types in context.arg_types[:1] for type_ in types[1:2]]
    names = [type_.type.fullname for type_ in given if isinstance(type_, Instance) and is_integer(type_)]
    widest = LANG + "integers.u64" if not names else names[0]
    for name in names[1:]:
        wider = wider_of(widest, name)
        if wider is None:
            context.api.fail("the bounds of range do not mix: convert one of them", context.context)
            return result
        widest = wider
    if not isinstance(result, Instance):
        return result
    return result.copy_modified(args=[instance(widest, [])])


FUNCTIONS: dict[str, Callable[[Maker, FunctionContext], Type]] = {
    **{LANG + "intrinsics." + name: new_pointer for name in ("local", "static", "constant", "pointer_at")},
    LANG + "intrinsics.cast": cast_pointer,
    LANG + "intrinsics.user_pointer_at": new_user_pointer,
    LANG + "intrinsics.pointer_to": pointer_to_place,
    LANG + "intrinsics.asm": assembly,
    LANG + "intrinsics.asm_value": assembly_value,
    LANG + "intrinsics.range": range_of_integers,
}
