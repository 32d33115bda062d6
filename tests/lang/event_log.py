"""A log in kernel memory, for tests of the order in which things are evaluated."""

from typing import Any

from macadamia.lang import Array, static, u32
from tests.lang.three_ways import run_three_ways

log = static(Array[u32, 64])
log_length = static(u32)


def note(value: u32) -> u32:
    """Remember that this was evaluated, and give the value."""
    log[log_length[0]] = value
    log_length[0] += 1
    return value


def truth(value: u32, result: bool) -> bool:
    note(value)
    return result


def logged(function: Any, *arguments: Any) -> list[int]:
    """The order in which a function called `note`."""
    log_length[0] = 0
    run_three_ways(function, *arguments)
    return [int(log[i]) for i in range(log_length[0])]
