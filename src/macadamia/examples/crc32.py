"""CRC-32 (IEEE 802.3), one byte at a time over a table made at import time."""

from macadamia.lang import Ptr, constant, range, u8, u32, u64

POLYNOMIAL = 0xEDB88320  # bit-reversed
VALUES_OF_A_BYTE = 256


def remainder(byte: int) -> int:
    """The table's entry for one byte. Ordinary Python, run at import time only."""
    for _bit in range(8):
        byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


TABLE = constant(u32, [remainder(int(byte)) for byte in range(VALUES_OF_A_BYTE)])


def crc32(data: Ptr[u8], count: u64) -> u32:
    """The checksum of data[0:count], as zlib.crc32 computes it."""
    crc = u32(0xFFFF_FFFF)
    for i in range(count):
        crc = TABLE[(crc ^ data[i]) & 0xFF] ^ crc >> 8
    return ~crc
