"""A simulated processor and memory under the mapping database, and a reader of its structures.

Physical memory from POOL is a static; user frames have addresses but no memory, for the kernel never touches
them. The TLB does the worst that a real one may do: it keeps what it saw until it is told to forget.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from macadamia.abi.l4.fpages import Fpage
from macadamia.abi.l4.messages import GRANT_ITEM, MAP_ITEM, ItemHeader
from macadamia.kernels.l4.identity import map_identity
from macadamia.kernels.l4.kernel_memory import kernel_memory
from macadamia.kernels.l4.map_item import MapOperation
from macadamia.kernels.l4.mapping import Mapping, Outcome, mappings, preemption_point, sleeping
from macadamia.kernels.l4.page_table import page_sizes
from macadamia.kernels.l4.physical_memory import physical_memory
from macadamia.kernels.l4.space import Space, create_space, user_memory
from macadamia.kernels.l4.space_control import delete_space, set_areas
from macadamia.kernels.l4.unmap import UnmapOperation
from macadamia.lang import Array, Ptr, Struct, cast, implements, memory, offsetof, sizeof, static, u8, u64
from macadamia.lang.emit import Profile
from macadamia.lang.jit import Library, jit
from macadamia.machine import interface
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, VirtAddr
from macadamia.machine.x86_64.address_space import NO_FLUSH, TAGS, spaces
from macadamia.machine.x86_64.page_table import ACCESSED, ADDRESS, DIRTY, LARGE, NO_EXECUTE, PRESENT, WRITABLE

POOL = 0x1000_0000  # physical address of the kernel's memory
POOL_SIZE = 4 << 20
KERNEL_ROOT = POOL  # a frame: the template of the kernel half
KIP = POOL + PAGE_SIZE
PHYSICAL_END = 1 << 40
KERNEL_PATTERN = 0x1234_5000 | PRESENT  # in every entry of the kernel half

memory_pages = static(Array[u8, POOL_SIZE], align=2 * PAGE_SIZE)


class Preemption(Struct):
    """Preempt at every so many points, 0 = never."""

    every: u64
    points: u64


preemption = Preemption()


@implements(interface.physical_pointer)
def physical_pointer(address: PhysAddr) -> Ptr[u8]:
    return cast(u8, memory_pages) + (u64(address) - POOL)


@implements(preemption_point)
def preempted() -> bool:
    preemption.points += 1
    return preemption.every != 0 and preemption.points % preemption.every == 0


def prepare_map(
    operation: Ptr[MapOperation],
    sender: Ptr[Space],
    receiver: Ptr[Space],
    item: u64,
    region: u64,
    window: u64,
) -> None:
    operation.prepare(sender, receiver, ItemHeader(item), Fpage(region), Fpage(window))


def run_map(operation: Ptr[MapOperation]) -> Outcome:
    return operation.run()


def prepare_unmap(operation: Ptr[UnmapOperation], space: Ptr[Space], region: u64, flush: bool) -> None:
    operation.prepare(space, Fpage(region), flush)


def run_unmap(operation: Ptr[UnmapOperation]) -> Outcome:
    return operation.run()


def unmap_status(operation: Ptr[UnmapOperation]) -> u8:
    return u8(operation.status())


def cancel_unmap(operation: Ptr[UnmapOperation]) -> None:
    operation.cancel()


def donate(start: PhysAddr, end: PhysAddr) -> None:
    kernel_memory.donate(start, end)


def take_page() -> PhysAddr:
    return kernel_memory.allocate_page()


def give_page(page: PhysAddr) -> None:
    kernel_memory.free_page(page)


def take_pair() -> PhysAddr:
    return kernel_memory.allocate_pair()


def give_pair(pair: PhysAddr) -> None:
    kernel_memory.free_pair(pair)


def add_kernel_range(start: u64, end: u64) -> bool:
    return physical_memory.add_kernel(start, end)


def add_ram_range(start: u64, end: u64) -> bool:
    return physical_memory.add_ram(start, end)


def load_space(space: Ptr[Space]) -> None:
    space.address_space.load()


def hold_utcb(space: Ptr[Space], address: VirtAddr) -> Ptr[u8] | None:
    return space.hold_utcb(address)


def drop_utcb(space: Ptr[Space], address: VirtAddr) -> None:
    space.drop_utcb(address)


COMPILED = (
    prepare_map, run_map, prepare_unmap, run_unmap, unmap_status, cancel_unmap, map_identity,
    donate, take_page, give_page, take_pair, give_pair, add_kernel_range, add_ram_range, user_memory,
    load_space, hold_utcb, drop_utcb, create_space, delete_space, set_areas,
)  # fmt: skip


@dataclass
class TlbEntry:
    base: int
    size: int
    frame: int
    flags: int  # WRITABLE, NO_EXECUTE, DIRTY as they were in the entry


@dataclass
class Processor:
    """CR3 and the TLB."""

    cr3: int = KERNEL_ROOT
    tlb: dict[int, list[TlbEntry]] = field(default_factory=dict)

    def load(self, cr3: int) -> None:
        self.cr3 = cr3 & ~NO_FLUSH
        if not cr3 & NO_FLUSH:
            self.tlb.pop(cr3 % PAGE_SIZE, None)

    def invalidate(self, address: int) -> None:
        entries = self.tlb.get(self.cr3 % PAGE_SIZE, [])
        entries[:] = [entry for entry in entries if not entry.base <= address < entry.base + entry.size]

    def access(self, address: int, *, write: bool = False, execute: bool = False) -> int | None:
        """The frame that an access of the current space reaches, marked as by a processor; None: a fault."""
        entries = self.tlb.setdefault(self.cr3 % PAGE_SIZE, [])
        for entry in entries:
            if entry.base <= address < entry.base + entry.size:
                if (write and not entry.flags & WRITABLE) or (execute and entry.flags & NO_EXECUTE):
                    entries.remove(entry)  # a fault: the processor looks at memory before it raises one
                    break
                if write and not entry.flags & DIRTY:
                    entries.remove(entry)
                    break
                return entry.frame + address - entry.base
        leaf = find_leaf(self.cr3 & ADDRESS, address)
        if leaf is None or (write and not leaf.entry & WRITABLE) or (execute and leaf.entry & NO_EXECUTE):
            return None
        write_word(leaf.place, leaf.entry | ACCESSED | (DIRTY if write else 0))
        flags = read_word(leaf.place) & (WRITABLE | NO_EXECUTE | DIRTY)
        entries.append(TlbEntry(leaf.address, leaf.size, leaf.entry & ADDRESS, flags))
        return (leaf.entry & ADDRESS) + address - leaf.address


processor = Processor()


@dataclass
class Choice:
    """How the kernel's code is compiled."""

    profile: Profile = "checked"


