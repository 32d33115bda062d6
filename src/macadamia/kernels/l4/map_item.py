"""Map and grant: one typed item of a message (X.2 manual, section 5.3).

The sender's fpage and the receiver's window select two regions of the same size; page by page, what the
sender has in the one appears in the other. A step looks at one page on both sides and does one thing:
either what brings the two closer (split a page, remove what is in the way), or the transfer of a page.
After each step everything is consistent and both sides are looked at anew, so an operation may stop
anywhere.

Sizes of pages make no difference to what users can reach:

- A page of the sender's that is larger than what is mapped of it gets a smaller child; it is split only when
  granted.
- A larger page at the target is split, unless it is the same memory already.
- A table of smaller pages at the target is filled with smaller children.

The same frame at the same place: a map from the same page adds rights; from another page it adds none that
are there already, and replaces the mapping if it would. Another frame there is unmapped first, from all who
have it by the receiver. A grant replaces whatever is there. If that is what the sender had its page from,
the page is gone on both sides. A grant that withholds rights first unmaps what others had from the sender.
"""

from macadamia.abi.l4.fpages import Fpage
from macadamia.abi.l4.messages import GRANT_ITEM, ItemHeader
from macadamia.kernels.l4.identity import map_identity
from macadamia.kernels.l4.mapping import (
    Mapping,
    Outcome,
    mapping_of,
    mappings,
    preemption_point,
    remove_all,
    remove_below,
)
from macadamia.kernels.l4.page_table import LEVEL_1, allowed, permissions, user_bits, with_permissions
from macadamia.kernels.l4.physical_memory import physical_memory
from macadamia.kernels.l4.space import Space
from macadamia.kernels.l4.split import split
from macadamia.lang import Ptr, Struct, inline, noinline, u8, u64, unlikely
from macadamia.machine.addresses import PAGE_SIZE, VirtAddr
from macadamia.machine.x86_64.layout import USER_END
from macadamia.machine.x86_64.page_table import (
    ADDRESS,
    CACHE_DISABLE,
    LARGE,
    WRITE_THROUGH,
    Entry,
    page_size,
)

INHERITED = ADDRESS | CACHE_DISABLE | WRITE_THROUGH
"""What of the sender's entry the receiver's takes over."""


