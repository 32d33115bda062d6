"""The page-table code against a plain model, on the simulated processor, with and without PCID."""

from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from macadamia.lang import memory, u64
from macadamia.lang.definition import definition
from macadamia.lang.jit import jit
from macadamia.lang.memory import Snapshot
from macadamia.machine.addresses import PhysAddr, VirtAddr
from macadamia.machine.hosted.machine import Machine
from macadamia.machine.hosted.memory import RAM_SIZE, RAM_START
from macadamia.machine.hosted.processor import ADDRESS, LARGE, Access, PageFault, read_word
from macadamia.machine.x86_64.address_space import NO_FLUSH, spaces
from macadamia.machine.x86_64.layout import USER_END
from macadamia.machine.x86_64.page_table import ACCESSED, DIRTY, NO_EXECUTE, PRESENT, USER, WRITABLE
from tests.machine import hosted_kernel

SIZES = {1: 1 << 12, 2: 1 << 21, 3: 1 << 30}
PHASES = (
    Phase.explicit,
    Phase.reuse,
    Phase.generate,
)  # a failure is short enough, shrinking it takes minutes
SPACES = hosted_kernel.SPACES
NUMBERS = st.integers(0, SPACES - 1)
# Few places, so that pages of all sizes meet: around boundaries of tables and the end of user space.
BASES = (0, 1 << 30, (1 << 39) - (1 << 30), USER_END & -(1 << 30))
ADDRESSES = st.builds(
    lambda base, middle, small: base + (middle << 21) + (small << 12),
    st.sampled_from(BASES), st.sampled_from((0, 1, 511)), st.sampled_from((0, 1, 510, 511)),
)  # fmt: skip
RIGHTS = st.builds(
    lambda *bits: sum(bits), *(st.sampled_from((0, bit)) for bit in (USER, WRITABLE, NO_EXECUTE))
)
processor_machine = Machine()
clean: list[Snapshot] = []


@cache
def compiled(optimize: int) -> Any:
    return jit(hosted_kernel.PAGING, processor_machine.implementations, optimize=optimize)


def uncompiled() -> Any:
    functions = {f.__name__: definition(f, processor_machine.implementations) for f in hosted_kernel.PAGING}
    return SimpleNamespace(**functions)


WAYS: dict[str, Callable[[], Any]] = {
    "CPython": uncompiled,
    "jit -O0": lambda: compiled(0),
    "jit -O2": lambda: compiled(2),
}