choice = Choice()


def library() -> Library:
    """The compiled code, of the chosen profile."""
    return compiled(choice.profile)


@cache
def compiled(profile: Profile) -> Library:
    bindings = {
        interface.physical_pointer: physical_pointer,
        preemption_point: preempted,
        interface.load_page_table: lambda cr3: processor.load(int(cr3)),
        interface.invalidate_page: lambda address: processor.invalidate(int(address)),
    }
    return jit(COMPILED, bindings, profile)


def reset(pool_size: int = POOL_SIZE, largest_level: int = 2) -> int:
    """A machine after start, with nothing mapped. The number of free pages."""
    for struct_ in (kernel_memory, mappings, sleeping, physical_memory, preemption):
        memory.write(struct_.kernel_address, bytes(sizeof(type(struct_))))
    processor.cr3 = KERNEL_ROOT
    processor.tlb.clear()
    memory.write(view(KERNEL_ROOT), bytes(PAGE_SIZE // 2) + struct.pack("<Q", KERNEL_PATTERN) * 256)
    spaces.current = None
    spaces.kernel_root = PhysAddr(KERNEL_ROOT)
    spaces.no_flush = u64(NO_FLUSH)
    for tag in range(TAGS):
        spaces.tag_owner[tag] = u64(0)
    page_sizes.largest_level = u64(largest_level)
    physical_memory.end = u64(PHYSICAL_END)
    library().donate(PhysAddr(POOL + 2 * PAGE_SIZE), PhysAddr(POOL + pool_size))
    library().add_kernel_range(POOL, POOL + POOL_SIZE)
    library().add_ram_range(POOL, POOL + POOL_SIZE)
    return int(kernel_memory.free_pages)


def fpage(address: int, size: int, rights: int = 7) -> int:
    """The word of an fpage; `size` in bytes."""
    return address | (size.bit_length() - 1) << 4 | rights


COMPLETE = 1 << 4
WHOLE_WINDOW = COMPLETE


def repeat(run: Callable[[], Outcome]) -> Outcome:
    """Run until it is not preempted, which must happen."""
    for _ in range(100_000):
        outcome = run()
        if outcome != Outcome.RESTART:
            return outcome
    raise AssertionError("an operation that is preempted does not get on")


@dataclass
class MapRequest:
    """A map or grant that may be preempted."""

    sender: Any
    receiver: Any
    region: int
    window: int = WHOLE_WINDOW
    base: int = 0
    grant: bool = False

    def __post_init__(self) -> None:
        self.operation = MapOperation()
        item = self.base & ~0x3FF | (GRANT_ITEM if self.grant else MAP_ITEM) << 1
        library().prepare_map(
            self.operation, self.sender, self.receiver, u64(item), u64(self.region), u64(self.window)
        )

    def run(self) -> Outcome:
        outcome: Outcome = library().run_map(self.operation)
        return outcome

    def finish(self) -> Outcome:
        """Run until it is not preempted."""
        return repeat(self.run)


@dataclass
class UnmapRequest:
    space: Any
    region: int
    flush: bool = False

    def __post_init__(self) -> None:
        self.operation = UnmapOperation()
        library().prepare_unmap(self.operation, self.space, u64(self.region), self.flush)

    def run(self) -> Outcome:
        outcome: Outcome = library().run_unmap(self.operation)
        return outcome

    def finish(self) -> int:
        """Run until it is not preempted; the status."""
        outcome = repeat(self.run)
        assert outcome == Outcome.DONE
        return int(library().unmap_status(self.operation))


def map_pages(
    sender: Any, receiver: Any, source: int, target: int, size: int, rights: int = 7, *, grant: bool = False
) -> Outcome:
    """Map or grant `size` bytes from `source` to `target`."""
    return MapRequest(sender, receiver, fpage(source, size, rights), base=target, grant=grant).finish()


def unmap_pages(space: Any, address: int, size: int, rights: int = 7, *, flush: bool = False) -> int:
    return UnmapRequest(space, fpage(address, size, rights), flush).finish()


def new_space(*, sigma0: bool = False) -> Any:
    space = library().create_space()
    assert space is not None
    space.is_sigma0 = sigma0
    return space


def delete(space: Any) -> None:
    assert repeat(lambda: library().delete_space(space)) == Outcome.DONE


# Reading what the kernel wrote


def view(physical: int) -> int:
    """Where physical memory is in this process."""
    return int(memory_pages.kernel_address) + physical - POOL


def read_word(place: int) -> int:
    return int.from_bytes(memory.bytes_at(place, 8), "little")


def write_word(place: int, value: int) -> None:
    memory.write(place, value.to_bytes(8, "little"))


def table_words(place: int, count: int = 512) -> tuple[int, ...]:
    return struct.unpack(f"<{count}Q", memory.bytes_at(place, 8 * count))


@dataclass(frozen=True)
class Leaf:
    """An entry that maps a page."""

    address: int
    level: int
    entry: int
    word: int
    place: int  # of the entry

    @property
    def size(self) -> int:
        return 1 << 12 + 9 * (self.level - 1)

    @property
    def frame(self) -> int:
        return self.entry & ADDRESS


def find_leaf(root: int, address: int) -> Leaf | None:
    """What the processor finds for an address."""
    table = view(root)
    for level in (4, 3, 2, 1):
        shift = 12 + 9 * (level - 1)
        place = table + 8 * (address >> shift & 511)
        entry = read_word(place)
        if not entry & PRESENT:
            return None
        if level == 1 or entry & LARGE:
            return Leaf(address >> shift << shift, level, entry, read_word(place + PAGE_SIZE), place)
        table = view(entry & ADDRESS)
    return None


def leaves(root: int) -> Iterator[Leaf]:
    """All pages of a user half; asserts that the counts of the tables are right."""

    def walk(place: int, level: int, base: int, entries: int) -> Iterator[tuple[Leaf, int]]:
        words = table_words(place, entries)
        shadow = table_words(place + PAGE_SIZE, entries)
        for index, entry in enumerate(words):
            if entry == 0:
                continue
            address = base + (index << 12 + 9 * (level - 1))
            if level == 1 or entry & LARGE:
                yield Leaf(address, level, entry, shadow[index], place + 8 * index), 0
                continue
            inner = table_words(view(entry & ADDRESS))
            assert shadow[index] == sum(1 for item in inner if item) > 0, f"count of table {address:#x}"
            tables.append(entry & ADDRESS)
            yield from walk(view(entry & ADDRESS), level - 1, address, 512)

    tables: list[int] = []
    for leaf, _ in walk(view(root), 4, 0, 256):
        yield leaf
    table_count[root] = len(tables)


table_count: dict[int, int] = {}  # of the last walks of `leaves`


@dataclass(frozen=True)
class Node:
    """A mapping node as it lies in memory."""

    place: int
    space: int
    parent: int
    first_child: int
    next: int
    previous: int
    entry: int
    address: int
    level: int

    @property
    def frame(self) -> int:
        return read_word(self.entry) & ADDRESS

    @property
    def size(self) -> int:
        return 1 << 12 + 9 * (self.level - 1)

    @property
    def permissions(self) -> int:
        return (read_word(self.entry) ^ NO_EXECUTE) & (WRITABLE | NO_EXECUTE)


NODE_FIELDS = ("space", "parent", "first_child", "next", "previous", "entry", "address", "level")
assert [offsetof(Mapping, name) for name in NODE_FIELDS] == list(range(0, 64, 8))


def node_at(place: int) -> Node:
    return Node(place, *struct.unpack("<7QB", memory.bytes_at(place, 57)))


def check_structure(live: list[Any], utcb_pages: int = 0) -> dict[int, list[Leaf]]:
    """Assert all rules of mapping.py, that nothing leaked and no TLB entry is stale. The pages by space."""
    pages = {space.kernel_address: list(leaves(int(space.root))) for space in live}
    nodes: dict[int, Node] = {}
    kernel_pages = 0
    for space, found in pages.items():
        for leaf in found:
            if leaf.word < PAGE_SIZE:
                kernel_pages += 1
                continue
            node = node_at(leaf.word)
            assert (node.space, node.entry) == (space, leaf.place)
            assert (node.address, node.level) == (leaf.address, leaf.level)
            nodes[leaf.word] = node
    assert len(nodes) == mappings.used, "nodes without a page"
    for node in nodes.values():
        check_family(node, nodes)
    check_cursors(nodes)
    for space in live:
        tables = table_count[int(space.root)]
        assert space.pages - 2 - 2 * tables in range(utcb_pages + 1)
        root = table_words(view(int(space.root)))
        assert space.root_count == sum(1 for item in root[:256] if item)
        assert set(root[256:]) == {KERNEL_PATTERN}, "the kernel half"
    check_tlb(live)
    return pages


def check_family(node: Node, nodes: dict[int, Node]) -> None:
    """Assert the rules about a node and its children."""
    if not node.first_child:
        return
    place, smaller, previous = node.first_child, False, nodes[nodes[node.first_child].previous].place
    while True:
        child = nodes[place]
        assert child.parent == node.place
        assert child.previous == previous
        assert node.frame <= child.frame
        assert child.frame + child.size <= node.frame + node.size
        assert sleeping.first is not None or child.permissions & ~node.permissions == 0
        assert not (smaller and child.level == node.level), "a large child after a small one"
        smaller |= child.level < node.level
        previous, place = place, child.next
        if place == node.first_child:
            return


def check_cursors(nodes: dict[int, Node]) -> None:
    """Assert that every walk that sleeps is at a page that exists, below the one where it began."""
    cursor = sleeping.first
    while cursor is not None:
        if cursor.root is not None:
            place = cursor.at.kernel_address
            while place != cursor.root.kernel_address:
                place = nodes[place].parent
        cursor = cursor.next


def check_tlb(live: list[Any]) -> None:
    """Assert that no space can use a translation that its page table does not give."""
    for space in live:
        tag = int(space.address_space.tag)
        current = spaces.current is not None and spaces.current == space.address_space
        kept = int(spaces.tag_owner[tag]) == int(space.root) and int(space.address_space.next_cr3) & NO_FLUSH
        if not current and not kept:
            continue
        for entry in processor.tlb.get(tag, []):
            for offset in range(0, entry.size, max(PAGE_SIZE, entry.size // 64)):
                leaf = find_leaf(int(space.root), entry.base + offset)
                assert leaf is not None, f"stale translation of {entry.base:#x}"
                assert leaf.frame + (entry.base + offset - leaf.address) == entry.frame + offset
                assert not entry.flags & WRITABLE & ~leaf.entry
                assert not ~entry.flags & NO_EXECUTE & leaf.entry
