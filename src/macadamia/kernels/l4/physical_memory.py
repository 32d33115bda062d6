"""What the kernel knows of physical memory: which of it is RAM, and which is its own and not for users."""

from macadamia.lang import Array, Struct, range, u64
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, round_down, round_up

MAXIMUM_RANGES = 64


class Ranges(Struct):
    """Ranges of whole pages."""

    starts: Array[u64, MAXIMUM_RANGES]
    ends: Array[u64, MAXIMUM_RANGES]
    count: u64

    def add(self, start: u64, end: u64) -> bool:
        """False when there is no room to note it."""
        if self.count == MAXIMUM_RANGES:
            return False
        self.starts[self.count] = start
        self.ends[self.count] = end
        self.count += 1
        return True

    def overlap(self, start: u64, end: u64) -> bool:
        for i in range(self.count):  # noqa: SIM110 - kernel Python has no generators
            if start < self.ends[i] and self.starts[i] < end:
                return True
        return False


class PhysicalMemory(Struct):
    ram: Ranges
    kernel: Ranges
    end: u64  # first address that the processor cannot have; entries with more bits fault (SDM volume 3, 4.5)

    def add_ram(self, start: u64, end: u64) -> bool:
        """Memory that the kernel sees through its physical map."""
        return self.ram.add(round_down(start, PAGE_SIZE), round_up(end, PAGE_SIZE))

    def add_kernel(self, start: u64, end: u64) -> bool:
        """Memory and devices that sigma0 cannot hand out: the kernel's image, its own memory, its interrupt
        controllers."""
        return self.kernel.add(round_down(start, PAGE_SIZE), round_up(end, PAGE_SIZE))

    def is_ram(self, page: PhysAddr) -> bool:
        """Whether the kernel may touch a page: reading a device has effects, and most are not in its map."""
        return self.ram.overlap(u64(page), u64(page) + PAGE_SIZE)

    def is_free_of_kernel(self, start: u64, end: u64) -> bool:
        """Whether users may have all of `start` to `end`."""
        return end <= self.end and not self.kernel.overlap(start, end)


physical_memory = PhysicalMemory()
