"""The real mapping code against the model of what it means, step by step.

After every step: each space reaches exactly the pages that the model says, with its rights; all rules of
the tree hold; no table or node is left over; the TLB holds nothing that the page tables do not give.
Operations are preempted at random and run again; kernel memory runs out at random. Status bits are exact
while all pages are 4 KiB; a large page tells of accesses to any part of it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, multiple, rule

from macadamia.abi.l4.fpages import Fpage
from macadamia.kernels.l4.kernel_memory import kernel_memory
from macadamia.kernels.l4.mapping import Outcome
from macadamia.lang import u64
from macadamia.lang.emit import Profile
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, VirtAddr
from macadamia.machine.x86_64.page_table import NO_EXECUTE, WRITABLE
from tests.kernels.l4 import simulated
from tests.kernels.l4.mapping_model import (
    ACCESSED,
    DIRTY,
    EXECUTE,
    LARGE_PAGE,
    PAGE,
    WRITE,
    Model,
    Page,
    Space,
)
from tests.kernels.l4.simulated import (
    KIP,
    PHYSICAL_END,
    POOL,
    POOL_SIZE,
    MapRequest,
    UnmapRequest,
    check_structure,
    fpage,
    library,
    preemption,
    processor,
    reset,
)

REGIONS = (0x40_0000, 0x60_0000)  # where everything happens: 2 MiB each
UTCB_AREA = (0x7F_0000, 0x7F_8000)
KIP_AREA = (0x7F_F000, 0x80_0000)
SIZES = (PAGE, 16 * PAGE, LARGE_PAGE, 2 * LARGE_PAGE)

Reach = dict[int, tuple[int, int]]
"""Frame and rights of each 4 KiB page of a space."""

sizes = st.sampled_from(SIZES)
offsets = st.sampled_from((0, 1, 2, 15, 16, 17, 256, 495, 496, 504, 511))
rights = st.integers(0, 7)
preempt = st.sampled_from((0, 0, 0, 1, 2, 7))


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    """An address and a size that divides it."""
    size = draw(sizes)
    address = draw(st.sampled_from(REGIONS)) + draw(offsets) * PAGE
    return address & -size, size


class Pair:
    """A real space and the model's."""

    def __init__(self, *, sigma0: bool = False) -> None:
        self.real = simulated.new_space(sigma0=sigma0)
        self.model = Space(sigma0)
        self.utcbs: list[int] = []

    def reach_of_model(self) -> Reach:
        return {page.address: (page.frame, page.rights) for page in self.model.pages.values()}


