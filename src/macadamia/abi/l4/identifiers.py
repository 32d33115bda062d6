"""Thread identifiers (X.2 manual, section 2.1)."""

from macadamia.lang import bitfield, u32, u64

VERSION_BITS = 32
THREAD_NUMBER_BITS = 18
LOCAL_ID_MASK = 0x3F  # a local id has these bits clear, a global id has one of them set


class ThreadId(u64):
    """A global id (thread number, version), a local id (the address of the thread's MR0) or a special one."""

    version = bitfield(u32, 0, VERSION_BITS)
    number = bitfield(u32, VERSION_BITS, 32)

    def is_local(self) -> bool:
        """Whether this names a thread by its UTCB; nilthread and anylocalthread count as local."""
        return u64(self) & LOCAL_ID_MASK == 0

    def is_nil(self) -> bool:
        return u64(self) == 0


NIL_THREAD = ThreadId(0)
ANY_THREAD = ThreadId(0xFFFF_FFFF_FFFF_FFFF)
ANY_LOCAL_THREAD = ThreadId(0xFFFF_FFFF_FFFF_FFC0)


def global_id(number: u32, version: u32) -> ThreadId:
    return ThreadId(u64(number) << VERSION_BITS | u64(version))