class Paging(RuleBasedStateMachine):
    """Spaces as dicts from page address to (physical, level, rights)."""

    way = "jit -O2"
    pcid = True

    def __init__(self) -> None:
        super().__init__()
        self.code = WAYS[self.way]()
        if not clean:
            clean.append(memory.save())
        memory.restore(clean[0])
        self.processor = processor_machine.processor
        self.processor.tlb.clear()
        self.spaces: list[dict[int, tuple[int, int, int]] | None] = [None] * SPACES
        self.current: int | None = None

    @initialize()
    def start(self) -> None:
        no_flush = NO_FLUSH if self.pcid else 0
        self.code.start_memory(u64(RAM_START), u64(RAM_START + RAM_SIZE), u64(no_flush))
        self.free_frames = self.code.available()
        for number in range(SPACES):
            spaces.last_tag = u64(number % 2)  # the first and the last share a tag
            self.create(number)
        self.load(0)

    @rule(number=NUMBERS)
    def create(self, number: int) -> None:
        if self.spaces[number] is None:
            self.code.create_space(u64(number))
            self.spaces[number] = {}

    @rule(number=NUMBERS, tag=st.integers(0, 3), sure=st.sampled_from((True, False, False, False)))
    def destroy(self, number: int, tag: int, sure: bool) -> None:
        spaces.last_tag = u64(tag)  # as if all other tags had been given since
        if self.spaces[number] is not None and number != self.current and sure:
            self.code.destroy_space(u64(number))
            self.spaces[number] = None
        if not any(space is not None for space in self.spaces):
            assert self.code.available() == self.free_frames

    @rule(number=NUMBERS)
    def load(self, number: int) -> None:
        if self.spaces[number] is not None:
            self.code.load_space(u64(number))
            self.current = number
            self.nothing_is_stale()
            self.processor.load_all()

    @rule(number=NUMBERS, address=ADDRESSES, frame=st.integers(0, 5), level=st.integers(1, 3), rights=RIGHTS)
    def map(self, number: int, address: int, frame: int, level: int, rights: int) -> None:
        space = self.spaces[number]
        if space is None:
            return
        size = SIZES[level]
        address &= -size
        done = self.code.map_page(
            u64(number), VirtAddr(address), PhysAddr(frame * size), u64(level), u64(rights)
        )
        smaller = any(address <= page < address + size and entry[1] < level for page, entry in space.items())
        if address + size > USER_END or (smaller and self.has_table(number, address, level)):
            assert not done
        elif done:
            split(space, address, level)
            for page in [page for page in space if address <= page < address + size]:
                del space[page]
            space[address] = (frame * size, level, rights)
        else:
            assert self.has_table(number, address, level), "map failed for no reason"

    def has_table(self, number: int, address: int, level: int) -> bool:
        """Whether smaller pages were ever mapped below the entry of that level: their tables stay."""
        table = int(hosted_kernel.kernel.spaces[number].root)
        for at in (4, 3, 2, 1):
            entry = read_word(table + 8 * (address >> 12 + 9 * (at - 1) & 511))
            is_table = at > 1 and entry & PRESENT and not entry & LARGE
            if at == level or not is_table:
                return at == level and bool(is_table)
            table = entry & ADDRESS
        return False

    @rule(number=NUMBERS, choice=st.integers(0, 20), size=st.sampled_from((1, 2, 3)))
    def map_over(self, number: int, choice: int, size: int) -> None:
        """Map something else where a page is, read-only."""
        space = self.spaces[number]
        if space:
            page = sorted(space)[choice % len(space)]
            self.map(number, page, choice, size, USER)

    @rule(number=NUMBERS, choice=st.integers(0, 20))
    def unmap_mapped(self, number: int, choice: int) -> None:
        space = self.spaces[number]
        if space:
            self.unmap(number, sorted(space)[choice % len(space)])

    @rule(number=NUMBERS, address=ADDRESSES)
    def unmap(self, number: int, address: int) -> None:
        space = self.spaces[number]
        if space is None:
            return
        old = int(self.code.unmap_page(u64(number), VirtAddr(address)))
        page = page_of(space, address)
        assert bool(old & PRESENT) == (page is not None)
        if page is not None:
            del space[page]

    @precondition(lambda self: self.current is not None)
    @rule(address=ADDRESSES, offset=st.integers(0, 4095), access=st.sampled_from(Access))
    def access(self, address: int, offset: int, access: Access) -> None:
        """The processor sees exactly what the model has."""
        space = self.spaces[self.current]  # type: ignore[index]
        assert space is not None
        page = page_of(space, address)
        wanted = None
        if page is not None:
            physical, _, rights = space[page]
            refused = (access is Access.WRITE and not rights & WRITABLE) or (
                access is Access.FETCH and rights & NO_EXECUTE
            )
            if rights & USER and not refused:
                wanted = physical + address + offset - page
        if wanted is None:
            with pytest.raises(PageFault) as caught:
                self.processor.translate(address + offset, access)
            assert bool(caught.value.error & 1) == (page is not None)
            return
        assert self.processor.translate(address + offset, access) == wanted
        _, entry = self.code.translate(u64(self.current), VirtAddr(address))
        assert int(entry) & ACCESSED
        assert access is not Access.WRITE or int(entry) & DIRTY

    @rule(number=NUMBERS, address=ADDRESSES, offset=st.integers(0, 4095))
    def translate(self, number: int, address: int, offset: int) -> None:
        space = self.spaces[number]
        if space is None:
            return
        physical, entry = self.code.translate(u64(number), VirtAddr(address + offset))
        page = page_of(space, address)
        if page is None:
            assert int(entry) == 0
        else:
            assert int(physical) == space[page][0] + address + offset - page

    @rule()
    def speculate(self) -> None:
        if self.current is not None:
            self.processor.load_all()

    @invariant()
    def nothing_is_stale(self) -> None:
        if self.current is not None:
            assert self.processor.stale() == []


def page_of(space: dict[int, tuple[int, int, int]], address: int) -> int | None:
    """The page of the model that contains `address`."""
    for size in SIZES.values():
        page = address & -size
        if page in space and SIZES[space[page][1]] == size:
            return page
    return None


def split(space: dict[int, tuple[int, int, int]], address: int, level: int) -> None:
    """A smaller page is mapped inside a larger one: it becomes smaller pages first."""
    page = page_of(space, address)
    while page is not None and space[page][1] > level:
        physical, size_level, rights = space.pop(page)
        step = SIZES[size_level - 1]
        space.update({page + i * step: (physical + i * step, size_level - 1, rights) for i in range(512)})
        page = page_of(space, address)


@pytest.fixture
def restored() -> Iterator[None]:
    before = memory.save()
    yield
    memory.restore(before)


@pytest.mark.parametrize("pcid", [True, False], ids=["PCID", "no PCID"])
@pytest.mark.parametrize(
    ("way", "examples", "steps"), [("CPython", 8, 15), ("jit -O0", 60, 40), ("jit -O2", 150, 50)]
)
@pytest.mark.usefixtures("restored")
def test_page_tables_are_what_the_model_says(way: str, examples: int, steps: int, pcid: bool) -> None:
    case = type("Case", (Paging,), {"way": way, "pcid": pcid}).TestCase
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        phases=PHASES,
        deadline=None,
        suppress_health_check=checks,
    )
    case().runTest()


@pytest.mark.usefixtures("restored")
def test_a_new_space_with_the_root_and_tag_of_a_dead_one() -> None:
    case = type("Case", (Paging,), {})()
    case.start()
    spaces.last_tag = u64(6)
    case.destroy(1, tag=6, sure=True)
    case.create(1)
    dead = hosted_kernel.kernel.spaces[1]
    root, tag = int(dead.root), int(dead.tag)
    case.map(1, 0, frame=1, level=1, rights=USER)
    case.load(1)
    case.load(0)
    case.destroy(1, tag=tag - 1, sure=True)
    case.create(1)
    reborn = hosted_kernel.kernel.spaces[1]
    assert (int(reborn.root), int(reborn.tag)) == (root, tag)
    case.load(1)