class MappingMachine(RuleBasedStateMachine):
    spaces: Bundle[Any] = Bundle("spaces")
    largest_level = 2
    profile: Profile = "checked"

    @initialize(target=spaces)
    def start(self) -> Any:
        simulated.choice.profile = self.profile
        self.free = reset(largest_level=self.largest_level)
        self.model = Model(self.largest_level > 1, (POOL, POOL + POOL_SIZE), PHYSICAL_END)
        self.hoard: list[PhysAddr] = []
        self.live = [Pair(sigma0=True), Pair(), Pair()]
        return multiple(*self.live)

    # Rules

    @rule(target=spaces, areas=st.booleans())
    def create(self, areas: bool) -> Any:
        if len(self.live) >= 5:
            return multiple()
        pair = Pair()
        self.live.append(pair)
        if areas:
            self.set_areas(pair)
        return pair

    @rule(pair=spaces)
    def set_areas(self, pair: Pair) -> None:
        if pair.utcbs:
            return
        kip, utcb = (Fpage(fpage(start, end - start)) for start, end in (KIP_AREA, UTCB_AREA))
        assert pair.real.area_error(kip, utcb) == 0
        outcome = simulated.repeat(lambda: library().set_areas(pair.real, kip, utcb, PhysAddr(KIP)))
        assert outcome == Outcome.DONE
        for start, end in (KIP_AREA, UTCB_AREA):
            self.model.unmap(pair.model, start, end - start, 7, flush=True)
        pair.model.areas = [KIP_AREA, UTCB_AREA]
        self.check()

    @rule(pair=spaces, number=st.integers(0, 31))
    def hold_utcb(self, pair: Pair, number: int) -> None:
        if not pair.model.areas:
            return
        address = UTCB_AREA[0] + number * 1024
        assert library().hold_utcb(pair.real, VirtAddr(address)) is not None
        pair.utcbs.append(address)
        self.check()

    @rule(pair=spaces)
    def drop_utcb(self, pair: Pair) -> None:
        if pair.utcbs:
            library().drop_utcb(pair.real, VirtAddr(pair.utcbs.pop()))
            self.check()

    @rule(
        sender=spaces, receiver=spaces, source=places(), window=places(), whole=st.booleans(), base=offsets,
        wanted=rights, grant=st.booleans(), preempt=preempt, memory_left=st.none() | st.integers(0, 12),
    )  # fmt: skip
    def transfer(
        self, sender: Pair, receiver: Pair, source: tuple[int, int], window: tuple[int, int], whole: bool,
        base: int, wanted: int, grant: bool, preempt: int, memory_left: int | None,
    ) -> None:  # fmt: skip
        """A map or grant item."""
        (start, size), (target, window_size) = source, window
        base_address = REGIONS[0] + base * PAGE
        if whole:
            receive, landing = simulated.WHOLE_WINDOW, base_address & -size
        else:
            receive, landing = fpage(target, window_size), target + (base_address % window_size & -size)
            if size > window_size:
                start, landing = start + (base_address % size & -window_size), target
        before = self.reach_of_model()
        action = self.model.grant if grant else self.model.map
        moved = size if whole else min(size, window_size)
        action(sender.model, receiver.model, start, landing, moved, wanted)
        request = MapRequest(sender.real, receiver.real, fpage(*source, wanted), receive, base_address, grant)
        preemption.every = u64(preempt)
        self.leave(memory_left)
        outcome = request.finish()
        if outcome == Outcome.OUT_OF_MEMORY:
            assert memory_left is not None
            self.check_within(before, receiver, before[self.live.index(sender)])
            self.leave(None)
            outcome = request.finish()
        self.leave(None)
        assert outcome == Outcome.DONE
        preemption.every = u64(0)
        self.check()

    @rule(
        pair=spaces, place=places(), revoked=rights | st.just(7), flush=st.booleans(), preempt=preempt,
        memory_left=st.none() | st.none() | st.integers(0, 12),
    )  # fmt: skip
    def unmap(
        self, pair: Pair, place: tuple[int, int], revoked: int, flush: bool, preempt: int,
        memory_left: int | None,
    ) -> None:  # fmt: skip
        before = self.reach_of_model()
        expected = self.model.unmap(pair.model, *place, revoked, flush=flush)
        preemption.every = u64(preempt)
        self.leave(memory_left)
        status = UnmapRequest(pair.real, fpage(*place, revoked), flush).finish()
        self.leave(None)
        preemption.every = u64(0)
        wanted = (5 if expected & ACCESSED else 0) | (6 if expected & DIRTY else 0)
        assert status & wanted == wanted
        if self.largest_level == 1:
            assert status == wanted
        if memory_left is not None:
            self.check_within(before)
            self.adopt()
        self.check()

    @rule(pair=spaces, place=places(), write=st.booleans(), execute=st.booleans())
    def access(self, pair: Pair, place: tuple[int, int], write: bool, execute: bool) -> None:
        """A user touches an address, and some pages that are there."""
        library().load_space(pair.real)
        mapped = sorted(pair.model.pages)
        some = mapped[:4] + mapped[:: len(mapped) // 16 + 1]
        for address in {place[0], *some}:
            page = pair.model.pages.get(address)
            reached = processor.access(address, write=write, execute=execute)
            if pair.model.skips(address):
                continue
            needed = (WRITE if write else 0) | (EXECUTE if execute else 0)
            if page is None or needed & ~page.rights:
                assert reached is None
            else:
                assert reached == page.frame
                page.touch(ACCESSED | (DIRTY if write else 0))

    @rule(pair=consumes(spaces), preempt=preempt)
    def delete(self, pair: Pair, preempt: int) -> None:
        if pair.model.sigma0:
            return
        library().load_space(self.live[0].real)
        for address in pair.utcbs:
            library().drop_utcb(pair.real, VirtAddr(address))
        preemption.every = u64(preempt)
        self.live.remove(pair)
        simulated.delete(pair.real)
        preemption.every = u64(0)
        self.model.delete(pair.model)
        self.check()

    def teardown(self) -> None:
        """Everything comes back."""
        if not hasattr(self, "live"):
            return
        processor.cr3 = simulated.KERNEL_ROOT
        simulated.spaces.current = None
        preemption.every = u64(0)
        self.leave(None)
        for pair in self.live:
            for address in pair.utcbs:
                library().drop_utcb(pair.real, VirtAddr(address))
            simulated.delete(pair.real)
        check_structure([])
        assert kernel_memory.free_pages == self.free
        simulated.choice.profile = "checked"

    # Checks

    def leave(self, pages: int | None) -> None:
        """Let kernel memory have no more than so many free pages; None: all that there are."""
        while self.hoard:
            library().give_page(self.hoard.pop())
        while pages is not None and kernel_memory.free_pages > pages:
            self.hoard.append(library().take_page())

    def check(self) -> None:
        found = check_structure([pair.real for pair in self.live], utcb_pages=8)
        for pair in self.live:
            real = self.reach(found[pair.real.kernel_address])
            expected = pair.reach_of_model()
            assert real == expected, difference(real, expected)

    def reach(self, leaves: list[simulated.Leaf]) -> Reach:
        """What is mapped, other than pages of the kernel."""
        result: Reach = {}
        for leaf in leaves:
            if leaf.word >= PAGE_SIZE:
                given = (WRITE if leaf.entry & WRITABLE else 0) | (0 if leaf.entry & NO_EXECUTE else EXECUTE)
                for offset in range(0, leaf.size, PAGE):
                    result[leaf.address + offset] = leaf.frame + offset, given
        return result

    def reach_of_model(self) -> list[Reach]:
        return [pair.reach_of_model() for pair in self.live]

    def check_within(
        self, before: list[Reach], receiver: Pair | None = None, sent: Reach | None = None
    ) -> None:
        """After an operation that stopped half-way: nobody has what he had neither before nor is to have.

        Only the receiver of `sent` may have something of that, which the rest of the operation replaces.
        """
        found = check_structure([pair.real for pair in self.live], utcb_pages=8)
        for pair, old, new in zip(self.live, before, self.reach_of_model(), strict=True):
            for address, (frame, given) in self.reach(found[pair.real.kernel_address]).items():
                known = [old.get(address), new.get(address)]
                known += [(address, WRITE | EXECUTE)] if pair.model.sigma0 else []
                known += (sent or {}).values() if pair is receiver else []
                allowed = [item for item in known if item and item[0] == frame]
                assert allowed, f"{address:#x} maps {frame:#x}"
                assert any(given & ~item[1] == 0 for item in allowed)

    def adopt(self) -> None:
        """Without memory for a split Unmap may take more than asked: let the model forget that, too."""
        found = check_structure([pair.real for pair in self.live], utcb_pages=8)
        for pair in self.live:
            real = self.reach(found[pair.real.kernel_address])
            for page in list(pair.model.pages.values()):
                if page.address not in real:
                    forget(page)
                else:
                    assert real[page.address][1] & ~page.rights == 0
                    page.rights = real[page.address][1]


def forget(page: Page) -> None:
    del page.space.pages[page.address]
    if page.parent is not None:
        page.parent.children.remove(page)
    for child in page.children:
        child.parent = None


def difference(real: Reach, expected: Reach) -> str:
    """The first page that is not as it should be."""
    for address in sorted(real.keys() | expected.keys()):
        if real.get(address) != expected.get(address):
            return f"{address:#x}: {real.get(address)}, not {expected.get(address)}"
    return ""


class SmallPagesMachine(MappingMachine):
    """Only 4 KiB pages: status bits are exact."""

    largest_level = 1


class ReleaseMachine(MappingMachine):
    """The code as it is shipped."""

    profile = "release"


TestMapping = MappingMachine.TestCase
TestSmallPages = SmallPagesMachine.TestCase
TestRelease = ReleaseMachine.TestCase

for kind in (TestMapping, TestSmallPages, TestRelease):
    kind.settings = settings(stateful_step_count=30)
del kind  # else pytest takes it for one more test
