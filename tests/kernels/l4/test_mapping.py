"""Map, grant and unmap on simulated memory: each rule by itself, checked and release."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from macadamia.abi.l4.errors import CallError
from macadamia.abi.l4.fpages import Fpage
from macadamia.kernels.l4.kernel_memory import kernel_memory
from macadamia.kernels.l4.mapping import Outcome, mappings
from macadamia.lang import u64
from macadamia.machine.addresses import PhysAddr, VirtAddr
from macadamia.machine.x86_64.page_table import NO_EXECUTE, WRITABLE
from tests.kernels.l4.simulated import (
    KIP,
    PHYSICAL_END,
    POOL,
    WHOLE_WINDOW,
    MapRequest,
    UnmapRequest,
    check_structure,
    choice,
    delete,
    find_leaf,
    fpage,
    library,
    map_pages,
    new_space,
    preemption,
    processor,
    repeat,
    reset,
    spaces,
    unmap_pages,
)

PAGE, LARGE, HUGE = 1 << 12, 1 << 21, 1 << 30
RWX, RW, RX, R, W, X = 7, 6, 5, 4, 2, 1
FRAME = 0x40_0000  # of sigma0: user memory begins here


class World:
    """sigma0 and a few spaces."""

    def __init__(self) -> None:
        self.free = reset()
        self.sigma0 = new_space(sigma0=True)
        self.a, self.b, self.c = (new_space() for _ in range(3))
        self.all = [self.sigma0, self.a, self.b, self.c]

    def rights(self, space: Any, address: int) -> int:
        """What a space may do at an address; 0 = nothing."""
        leaf = find_leaf(int(space.root), address)
        if leaf is None:
            return 0
        return R | (W if leaf.entry & WRITABLE else 0) | (0 if leaf.entry & NO_EXECUTE else X)

    def frame(self, space: Any, address: int) -> int | None:
        leaf = find_leaf(int(space.root), address)
        return None if leaf is None else leaf.frame + address - leaf.address

    def level(self, space: Any, address: int) -> int:
        leaf = find_leaf(int(space.root), address)
        return 0 if leaf is None else leaf.level

    def check(self) -> None:
        check_structure(self.all, utcb_pages=8)


@pytest.fixture(params=["checked", "release"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Whatever a test does, all memory comes back."""
    choice.profile = request.param
    world = World()
    yield world
    preemption.every = u64(0)
    world.check()
    spaces.current = None
    for space in world.all:
        delete(space)
    check_structure([])
    assert kernel_memory.free_pages == world.free
    assert mappings.used == 0
    choice.profile = "checked"


# Rights


@pytest.mark.parametrize("asked", range(8))
@pytest.mark.parametrize("owned", [R, RW, RX, RWX])
def test_rights_are_those_asked_for_that_the_sender_has(world: World, owned: int, asked: int):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE, owned)
    map_pages(world.a, world.b, 0x1000, 0x2000, PAGE, asked)
    assert world.rights(world.a, 0x1000) == owned
    assert world.rights(world.b, 0x2000) == owned & (asked | R)


def test_mapping_again_adds_rights_and_takes_none(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    for asked, expected in ((R, R), (RW, RW), (R, RW), (X, RWX)):
        map_pages(world.a, world.b, 0x1000, 0x1000, PAGE, asked)
        assert world.rights(world.b, 0x1000) == expected


def test_rights_that_come_from_two_pages_do_not_add_up(world: World):
    """What b has from a would outlast a's revocation if c could widen it."""
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE, RX)
    map_pages(world.sigma0, world.c, FRAME, 0x1000, PAGE, RW)
    map_pages(world.a, world.b, 0x1000, 0x1000, PAGE)
    map_pages(world.c, world.b, 0x1000, 0x1000, PAGE)
    assert world.rights(world.b, 0x1000) == RW
    unmap_pages(world.c, 0x1000, PAGE)
    assert world.rights(world.b, 0x1000) == 0


# Regions


