"""The kernel's own memory: a bounded pool of page frames, given over once at start.

Everything the kernel keeps for its users comes from here: page tables, address spaces, mapping nodes,
threads, UTCBs. When it is exhausted, allocation says so and the caller reports an X.2 error; nothing else
in the machine is affected.

Frames are handed out singly or as aligned pairs (a page table and the page behind it). Two frames that were
separated come together again as soon as both are free, so pairs do not run out while memory is free: a
buddy system of two sizes. Free blocks are linked through the frames themselves, and a bitmap at the start
of the pool, 1/32768 of it, tells which frames are free.
"""

from macadamia.lang import Ptr, Struct, cast, fill_bytes, static, u64
from macadamia.machine.addresses import PAGE_BITS, PAGE_SIZE, PhysAddr, round_down, round_up
from macadamia.machine.interface import physical_pointer

PAIR_SIZE = 2 * PAGE_SIZE
WORD_BITS = 64


class FreeBlock(Struct):
    """A free frame or pair, in the circular list of its size."""

    next: Ptr["FreeBlock"]
    previous: Ptr["FreeBlock"]
    address: PhysAddr

    def make_head(self) -> None:
        """An empty list."""
        self.next = self
        self.previous = self

    def is_empty(self) -> bool:
        return self.next == self

    def push(self, block: Ptr["FreeBlock"]) -> None:
        block.next = self.next
        block.previous = self
        self.next.previous = block
        self.next = block

    def unlink(self) -> None:
        self.next.previous = self.previous
        self.previous.next = self.next


class KernelMemory(Struct):
    start: PhysAddr  # of the frames that can be allocated; a multiple of PAIR_SIZE
    end: PhysAddr
    bitmap: Ptr[u64]  # a bit for each frame from `start`: 1 = free
    pairs: FreeBlock  # heads of the lists
    singles: FreeBlock
    free_pages: u64  # frames that can still be allocated

    def donate(self, start: PhysAddr, end: PhysAddr) -> None:
        """Take over physical memory from `start` to `end`, whole pairs of it. Once, before anything else."""
        first = round_up(u64(start), PAIR_SIZE)
        last = max(first, round_down(u64(end), PAIR_SIZE))
        bitmap_bytes = round_up((last - first) >> PAGE_BITS, WORD_BITS) // 8
        self.bitmap = cast(u64, physical_pointer(PhysAddr(first)))
        self.start = PhysAddr(min(last, round_up(first + bitmap_bytes, PAIR_SIZE)))
        self.end = PhysAddr(last)
        self.free_pages = 0
        self.pairs.make_head()
        self.singles.make_head()
        fill_bytes(physical_pointer(PhysAddr(first)), 0, u64(self.start) - first)
        block = self.end
        while block != self.start:
            block -= PAIR_SIZE
            self.free_pair(block)

    def allocate_page(self) -> PhysAddr:
        """A frame with unknown contents; 0 when memory is exhausted."""
        if self.singles.is_empty():
            pair = self.allocate_pair()
            if pair != PhysAddr(0):
                self.link(self.singles, pair + PAGE_SIZE, 1)
            return pair
        block = self.singles.next
        block.unlink()
        self.flip(block.address, 1)
        self.free_pages -= 1
        return block.address

    def free_page(self, page: PhysAddr) -> None:
        """Give back one frame: of `allocate_page`, or one half of a pair."""
        neighbour = PhysAddr(u64(page) ^ PAGE_SIZE)
        if self.is_free(neighbour):
            block_at(neighbour).unlink()
            self.flip(neighbour, 1)
            self.free_pages -= 1
            self.free_pair(PhysAddr(min(u64(page), u64(neighbour))))
            return
        self.link(self.singles, page, 1)

    def allocate_pair(self) -> PhysAddr:
        """Two frames in a row, at a multiple of PAIR_SIZE, with unknown contents; 0 when there are none."""
        if self.pairs.is_empty():
            return PhysAddr(0)
        block = self.pairs.next
        block.unlink()
        self.flip(block.address, 3)
        self.free_pages -= 2
        return block.address

    def free_pair(self, pair: PhysAddr) -> None:
        self.link(self.pairs, pair, 3)

    def link(self, head: Ptr[FreeBlock], address: PhysAddr, frames: u64) -> None:
        """Put a block on a list; `frames` has a bit for each frame of it."""
        block = block_at(address)
        block.address = address
        head.push(block)
        self.flip(address, frames)
        self.free_pages += 1 if frames == 1 else 2

    def flip(self, address: PhysAddr, frames: u64) -> None:
        """Frames that were free are in use now, or the reverse."""
        index = (address - self.start) >> PAGE_BITS
        self.bitmap[index // WORD_BITS] ^= frames << index % WORD_BITS

    def is_free(self, page: PhysAddr) -> bool:
        index = (page - self.start) >> PAGE_BITS
        return self.bitmap[index // WORD_BITS] >> index % WORD_BITS & 1 != 0

    def contains(self, address: PhysAddr) -> bool:
        """Whether a frame belongs to the pool, free or in use."""
        return self.start <= address < self.end


def block_at(address: PhysAddr) -> Ptr[FreeBlock]:
    return cast(FreeBlock, physical_pointer(address))


kernel_memory = static(KernelMemory)


def allocate_zeroed_page() -> PhysAddr:
    """A frame of zeroes; 0 when memory is exhausted."""
    page = kernel_memory.allocate_page()
    if page != PhysAddr(0):
        fill_bytes(physical_pointer(page), 0, PAGE_SIZE)
    return page