class MapOperation(Struct):
    """A map or grant item while it is carried out."""

    sender: Ptr[Space]
    receiver: Ptr[Space]
    source: u64  # where the region begins in the sender's space
    target: u64  # ... and in the receiver's
    size: u64  # of the region: a power of two that divides both
    done: u64
    permissions: u64  # wanted
    grant: bool
    clearing: bool  # what was at the target is being unmapped; the sender's page may have gone with it

    def prepare(
        self, sender: Ptr[Space], receiver: Ptr[Space], item: ItemHeader, region: Fpage, window: Fpage
    ) -> None:
        """Set up for the item (`item`, `region`) and the receiver's window. All words may be anything."""
        self.sender = sender
        self.receiver = receiver
        self.permissions = permissions(region.rights)
        self.grant = item.kind == GRANT_ITEM
        self.clearing = False
        self.done = 0
        self.size = 0
        region_size = u64(1) << region.size_log2()
        window_size = u64(1) << window.size_log2()
        size = min(region_size, window_size)
        if size < PAGE_SIZE:  # I/O fpages, too, look so small
            return
        self.size = size
        hot_spot = u64(item) & (0 - size)
        self.source = u64(region) & (0 - region_size) | hot_spot & (region_size - 1)
        self.target = u64(window) & (0 - window_size) | hot_spot & (window_size - 1)
        if self.grant and sender == receiver and self.source == self.target:
            self.size = 0

    def run(self) -> Outcome:
        """Carry it out: DONE, RESTART or OUT_OF_MEMORY."""
        while self.done < self.size:
            outcome = self.step()
            if outcome != Outcome.DONE:
                return outcome
            if self.done < self.size and preemption_point():
                return Outcome.RESTART
        return Outcome.DONE

    def step(self) -> Outcome:
        """Look at the page that is next and do one thing."""
        address = self.source + self.done
        if unlikely(address >= USER_END or self.target + self.done >= USER_END):
            self.done = self.size
            return Outcome.DONE
        if unlikely(self.clearing):
            return self.go_on_clearing()
        entry, level = self.sender.find(VirtAddr(address))
        if unlikely(not entry[0].present):
            return self.find_missing(address, level)
        node = mapping_of(entry)
        if node is None:
            return self.skip(address, level)
        if level == LEVEL_1:
            return self.transfer(node, address, LEVEL_1)  # the most frequent: a copy of its own
        return self.transfer_large(node, address, level)

    @noinline
    def transfer_large(self, node: Ptr[Mapping], address: u64, level: u64) -> Outcome:
        return self.transfer(node, address, self.piece_level(level))

    @inline
    def transfer(self, node: Ptr[Mapping], address: u64, level: u64) -> Outcome:
        """Bring what the sender has at `address`, in `node`, to the receiver, in pages of up to `level`."""
        target = self.target + self.done
        while unlikely(self.receiver.in_kernel_areas(target, target + page_size(level))):
            if level == LEVEL_1:
                return self.skip(address, level)
            level -= 1
        return self.put(node, level)

    @noinline
    def find_missing(self, address: u64, level: u64) -> Outcome:
        """The sender has no page: sigma0 gets one, others do not have it."""
        if self.sender.is_sigma0 and address < physical_memory.end:
            outcome = map_identity(self.sender, VirtAddr(address))
            if outcome != Outcome.NOT_THERE:
                return outcome
            return self.skip(address, LEVEL_1)
        return self.skip(address, level)

    def skip(self, address: u64, level: u64) -> Outcome:
        """Go on behind the page, or the hole, of that level."""
        end = (address | (page_size(level) - 1)) + 1
        self.done = end - self.source
        return Outcome.DONE

    def piece_level(self, level: u64) -> u64:
        """The level of the page to map: the sender's, or less where the region is smaller."""
        while page_size(level) > self.size or self.done & (page_size(level) - 1):
            level -= 1
        return level

    @inline
    def put(self, node: Ptr[Mapping], level: u64) -> Outcome:
        """Bring what the sender has in `node` to the target, as a page of `level` or smaller."""
        target = VirtAddr(self.target + self.done)
        entry, at, count = self.receiver.find_or_make(target, level)
        if entry is None:
            return Outcome.OUT_OF_MEMORY
        while level > LEVEL_1 and entry[0].is_table(at):
            level -= 1
            entry, at, count = self.receiver.find_or_make(target, level)
            if entry is None:
                return Outcome.OUT_OF_MEMORY
        if entry[0].present:
            return self.put_on(node, entry, at, level)
        if self.grant:
            return self.give(node, entry, level, count)
        new = mappings.new()
        if new is None:
            self.receiver.leave_empty(target, level, count)
            return Outcome.OUT_OF_MEMORY
        count[0] += 1
        self.fill(new, node, entry, level)
        self.done += page_size(level)
        return Outcome.DONE

    def frame_bits(self, node: Ptr[Mapping]) -> u64:
        """The address bits, and others that are inherited, of a piece of the sender's page."""
        inside = (self.source + self.done) & (page_size(u64(node.level)) - 1)
        return (u64(node.entry[0]) & INHERITED) + inside

    @inline
    def fill(self, new: Ptr[Mapping], node: Ptr[Mapping], entry: Ptr[Entry], level: u64) -> None:
        """Make `new` the child of `node` that `entry` maps."""
        new.make_root()
        new.space = self.receiver
        new.address = VirtAddr(self.target + self.done)
        new.entry = entry
        new.level = u8(level)
        new.link(node)
        large: u64 = LARGE if level > 1 else 0
        new.fill(Entry(self.frame_bits(node) | user_bits(self.permissions & node.permissions()) | large))

    @noinline
    def put_on(self, node: Ptr[Mapping], entry: Ptr[Entry], at: u64, level: u64) -> Outcome:
        """Something is mapped at the target, in a page of level `at`, not smaller than `level`."""
        there = mapping_of(entry)
        if there is None:
            self.done += page_size(level)
            return Outcome.DONE
        inside = (self.target + self.done) & (page_size(at) - 1)
        same = (u64(entry[0]) ^ self.frame_bits(node) - inside) & ADDRESS == 0
        missing = self.permissions & node.permissions() & ~allowed(entry[0])
        if same and not self.grant:
            if missing == 0:
                self.done += page_size(level)
                return Outcome.DONE
            if at == level and there.parent == node:
                there.allow(there.permissions() | missing)
                self.done += page_size(level)
                return Outcome.DONE
        return split(there) if at > level else self.clear(there)

    def clear(self, there: Ptr[Mapping]) -> Outcome:
        """Unmap what is at the target."""
        outcome = remove_all(there)
        self.clearing = outcome == Outcome.RESTART
        return outcome

    @noinline
    def go_on_clearing(self) -> Outcome:
        """`clear` was preempted: finish it, whatever became of the sender's page."""
        self.clearing = False
        entry, level = self.receiver.find(VirtAddr(self.target + self.done))
        there = mapping_of(entry) if entry[0].present else None
        if there is None or self.piece_level(level) < level:
            return Outcome.DONE
        return self.clear(there)

    @noinline
    def give(self, node: Ptr[Mapping], entry: Ptr[Entry], level: u64, count: Ptr[u64]) -> Outcome:
        """Move the sender's page to the empty `entry`."""
        if u64(node.level) > level:
            self.receiver.leave_empty(VirtAddr(self.target + self.done), level, count)
            return split(node)
        permitted = node.permissions() & self.permissions
        if node.permissions() != permitted and node.first_child is not None:
            self.receiver.leave_empty(VirtAddr(self.target + self.done), level, count)
            return remove_below(node)  # which may free the very table that `entry` is in
        count[0] += 1
        self.move(node, entry, permitted)
        self.done += page_size(level)
        return Outcome.DONE

    def move(self, node: Ptr[Mapping], entry: Ptr[Entry], permitted: u64) -> None:
        """Let `entry` of the receiver map the page, and the sender's no longer."""
        moved = with_permissions(node.entry[0], permitted)
        node.entry[0] = Entry(0)
        self.sender.release(node.address, u64(node.level))
        self.sender.address_space.forget(node.address)
        node.space = self.receiver
        node.address = VirtAddr(self.target + self.done)
        node.entry = entry
        node.fill(moved)
