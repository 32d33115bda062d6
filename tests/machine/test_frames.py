"""The physical frame allocator against a set of free frames."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macadamia.lang import memory, u64
from macadamia.lang.jit import jit
from macadamia.machine.addresses import PhysAddr
from macadamia.machine.hosted.machine import Machine
from macadamia.machine.hosted.memory import RAM_SIZE, RAM_START
from tests.machine import hosted_kernel

PAGE = 4096
FRAMES = RAM_SIZE // PAGE
RANGES = st.tuples(st.integers(0, RAM_SIZE), st.integers(0, RAM_SIZE)).map(sorted)
code = jit(hosted_kernel.FRAMES, Machine().implementations)
clean = memory.save()


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = memory.save()
    yield
    memory.restore(before)


def whole_frames(ranges: list[list[int]]) -> set[int]:
    """Frames that lie wholly in a range; ranges that overlap are cut."""
    found: set[int] = set()
    for start, end in ranges:
        found |= set(range(-(-start // PAGE), end // PAGE))
    return found


def touched(ranges: list[list[int]]) -> set[int]:
    """Frames of which a range has any byte."""
    found: set[int] = set()
    for start, end in ranges:
        if start < end:
            found |= set(range(start // PAGE, -(-end // PAGE)))
    return found


@given(
    ends=st.lists(st.integers(0, RAM_SIZE), min_size=2, max_size=12).map(sorted),
    reserved=st.lists(RANGES, max_size=5),
    requests=st.lists(st.tuples(st.integers(1, 40), st.integers(12, 16)), max_size=10),
    order=st.randoms(),
)
def test_every_free_frame_is_given_once(ends, reserved, requests, order) -> None:  # type: ignore[no-untyped-def]
    memory.restore(clean)
    ranges = [list(pair) for pair in zip(ends[::2], ends[1::2], strict=False)]
    shuffled = ranges[:]
    order.shuffle(shuffled)
    for start, end in shuffled:
        code.add(u64(RAM_START + start), u64(RAM_START + end))
    for start, end in reserved:
        if start < end:
            code.reserve(u64(RAM_START + start), u64(RAM_START + end))
    free = whole_frames(ranges) - touched(reserved)
    assert code.available() == len(free)
    for count, bits in requests:
        address = int(code.allocate_contiguous(u64(count), u64(1 << bits)))
        if address:
            given_frames = set(range((address - RAM_START) // PAGE, (address - RAM_START) // PAGE + count))
            assert address % (1 << bits) == 0
            assert given_frames <= free
            free -= given_frames
    assert code.available() == len(free)
    drain(free)


def drain(free: set[int]) -> None:
    """Allocate everything one by one, give some back, and allocate them again."""
    taken = []
    while address := int(code.allocate()):
        taken.append((address - RAM_START) // PAGE)
    assert sorted(taken) == sorted(free)
    for frame in taken[::2]:
        code.free(PhysAddr(RAM_START + frame * PAGE))
    assert code.available() == len(taken[::2])
    again = {(int(code.allocate()) - RAM_START) // PAGE for _ in taken[::2]}
    assert again == set(taken[::2])
    assert int(code.allocate()) == 0
