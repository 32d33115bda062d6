"""The mapping database: who maps which page from whom.

A node for every page that is mapped, in the space and through the entry that it names; its children are the
pages mapped from it. Nodes without a parent are sigma0's own pages, which are physical memory
(identity.py), and what sigma0 granted away. Three things hold at every moment that users or interrupts can
see:

    a page's frame lies in its parent's           so a child is as large as its parent or smaller
    a page's permissions are among its parent's   so who loses a right can take it from all who have it by him
    children as large as the parent come first    so a split finds them without a search

Only while a revocation is preempted, pages that it has not visited yet may have rights that their parents
lost.

A mapping of 4 KiB takes 64 bytes here and 16 in page table and shadow where its neighbours are mapped as
well: a million of them 81 MB, with all overhead (measured by tests/kernels/l4/million_mappings.py).

The processor marks accessed and dirty pages in their entries. Those marks are collected when somebody asks
(Unmap) and when a page goes. A node keeps two copies: `status`, what happened in this page and in those
mapped from it since its own space last asked, and `unreported`, what its parent was not told yet. So asking
costs nothing above, loses nothing above, and changes nothing below.

What the rest of the kernel calls (docs in each module):

    kernel_memory.py   kernel_memory.donate(start, end)               one range of physical memory, at start
                       kernel_memory.allocate_page() -> PhysAddr      0 when exhausted; free_page(frame)
                       kernel_memory.free_pages                       counter, for tests and accounting
    physical_memory.py physical_memory.add_ram(start, end), .add_kernel(start, end), .end: all at start
    slab.py            class Things(Slab): OBJECT_SIZE = sizeof(T)    objects of up to 4032 bytes
    page_table.py      page_sizes.largest_level = LEVEL_3             at start, if there are 1 GiB pages
    space.py           create_space() -> Ptr[Space] | None
                       space.address_space                            the machine's: load(), translate()
                       space.area_error(kip_area, utcb_area) -> CallError       SpaceControl's checks
                       space.hold_utcb(address) -> Ptr[u8] | None     a thread gets its UTCB
                       space.drop_utcb(address)                       ... and gives it back
                       space.map_kernel_page(address, frame, rights) -> bool
                       user_memory(space, address, write) -> Ptr[u8] | None     for copying strings
    identity.py        space.is_sigma0 = True                         what it maps is physical memory 1:1
                       map_identity(space, address) -> Outcome        sigma0's own page faults
    map_item.py        operation = local(MapOperation)                one map or grant item
                       operation.prepare(sender, receiver, header, fpage, window)
                       operation.run() -> Outcome
    unmap.py           operation = local(UnmapOperation)              one fpage of Unmap
                       operation.prepare(space, fpage, flush=...)
                       operation.run() -> Outcome; then operation.status() -> Rights
                       operation.cancel()                             when a preempted one is given up
    space_control.py   set_areas(space, kip_area, utcb_area, kip) -> Outcome     after area_error said OK
                       delete_space(space) -> Outcome

An operation that was preempted may be made anew instead of being run again: it then finishes what is left,
and status bits that the first one had collected are lost. Do not keep an operation when one of its spaces
is deleted.
"""

from enum import IntEnum

from macadamia.kernels.l4.page_table import allowed, with_permissions, word_of
from macadamia.kernels.l4.slab import Slab
from macadamia.kernels.l4.space import Space
from macadamia.lang import Ptr, Struct, address_of, cast, interface, pointer_at, sizeof, storage, u8, u64
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, VirtAddr
from macadamia.machine.x86_64.page_table import ACCESSED, DIRTY, Entry

STATUS_BITS = ACCESSED | DIRTY  # as they lie in an entry


@storage(u8)
class Outcome(IntEnum):
    """How an operation on mappings ended."""

    DONE = 0
    RESTART = 1  # preempted: all is consistent; run it again to go on
    OUT_OF_MEMORY = 2  # kernel memory is exhausted; what was done stays
    NOT_THERE = 3  # the page does not exist


@interface
def preemption_point() -> bool:
    """Whether a long operation should stop here because something more urgent waits."""


