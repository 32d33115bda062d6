"""Sets of I/O ports that a thread may use.

Every change gives a set a new version, unique among all sets: the processor's copy (x86_64/io_ports.py) is
up to date exactly when it has the same version.
"""

from macadamia.lang import Array, Struct, fill_bytes, pointer_to, static, u8, u16, u64

PORTS = 1 << 16
BITMAP_BYTES = PORTS // 8


class Versions(Struct):
    last: u64


versions = static(Versions)


class IoPermissions(Struct):
    """A set of allowed ports, in the form of the TSS bitmap. Call `clear` before anything else."""

    version: u64
    denied: Array[u8, BITMAP_BYTES]  # a bit for each port

    def clear(self) -> None:
        """Allow no port."""
        fill_bytes(pointer_to(self.denied[0]), 0xFF, BITMAP_BYTES)
        self.changed()

    def allow(self, port: u16) -> None:
        self.denied[port >> 3] &= ~(u8(1) << (port & 7))
        self.changed()

    def deny(self, port: u16) -> None:
        self.denied[port >> 3] |= u8(1) << (port & 7)
        self.changed()

    def allows(self, port: u16) -> bool:
        return self.denied[port >> 3] >> (port & 7) & 1 == 0

    def changed(self) -> None:
        versions.last += 1
        self.version = versions.last
