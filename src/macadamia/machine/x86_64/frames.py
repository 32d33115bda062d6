"""Physical memory in 4 KiB frames: what a kernel starts from.

Free memory is a few regions in ascending order, the lowest used first, from its low end, and a list of frames
that were given back, linked through the frames themselves. Allocating and freeing cost the same however much
memory there is, and nothing is set up per frame, so boot time does not depend on the size of memory.
"""

from macadamia.lang import Array, Ptr, Struct, cast, fill_bytes, range, static, u64
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, round_down, round_up
from macadamia.machine.interface import physical_pointer

MAXIMUM_REGIONS = 64


class Region(Struct):
    """Free frames from `start` up to `end`."""

    start: u64
    end: u64


class FramePool(Struct):
    regions: Array[Region, MAXIMUM_REGIONS]
    count: u64  # of regions in use; some may be empty
    returned: u64  # address of the first returned frame, 0 = none; each holds the address of the next
    available: u64  # frames

    def add(self, start: u64, end: u64) -> None:
        """Memory from `start` to `end` is free; what is not whole frames of it is ignored."""
        start = round_up(start, PAGE_SIZE)
        end = round_down(end, PAGE_SIZE)
        if start < end and self.count < MAXIMUM_REGIONS:
            region = self.make_room(start)
            region.start = start
            region.end = end
            self.available += (end - start) // PAGE_SIZE

    def make_room(self, start: u64) -> Ptr[Region]:
        """A new region before all that start above `start`."""
        position = self.count
        self.count += 1
        while position > 0 and self.regions[position - 1].start > start:
            self.regions[position].start = self.regions[position - 1].start
            self.regions[position].end = self.regions[position - 1].end
            position -= 1
        return self.regions[position]

    def reserve(self, start: u64, end: u64) -> None:
        """Memory from `start` to `end` is in use. Before the first allocation only."""
        start = round_down(start, PAGE_SIZE)
        end = round_up(end, PAGE_SIZE)
        i: u64 = 0
        while i < self.count:
            region = self.regions[i]
            i += 1
            if start < region.end and region.start < end:
                rest = region.end
                region.end = max(region.start, start)
                self.available -= (rest - region.end) // PAGE_SIZE
                self.add(end, rest)

    def allocate(self) -> PhysAddr:
        """A frame with unknown contents; 0 when memory is exhausted."""
        if self.returned:
            frame = PhysAddr(self.returned)
            self.returned = cast(u64, physical_pointer(frame))[0]
            self.available -= 1
            return frame
        return self.allocate_contiguous(1, PAGE_SIZE)

    def allocate_zeroed(self) -> PhysAddr:
        """A frame of zeroes; 0 when memory is exhausted."""
        frame = self.allocate()
        if frame != PhysAddr(0):
            fill_bytes(physical_pointer(frame), 0, PAGE_SIZE)
        return frame

    def allocate_contiguous(self, frames: u64, alignment: u64) -> PhysAddr:
        """`frames` frames in a row at a multiple of `alignment`, a power of two; 0 when no region has them.

        What is skipped for alignment becomes a region of its own when there is room to note it, else it is
        lost.
        """
        for i in range(self.count):
            region = self.regions[i]
            start = round_up(region.start, alignment)
            if start <= region.end and frames <= (region.end - start) // PAGE_SIZE:
                end = start + frames * PAGE_SIZE
                skipped = region.start
                region.start = end
                self.available -= (end - skipped) // PAGE_SIZE
                self.add(skipped, start)
                return PhysAddr(start)
        return PhysAddr(0)

    def free(self, frame: PhysAddr) -> None:
        """Give one frame back."""
        cast(u64, physical_pointer(frame))[0] = self.returned
        self.returned = u64(frame)
        self.available += 1


frame_pool = static(FramePool)


def allocate_table() -> PhysAddr:
    """A zeroed frame from the pool, for a page table."""
    return frame_pool.allocate_zeroed()


def free_table(table: PhysAddr) -> None:
    frame_pool.free(table)
