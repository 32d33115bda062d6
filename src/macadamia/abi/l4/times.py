"""Time: 16-bit periods and points, timeouts (X.2 manual, section 3.1)."""

from macadamia.lang import bitfield, u8, u16, u64


class Time(u16):
    """A period of m * 2**e microseconds, or a point in time in the clock's next 2**(e+10) microseconds."""

    mantissa = bitfield(u64, 0, 10)
    exponent = bitfield(u8, 10, 5)
    point = bitfield(bool, 15, 1)
    point_exponent = bitfield(u8, 11, 4)  # of a point in time, which has a 10-bit mantissa and the bit c
    point_parity = bitfield(u64, 10, 1)


NEVER = Time(0)
ZERO_TIME = Time(0x0400)  # m = 0, e = 1


class Timeouts(u64):
    """The timeouts of an IPC, and of string transfers in the TCR XferTimeouts."""

    receive = bitfield(Time, 0, 16)
    send = bitfield(Time, 16, 16)