class Mapping(Struct, align=64):
    """One page, mapped. Siblings form a ring; the parent points to the first."""

    space: Ptr[Space]
    parent: Ptr["Mapping"] | None
    first_child: Ptr["Mapping"] | None
    next: Ptr["Mapping"]
    previous: Ptr["Mapping"]
    entry: Ptr[Entry]
    address: VirtAddr
    level: u8  # of the page table that the entry is in: how large the page is
    status: u8  # STATUS_BITS since its space last asked
    unreported: u8  # STATUS_BITS that the parent was not told
    watched: bool  # a cursor is here

    def is_last_of(self, parent: Ptr["Mapping"]) -> bool:
        return self.next == parent.first_child

    def make_root(self) -> None:
        """No parent. The caller sets entry, address and level."""
        self.parent = None
        self.first_child = None
        self.next = self
        self.previous = self
        self.status = 0
        self.unreported = 0
        self.watched = False

    def link(self, parent: Ptr["Mapping"]) -> None:
        """Make it a child: before its siblings if it is as large as `parent`, else after them."""
        self.parent = parent
        first = parent.first_child
        if first is None:
            self.next = self
            self.previous = self
            parent.first_child = self
            return
        last = first.previous
        self.next = first
        self.previous = last
        first.previous = self
        last.next = self
        if self.level == parent.level:
            parent.first_child = self

    def unlink(self) -> None:
        """Take it from its parent. `parent` still tells who that was."""
        self.next.previous = self.previous
        self.previous.next = self.next
        parent = self.parent
        if parent is not None and parent.first_child == self:
            parent.first_child = self.next
            if self.next == self:
                parent.first_child = None

    def fill(self, entry: Entry) -> None:
        """Set its entry in the page table, and let that know this node."""
        self.entry[0] = entry
        word_of(self.entry)[0] = address_of(self)

    def collect(self) -> None:
        """Take the processor's marks from the entry."""
        entry = self.entry
        marks = u64(entry[0]) & STATUS_BITS
        if marks:
            entry[0] &= ~STATUS_BITS
            self.space.address_space.forget(self.address)
            self.status |= u8(marks)
            self.unreported |= u8(marks)

    def report(self, parent: Ptr["Mapping"]) -> None:
        """Tell the parent what happened."""
        parent.status |= self.unreported
        parent.unreported |= self.unreported
        self.unreported = 0

    def permissions(self) -> u64:
        return allowed(self.entry[0])

    def allow(self, permitted: u64) -> None:
        """Set the permissions; the TLB hears of it if some are gone."""
        old = self.permissions()
        self.entry[0] = with_permissions(self.entry[0], permitted)
        if old & ~permitted:
            self.space.address_space.forget(self.address)

    def frame(self) -> PhysAddr:
        return self.entry[0].address()

    def remove(self) -> None:
        """Unmap a page that has no children, and free the node."""
        assert self.first_child is None, "a page that others map"
        space = self.space
        address = self.address
        parent = self.parent
        if parent is not None:
            self.unreported |= u8(u64(self.entry[0]) & STATUS_BITS)
            self.report(parent)
        if self.watched:
            move_cursors(self)
        self.entry[0] = Entry(0)
        space.release(address, u64(self.level))
        space.address_space.forget(address)
        self.unlink()
        mappings.delete(self)


class Mappings(Slab):
    """All nodes."""

    OBJECT_SIZE = sizeof(Mapping)

    def new(self) -> Ptr[Mapping] | None:
        """A node with unknown contents; None when kernel memory is exhausted."""
        memory = self.allocate()
        return None if memory is None else cast(Mapping, memory)

    def delete(self, node: Ptr[Mapping]) -> None:
        self.free(cast(u8, node))


mappings = Mappings()


def mapping_of(entry: Ptr[Entry]) -> Ptr[Mapping] | None:
    """The node of the page that a leaf entry maps; None for a page of the kernel."""
    word = word_of(entry)[0]
    return pointer_at(Mapping, word) if word >= PAGE_SIZE else None


class Cursor(Struct):
    """Where a walk over all that was mapped from the page `root` goes on, parents before their children.

    While the walk is preempted its cursor is in the list `sleeping`, and whoever changes the tree moves it.
    """

    root: Ptr[Mapping] | None  # None: the page is gone or is not what it was
    at: Ptr[Mapping]  # valid while there is a root
    leaving: bool  # all of the subtree `at` was visited
    next: Ptr["Cursor"] | None  # in `sleeping`

    def begin(self, root: Ptr[Mapping]) -> None:
        """Go to the first child."""
        self.root = root
        self.at = root
        self.leaving = False
        self.descend()

    def descend(self) -> None:
        """The node was visited: go to its first child."""
        child = self.at.first_child
        if child is None:
            self.leaving = True
        else:
            self.at = child

    def leave(self) -> None:
        """The subtree was visited: go to the next sibling, or up."""
        parent = self.at.parent
        assert parent is not None, "a cursor outside of its tree"
        self.at.report(parent)
        self.leaving = self.at.is_last_of(parent)
        self.at = parent if self.leaving else self.at.next

    def sleep(self) -> None:
        """The walk stops for a while."""
        if self.root is not None:
            self.root.watched = True
            self.at.watched = True
            self.next = sleeping.first
            sleeping.first = self

    def wake(self) -> None:
        """The walk goes on, or is given up. Does nothing if it did not sleep."""
        previous = sleeping.first
        if previous == self:
            sleeping.first = self.next
            return
        while previous is not None:
            if previous.next == self:
                previous.next = self.next
                return
            previous = previous.next


class Cursors(Struct):
    first: Ptr[Cursor] | None


sleeping = Cursors()


def move_cursors(gone: Ptr[Mapping]) -> None:
    """A page without children goes."""
    forget_walks(gone)
    cursor = sleeping.first
    while cursor is not None:
        if cursor.root is not None and cursor.at == gone:
            cursor.leave()
            cursor.at.watched = True
        cursor = cursor.next


def forget_walks(root: Ptr[Mapping]) -> None:
    """Walks over what was mapped from `root` cannot go on."""
    cursor = sleeping.first
    while cursor is not None:
        if cursor.root == root:
            cursor.root = None
        cursor = cursor.next


def forget_all_walks() -> None:
    """Trees change their form so much that every walk has to begin anew."""
    cursor = sleeping.first
    while cursor is not None:
        cursor.root = None
        cursor = cursor.next


def remove_below(node: Ptr[Mapping]) -> Outcome:
    """Unmap all that was mapped from a page.

    Children of a child are handed up to `node` until the child has none: so the depth of the tree does not
    matter, and every step leaves a tree in which all rules hold.
    """
    child = node.first_child
    while child is not None:
        grandchild = child.first_child
        if grandchild is None:
            child.remove()
        else:
            if child.watched:
                forget_walks(child)
            grandchild.report(child)
            grandchild.unlink()
            grandchild.link(node)
        child = node.first_child
        if child is not None and preemption_point():
            return Outcome.RESTART
    return Outcome.DONE


def remove_all(node: Ptr[Mapping]) -> Outcome:
    """Unmap a page and all that was mapped from it."""
    outcome = remove_below(node)
    if outcome == Outcome.DONE:
        node.remove()
    return outcome
