"""Every language test runs its function three ways: in CPython, compiled without and with optimisation.

CPython (`definition`) says what is right. Compiled code must give the same value of the same type, leave the
same bytes in every static, and stop for the same reason. Where nothing stops, the release profile must agree
as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from macadamia.lang.definition import definition
from macadamia.lang.emit import Profile
from macadamia.lang.jit import Library, jit
from macadamia.lang.memory import memory
from macadamia.lang.traps import Trap, TrapKind

__all__ = ["TrapKind", "contents", "fill", "jit_levels", "run_three_ways", "trap_three_ways"]

CHECKED_LEVELS: tuple[tuple[Profile, int], ...] = (("checked", 0), ("checked", 2))
RELEASE_LEVELS: tuple[tuple[Profile, int], ...] = (("release", 2),)
STOPS_IN_RELEASE = {TrapKind.DIVISION_BY_ZERO, TrapKind.PANIC}
Function = Callable[..., Any]
Implementations = Mapping[Function, Function] | Sequence[Function]
Bindings = tuple[Any, ...]  # implementations as a key of the cache: functions, or pairs


@dataclass(frozen=True)
class Outcome:
    """What a call did: gave a value or stopped, and what it left in memory."""

    value: Any
    trap: TrapKind | None
    message: str  # of the trap, where the program chose it
    memory: bytes

    def describe(self) -> str:
        return (
            f"stopped: {self.trap} {self.message!r}"
            if self.trap
            else f"gave {self.value!r} ({types(self.value)})"
        )


def run_three_ways(
    function: Function, *arguments: Any, implementations: Implementations = (), same_memory: bool = True
) -> Any:
    """The result of a call, the same every way. AssertionError if it stops or the ways disagree.

    `same_memory=False` is for functions that store texts, whose addresses are not the same.
    """
    expected = by_definition(function, arguments, bindings(implementations))
    assert expected.trap is None, f"{function.__name__}{arguments} {expected.describe()} in CPython"
    for profile, optimize in (*CHECKED_LEVELS, *RELEASE_LEVELS):
        outcome = by_jit(function, arguments, bindings(implementations), profile, optimize)
        agree(function, arguments, expected, outcome, f"{profile} -O{optimize}", same_memory=same_memory)
    return expected.value


def trap_three_ways(
    function: Function, *arguments: Any, implementations: Implementations = (), release: Any = ...
) -> TrapKind:
    """Why a call stops, the same every way. `release` is what it gives in that profile, which goes on."""
    expected = by_definition(function, arguments, bindings(implementations))
    assert expected.trap is not None, f"{function.__name__}{arguments} {expected.describe()} in CPython"
    in_both = expected.trap in STOPS_IN_RELEASE
    for profile, optimize in (*CHECKED_LEVELS, *(RELEASE_LEVELS if in_both else ())):
        outcome = by_jit(function, arguments, bindings(implementations), profile, optimize)
        agree(function, arguments, expected, outcome, f"{profile} -O{optimize}")
    if release is not ...:
        assert not in_both
        outcome = by_jit(function, arguments, bindings(implementations), "release", 2, restore=True)
        assert (outcome.trap, outcome.value) == (None, release), f"{function.__name__}{arguments} in release"
    return expected.trap


def jit_levels(function: Function, *, checked: bool = True) -> Iterator[Function]:
    """`function` compiled at every level; those of the release profile only unless `checked`."""
    for profile, optimize in (*(CHECKED_LEVELS if checked else ()), *RELEASE_LEVELS):
        yield compiled(function, (), profile, optimize)


def bindings(implementations: Implementations) -> Bindings:
    return tuple(implementations.items() if isinstance(implementations, Mapping) else implementations)


def unbound(implementations: Bindings) -> Implementations:
    """What `bindings` was given."""
    if implementations and isinstance(implementations[0], tuple):
        return dict(implementations)
    return implementations


def by_definition(function: Function, arguments: tuple[Any, ...], implementations: Bindings) -> Outcome:
    return outcome_of(definition(function, unbound(implementations)), arguments, restore=True)


def by_jit(
    function: Function,
    arguments: tuple[Any, ...],
    implementations: Bindings,
    profile: Profile,
    optimize: int,
    *,
    restore: bool = False,
) -> Outcome:
    """A call of the compiled function; the last one leaves memory as it made it, for the test to look at."""
    last = (profile, optimize) == RELEASE_LEVELS[-1] and not restore
    return outcome_of(compiled(function, implementations, profile, optimize), arguments, restore=not last)


def compiled(function: Function, implementations: Bindings, profile: Profile, optimize: int) -> Function:
    result: Function = getattr(library(function, implementations, profile, optimize), function.__name__)
    return result


@cache
def library(function: Function, implementations: Bindings, profile: Profile, optimize: int) -> Library:
    return jit([function], unbound(implementations), profile, optimize)


def outcome_of(function: Function, arguments: tuple[Any, ...], *, restore: bool) -> Outcome:
    before = memory.save()
    value, trap, message = None, None, ""
    try:
        value = function(*arguments)
    except Trap as stopped:
        trap = stopped.kind
        message = str(stopped) if trap in (TrapKind.ASSERT, TrapKind.PANIC) else ""
    after = memory.save().statics[: len(before.statics)]
    if restore:
        memory.restore(before)
    return Outcome(value, trap, message, after)


def agree(
    function: Function,
    arguments: tuple[Any, ...],
    expected: Outcome,
    outcome: Outcome,
    way: str,
    *,
    same_memory: bool = True,
) -> None:
    """AssertionError that says what differs and where."""
    call = f"{function.__name__}{arguments} [{way}]"
    difference = f"{call} {outcome.describe()}; CPython {expected.describe()}"
    assert (outcome.trap, outcome.message) == (expected.trap, expected.message), difference
    assert outcome.value == expected.value, difference
    assert types(outcome.value) == types(expected.value), difference
    if same_memory and outcome.memory[: len(expected.memory)] != expected.memory:
        raise AssertionError(f"{call} left other memory than CPython: {first_difference(expected, outcome)}")


def first_difference(expected: Outcome, outcome: Outcome) -> str:
    pairs = zip(expected.memory, outcome.memory, strict=False)
    offset = next(offset for offset, (a, b) in enumerate(pairs) if a != b)
    static = memory.static_at(memory.base + offset)
    place = (
        f"{offset - static.address + memory.base} of {static.type}" if static else f"{offset:#x} of memory"
    )
    wanted, found = (side.memory[offset : offset + 16].hex() for side in (expected, outcome))
    return f"from byte {place}: {found}, not {wanted}"


def types(value: Any) -> str:
    """The type of a result; of a tuple, of its items."""
    if isinstance(value, tuple):
        return f"({', '.join(map(types, value))})"
    return type(value).__name__


def contents(array: Any) -> bytes:
    """The bytes of a static."""
    return memory.bytes_at(array.kernel_address, array.kernel_type.size)


def fill(array: Any, byte: int) -> None:
    """Set every byte of a static."""
    memory.write(array.kernel_address, bytes([byte]) * array.kernel_type.size)