def test_a_smaller_fpage_lands_at_the_send_base(world: World):
    window = fpage(0x80_0000, 0x10_0000)
    MapRequest(world.sigma0, world.a, fpage(FRAME, 4 * PAGE), window, base=0x1234_5000).finish()
    assert world.frame(world.a, 0x84_4000) == FRAME
    assert world.frame(world.a, 0x84_7000) == FRAME + 3 * PAGE
    assert world.rights(world.a, 0x84_8000) == 0


def test_a_larger_fpage_is_cut_to_the_window_at_the_send_base(world: World):
    MapRequest(world.sigma0, world.a, fpage(FRAME, LARGE), fpage(0x1_0000, 4 * PAGE), base=0x1_3000).finish()
    assert world.frame(world.a, 0x1_0000) == FRAME + 0x1_0000
    assert world.frame(world.a, 0x1_3FFF) == FRAME + 0x1_3FFF
    assert world.rights(world.a, 0x1_4000) == 0


def test_low_bits_of_fpages_are_ignored(world: World):
    MapRequest(world.sigma0, world.a, fpage(FRAME, LARGE) | 0x7_F000, WHOLE_WINDOW, base=0x20_0000).finish()
    assert world.frame(world.a, 0x20_0000) == FRAME


NO_REGIONS = [0, 7, 0xB7, 0x27, 0x10007 | 2 << 4, 0x1007 | 1 << 4, (1 << 64) - 1, 0xFFFF_8000_0000_00C7]


@pytest.mark.parametrize("word", NO_REGIONS)
def test_words_that_are_no_region_of_user_memory_map_nothing(world: World, word: int):
    for sender in (world.sigma0, world.a):
        MapRequest(sender, world.b, word, WHOLE_WINDOW).finish()
        MapRequest(world.sigma0, world.b, fpage(FRAME, PAGE), word & ~0xF, base=0).finish()
    assert world.b.root_count == 0 or word in ((1 << 64) - 1,)


@pytest.mark.parametrize("size_log2", range(48, 64))
@pytest.mark.parametrize("base", [0, 0xFFFF_FFFF_FFFF_FC00, 0x8000_0000_0000, 0x7FFF_FFE0_0000])
def test_sizes_beyond_the_address_space_do_not_overflow(world: World, size_log2: int, base: int):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    region = base | size_log2 << 4 & 0x3F0 | 7
    MapRequest(world.a, world.b, region, region & ~0xF, base=base).finish()
    UnmapRequest(world.a, region & ~0x3F0 | size_log2 << 4, flush=True).finish()


def test_the_whole_space(world: World):
    for address in (0x1000, 0x7FFF_FFE0_0000, 0x7FFF_FFFF_E000):
        map_pages(world.sigma0, world.a, FRAME, address, PAGE)
    MapRequest(world.a, world.b, WHOLE_WINDOW | 7, WHOLE_WINDOW).finish()
    assert world.rights(world.b, 0x7FFF_FFFF_E000) == RWX
    assert world.rights(world.b, 0x1000) == RWX
    unmap = UnmapRequest(world.a, WHOLE_WINDOW | 7, flush=True)
    unmap.finish()
    assert (world.a.root_count, world.b.root_count) == (0, 0)


def test_the_page_before_the_end_of_user_memory_stays_empty(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x7FFF_FFFF_F000, PAGE)
    assert world.a.root_count == 0


# sigma0


def test_sigma0_has_no_kernel_memory_and_none_beyond_the_processors(world: World):
    for address in (POOL, PHYSICAL_END, PHYSICAL_END * 2):
        assert map_pages(world.sigma0, world.a, address, 0x1000, PAGE) == Outcome.DONE
    assert library().map_identity(world.sigma0, VirtAddr(POOL)) == Outcome.NOT_THERE
    assert library().map_identity(world.sigma0, VirtAddr(1 << 63)) == Outcome.NOT_THERE
    assert world.a.root_count == 0


def test_large_pages_where_both_sides_align(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x60_0000, LARGE)
    assert world.level(world.a, 0x60_0000) == 2
    map_pages(world.sigma0, world.b, FRAME, 0x1000, PAGE)
    assert world.level(world.b, 0x1000) == 1
    assert world.level(world.sigma0, FRAME) == 2


def test_gibibyte_pages_where_the_processor_has_them(world: World):
    from macadamia.kernels.l4.page_table import page_sizes

    page_sizes.largest_level = u64(3)
    map_pages(world.sigma0, world.a, HUGE, 2 * HUGE, HUGE)
    assert world.level(world.a, 2 * HUGE) == 3
    unmap_pages(world.a, 2 * HUGE + LARGE + PAGE, PAGE, W, flush=True)
    assert [world.level(world.a, 2 * HUGE + x) for x in (0, LARGE, 2 * LARGE)] == [2, 1, 2]
    assert world.rights(world.a, 2 * HUGE + LARGE + PAGE) == RX
    assert world.rights(world.a, 2 * HUGE + LARGE) == RWX


# What is at the target


def test_another_frame_replaces_and_flushes_the_old_one(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    map_pages(world.a, world.b, 0x1000, 0x5000, PAGE)
    map_pages(world.sigma0, world.a, FRAME + PAGE, 0x1000, PAGE)
    assert world.frame(world.a, 0x1000) == FRAME + PAGE
    assert world.rights(world.b, 0x5000) == 0


def test_a_larger_page_at_the_target_is_split_and_its_part_replaced(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0, LARGE)
    map_pages(world.a, world.b, 0, 0, LARGE)
    map_pages(world.sigma0, world.a, 0x100_0000, 0x3000, PAGE)
    assert world.frame(world.a, 0x3000) == 0x100_0000
    assert world.frame(world.a, 0x4000) == FRAME + 0x4000
    assert world.rights(world.b, 0x3000) == 0
    assert world.frame(world.b, 0x4000) == FRAME + 0x4000


def test_the_same_memory_in_a_larger_page_is_left_alone(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0, LARGE)
    map_pages(world.sigma0, world.a, FRAME + 0x3000, 0x3000, PAGE)
    assert world.level(world.a, 0x3000) == 2


def test_mapping_back_to_where_it_came_from_changes_nothing(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    map_pages(world.a, world.b, 0x1000, 0x1000, PAGE)
    map_pages(world.b, world.a, 0x1000, 0x1000, PAGE)
    assert world.rights(world.b, 0x1000) == RWX
    map_pages(world.b, world.a, 0x1000, 0x9000, PAGE)  # elsewhere: a has it twice, once by b
    unmap_pages(world.a, 0x1000, PAGE)
    assert (world.rights(world.a, 0x1000), world.rights(world.a, 0x9000)) == (RWX, 0)


# Grant


def test_a_grant_moves_the_page_with_all_that_was_mapped_from_it(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    map_pages(world.a, world.b, 0x1000, 0x1000, PAGE)
    map_pages(world.a, world.c, 0x1000, 0x7000, PAGE, grant=True)
    assert (world.rights(world.a, 0x1000), world.rights(world.b, 0x1000)) == (0, RWX)
    assert world.rights(world.c, 0x7000) == RWX
    unmap_pages(world.c, 0x7000, PAGE)
    assert world.rights(world.b, 0x1000) == 0
    unmap_pages(world.sigma0, FRAME, PAGE)
    assert world.rights(world.c, 0x7000) == 0


def test_a_part_of_a_large_page_can_be_granted(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0, LARGE)
    map_pages(world.a, world.b, 0, 0, LARGE)
    map_pages(world.a, world.c, 0x5000, 0x7000, PAGE, grant=True)
    assert [world.rights(world.a, x) for x in (0x4000, 0x5000, 0x6000)] == [RWX, 0, RWX]
    assert world.rights(world.b, 0x5000) == RWX
    unmap_pages(world.c, 0x7000, PAGE)
    assert world.rights(world.b, 0x5000) == 0


def test_a_grant_that_withholds_rights_leaves_them_to_nobody(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    map_pages(world.a, world.b, 0x1000, 0x1000, PAGE)
    map_pages(world.a, world.c, 0x1000, 0x1000, PAGE, R, grant=True)
    assert [world.rights(space, 0x1000) for space in world.all] == [0, 0, 0, R]


def test_a_grant_that_empties_the_table_it_is_going_to(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    map_pages(world.a, world.b, 0x1000, 0x9000, PAGE)  # the only page there, and it goes
    map_pages(world.a, world.b, 0x1000, 0x5000, PAGE, R, grant=True)
    assert (world.rights(world.b, 0x5000), world.rights(world.b, 0x9000)) == (R, 0)


def test_a_grant_to_its_own_place_does_nothing(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    map_pages(world.a, world.a, 0x1000, 0x1000, PAGE, R, grant=True)
    assert world.rights(world.a, 0x1000) == RWX


# Unmap


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("revoked", range(8))
def test_revoking_reaches_every_descendant(world: World, revoked: int, flush: bool):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    map_pages(world.a, world.b, 0x1000, 0x1000, PAGE)
    map_pages(world.b, world.c, 0x1000, 0x1000, PAGE)
    map_pages(world.c, world.a, 0x1000, 0x8000, PAGE, RW)
    unmap_pages(world.a, 0x1000, PAGE, revoked, flush=flush)

    def left(rights: int) -> int:
        rest = rights & ~revoked
        return 0 if rest == 0 else rest | R

    assert world.rights(world.a, 0x1000) == (left(RWX) if flush else RWX)
    assert world.rights(world.b, 0x1000) == world.rights(world.c, 0x1000) == left(RWX)
    assert world.rights(world.a, 0x8000) == left(RW)


def test_status_is_that_of_the_page_and_all_below_since_last_asked(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    map_pages(world.a, world.b, 0x1000, 0x1000, PAGE)
    map_pages(world.b, world.c, 0x1000, 0x1000, PAGE)
    library().load_space(world.c)
    assert processor.access(0x1000) == FRAME
    assert unmap_pages(world.c, 0x1000, PAGE, 0) == RX  # accessed
    assert unmap_pages(world.c, 0x1000, PAGE, 0) == 0  # once told
    assert unmap_pages(world.a, 0x1000, PAGE, 0) == RX  # above it is not lost
    assert unmap_pages(world.b, 0x1000, PAGE, 0) == RX  # below it is still known
    assert processor.access(0x1000, write=True) == FRAME
    assert unmap_pages(world.a, 0x1000, PAGE, 0) == RWX  # written
    assert unmap_pages(world.b, 0x1000, PAGE, 0, flush=True) == RWX
    assert unmap_pages(world.a, 0x1000, PAGE, 0) == 0


@pytest.mark.parametrize("current", [True, False])
@pytest.mark.parametrize("what", ["unmap", "flush", "narrow", "status", "grant", "replace", "split"])
def test_the_tlb_forgets_what_changes(world: World, what: str, current: bool):
    """The pages were written, so that the TLB may have them with all rights, and marked as dirty."""
    map_pages(world.sigma0, world.a, FRAME, 0, LARGE)
    map_pages(world.a, world.b, 0x1000, 0x1000, PAGE)
    map_pages(world.a, world.c, 0, 0, LARGE)
    for space in (world.a, world.c, world.b):
        library().load_space(space)
        assert processor.access(0x1000, write=True) == FRAME + 0x1000
    if not current:
        library().load_space(world.sigma0)
    if what == "unmap":
        unmap_pages(world.a, 0, LARGE)
    elif what == "flush":
        unmap_pages(world.b, 0x1000, PAGE, flush=True)
    elif what == "narrow":
        unmap_pages(world.a, 0, LARGE, W)
    elif what == "status":
        unmap_pages(world.a, 0, LARGE, 0)
        library().load_space(world.b)
        processor.access(0x1000, write=True)
        assert unmap_pages(world.a, 0, LARGE, 0) == RWX
    elif what == "grant":
        map_pages(world.b, world.a, 0x1000, 0x40_0000, PAGE, grant=True)
    elif what == "replace":
        map_pages(world.sigma0, world.b, FRAME, 0x1000, PAGE)
    else:
        unmap_pages(world.c, 0x1000, PAGE, flush=True)
        map_pages(world.a, world.sigma0, 0x2000, 0x100_0000, PAGE, grant=True)
    world.check()


def test_status_survives_the_page(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    map_pages(world.a, world.b, 0x1000, 0x1000, PAGE)
    library().load_space(world.b)
    processor.access(0x1000, write=True)
    spaces.current = None
    world.all.remove(world.b)
    delete(world.b)
    assert unmap_pages(world.a, 0x1000, PAGE, 0) == RWX


def test_less_than_a_page_counts_as_one(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    UnmapRequest(world.a, 0x1C00 | 10 << 4 | 7, flush=True).finish()
    assert world.rights(world.a, 0x1000) == 0


def test_without_memory_for_a_split_more_is_revoked_and_not_less(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0, LARGE)
    map_pages(world.a, world.b, 0, 0, LARGE)
    hoard = []
    while page := library().take_page():
        hoard.append(page)
    unmap_pages(world.a, 0x5000, PAGE, W)
    assert world.rights(world.b, 0x5000) == RX
    assert world.rights(world.a, 0x5000) == RWX
    for page in hoard:
        library().give_page(page)


# The kernel's own areas


def areas(kip: int, kip_size: int, utcb: int, utcb_size: int) -> tuple[Fpage, Fpage]:
    return Fpage(fpage(kip, kip_size)), Fpage(fpage(utcb, utcb_size))


@pytest.mark.parametrize(
    ("kip", "utcb", "error"),
    [
        ((0x1000, PAGE), (0x2000, PAGE), CallError.OK),
        ((0x1000, PAGE // 2), (0x2000, PAGE), CallError.KIP_AREA),
        ((0x1000, PAGE), (0x2000, PAGE // 2), CallError.UTCB_AREA),
        ((0x1000, PAGE), (0x7FFF_FFFF_F000, PAGE), CallError.UTCB_AREA),
        ((0xFFFF_8000_0000_0000, PAGE), (0x2000, PAGE), CallError.KIP_AREA),
        ((0x1000, PAGE), (0, 1 << 47), CallError.UTCB_AREA),
        ((0x1000, PAGE), (0, 1 << 63), CallError.UTCB_AREA),
        ((0x3000, PAGE), (0x2000, 2 * PAGE), CallError.KIP_AREA),
        ((0x0, LARGE), (0x2000, PAGE), CallError.KIP_AREA),
    ],
)
def test_what_areas_may_be(world: World, kip: tuple[int, int], utcb: tuple[int, int], error: CallError):
    assert world.a.area_error(*areas(*kip, *utcb)) == error


def test_areas_are_skipped_also_by_large_pages(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0, LARGE)
    map_pages(world.a, world.b, 0, 0, LARGE)
    kip, utcb = areas(0x1000, PAGE, 0x4000, 4 * PAGE)
    assert repeat(lambda: library().set_areas(world.a, kip, utcb, PhysAddr(KIP))) == Outcome.DONE
    assert [world.rights(world.a, x * PAGE) for x in range(9)] == [RWX, RX, RWX, RWX, 0, 0, 0, 0, RWX]
    assert [world.rights(world.b, x * PAGE) for x in (1, 4)] == [0, 0]
    map_pages(world.sigma0, world.a, 0x80_0000, 0, LARGE)
    assert [world.frame(world.a, x * PAGE) for x in (0, 1, 4, 8)] == [0x80_0000, KIP, None, 0x80_8000]
    map_pages(world.a, world.b, 0, 0, LARGE)
    assert world.frame(world.b, 0x1000) is None
    unmap_pages(world.a, 0, LARGE, flush=True)
    assert world.frame(world.a, 0x1000) == KIP


def test_utcb_pages_live_as_long_as_their_threads(world: World):
    kip, utcb = areas(0x1000, PAGE, 0x4000, 4 * PAGE)
    library().set_areas(world.a, kip, utcb, PhysAddr(KIP))
    before = kernel_memory.free_pages
    first = library().hold_utcb(world.a, VirtAddr(0x4400))
    second = library().hold_utcb(world.a, VirtAddr(0x4800))
    assert second - first == 0x400
    assert world.rights(world.a, 0x4000) == RW
    map_pages(world.a, world.b, 0x4000, 0x4000, PAGE)
    unmap_pages(world.a, 0x4000, PAGE, flush=True)
    assert (world.rights(world.a, 0x4000), world.rights(world.b, 0x4000)) == (RW, 0)
    library().drop_utcb(world.a, VirtAddr(0x4400))
    assert world.rights(world.a, 0x4000) == RW
    library().drop_utcb(world.a, VirtAddr(0x4800))
    assert world.rights(world.a, 0x4000) == 0
    assert kernel_memory.free_pages == before


# Preemption and exhaustion


def test_every_operation_gets_on_however_often_it_is_preempted(world: World):
    preemption.every = u64(1)
    map_pages(world.sigma0, world.a, FRAME, 0, LARGE)
    for target in range(8):
        map_pages(world.a, world.b, 0, target * LARGE, LARGE)
    unmap_pages(world.a, 0x5000, PAGE, W)
    unmap_pages(world.a, 0, LARGE, X)
    assert world.rights(world.b, 0x5000) == R
    assert world.rights(world.b, 0x6000) == RW
    map_pages(world.a, world.c, 0, 0, LARGE, R, grant=True)
    assert world.rights(world.b, 0x5000) == 0


def test_a_chain_of_mappings_is_revoked_without_recursion(world: World):
    preemption.every = u64(3)
    places = [(world.a, 0x1000)] + [((world.b, world.a)[n % 2], 0x10_0000 + n * PAGE) for n in range(2000)]
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    for (sender, source), (receiver, target) in itertools.pairwise(places):
        map_pages(sender, receiver, source, target, PAGE)
    unmap_pages(world.sigma0, FRAME, PAGE, W)
    assert world.rights(*places[-1]) == RX
    unmap_pages(world.a, 0x1000, PAGE)
    assert mappings.used == 512 + 1  # the pieces of sigma0's large page, and a's


def test_a_preempted_revocation_is_not_outrun(world: World):
    """While it sleeps, pages that it still has to visit go, move and multiply."""
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    for number in range(16):
        map_pages(world.a, world.b, 0x1000, number * PAGE, PAGE)
        map_pages(world.b, world.c, number * PAGE, number * PAGE, PAGE)
    for step in range(1, 40):
        preemption.every = u64(1)
        request = UnmapRequest(world.a, fpage(0x1000, PAGE, W))
        steps = 0
        while request.run() == Outcome.RESTART:
            steps += 1
            if steps == step:
                preemption.every = u64(0)
                victim = step % 16 * PAGE
                map_pages(world.b, world.c, victim, 0x10_0000 + victim, PAGE)
                unmap_pages(world.b, (victim + PAGE) % (16 * PAGE), PAGE, flush=step % 2 == 0)
                map_pages(world.b, world.c, 5 * PAGE, 0x20_0000 + step * PAGE, PAGE, grant=step % 3 == 0)
                world.check()
                preemption.every = u64(1)
        preemption.every = u64(0)
        for space in (world.b, world.c):
            for address in range(0, 0x30_0000, PAGE):
                assert not world.rights(space, address) & W
        world.check()
        for number in range(16):
            map_pages(world.a, world.b, 0x1000, number * PAGE, PAGE)
            map_pages(world.b, world.c, number * PAGE, number * PAGE, PAGE)


@pytest.mark.parametrize("owned", [RW, RWX])
@pytest.mark.parametrize("revoked", [W, RW, RWX])
def test_a_page_that_is_flushed_gives_nothing_meanwhile(world: World, revoked: int, owned: int):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE, owned)
    for number in range(8):
        map_pages(world.a, world.b, 0x1000, number * PAGE, PAGE)
    preemption.every = u64(1)
    request = UnmapRequest(world.a, fpage(0x1000, PAGE, revoked), flush=True)
    library().load_space(world.a)
    assert processor.access(0x1000, write=True) == FRAME
    for _ in range(5):
        assert request.run() == Outcome.RESTART
    world.check()
    preemption.every = u64(0)
    map_pages(world.a, world.c, 0x1000, 0x1000, PAGE)
    request.finish()
    rest = owned & ~revoked
    assert world.rights(world.a, 0x1000) == world.rights(world.c, 0x1000) == (rest | R if rest else 0)


@pytest.mark.parametrize("steps", range(1, 13))
def test_the_page_that_a_revocation_is_at_goes(world: World, steps: int):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    for number in range(4):
        map_pages(world.a, world.b, 0x1000, number * PAGE, PAGE)
        map_pages(world.b, world.c, number * PAGE, number * PAGE, PAGE)
    preemption.every = u64(1)
    request = UnmapRequest(world.a, fpage(0x1000, PAGE, W))
    for _ in range(steps):
        if request.run() != Outcome.RESTART:
            return
    preemption.every = u64(0)
    at = request.operation.cursor.at
    unmap_pages(at.space, int(at.address), PAGE, flush=True)
    world.check()
    request.finish()
    assert all(not world.rights(space, n * PAGE) & W for space in (world.b, world.c) for n in range(4))


@pytest.mark.parametrize("part", range(6))
def test_a_split_while_a_revocation_sleeps(world: World, part: int):
    map_pages(world.sigma0, world.a, FRAME, 0, LARGE)
    for number in range(6):
        map_pages(world.a, world.b, 0, number * LARGE, LARGE)
    preemption.every = u64(1)
    request = UnmapRequest(world.a, fpage(0, LARGE, W))
    for _ in range(3):
        assert request.run() == Outcome.RESTART
    preemption.every = u64(0)
    unmap_pages(world.b, part * LARGE + PAGE, PAGE, flush=True)
    world.check()
    request.finish()
    assert [world.rights(world.b, n * LARGE) for n in range(6)] == [RX] * 6


@pytest.mark.parametrize("steps", range(1, 6))
def test_a_removal_overtakes_a_revocation_below(world: World, steps: int):
    """The removal hands pages up that the revocation has still to visit."""
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    map_pages(world.a, world.b, 0x1000, 0x1000, PAGE)
    for number in range(4):
        map_pages(world.b, world.c, 0x1000, number * PAGE, PAGE)
    preemption.every = u64(1)
    revocation = UnmapRequest(world.b, fpage(0x1000, PAGE, W))
    assert revocation.run() == Outcome.RESTART
    removal = UnmapRequest(world.a, fpage(0x1000, PAGE))
    for _ in range(steps):
        assert removal.run() == Outcome.RESTART
        world.check()
    revocation.finish()
    world.check()
    removal.finish()
    assert world.b.root_count == world.c.root_count == 0


def test_a_revocation_that_is_given_up_leaves_nothing_behind(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    for number in range(4):
        map_pages(world.a, world.b, 0x1000, number * PAGE, PAGE)
    preemption.every = u64(1)
    request = UnmapRequest(world.a, fpage(0x1000, PAGE, W))
    assert request.run() == Outcome.RESTART
    library().cancel_unmap(request.operation)
    preemption.every = u64(0)
    unmap_pages(world.a, 0x1000, PAGE)


def test_exhausted_memory_is_an_outcome_and_leaves_no_trace(world: World):
    map_pages(world.sigma0, world.a, FRAME, 0x1000, PAGE)
    before = kernel_memory.free_pages
    hoard = []
    while page := library().take_page():
        hoard.append(page)
    for left in range(8):
        assert map_pages(world.a, world.b, 0x1000, 0x1000, PAGE) == Outcome.OUT_OF_MEMORY
        assert kernel_memory.free_pages == left
        world.check()
        library().give_page(hoard.pop(0 if left % 2 else -1))
        if kernel_memory.free_pages >= 7:
            break
    for page in hoard:
        library().give_page(page)
    assert kernel_memory.free_pages == before
