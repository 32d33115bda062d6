"""Error codes in the TCR ErrorCode (X.2 manual, sections 2.3, 5.6 and the descriptions of the calls)."""

from enum import IntEnum

from macadamia.lang import storage, u8, u64


@storage(u8)
class IpcError(IntEnum):
    """Bits 3..1 of ErrorCode after an IPC."""

    TIMEOUT = 1
    NON_EXISTENT = 2
    CANCELLED = 3
    OVERFLOW = 4
    TRANSFER_TIMEOUT_OWN = 5
    TRANSFER_TIMEOUT_PARTNER = 6
    ABORTED = 7


SEND_PHASE = 0
RECEIVE_PHASE = 1
OFFSET_SHIFT = 4  # bits 63..4: bytes of string data transferred


@storage(u8)
class CallError(IntEnum):
    """ErrorCode after the other system calls."""

    OK = 0
    NO_PRIVILEGE = 1
    INVALID_THREAD = 2
    INVALID_SPACE = 3
    INVALID_SCHEDULER = 4
    INVALID_PARAMETER = 5
    UTCB_AREA = 6
    KIP_AREA = 7
    OUT_OF_MEMORY = 8


def ipc_error(error: IpcError, phase: u64, offset: u64) -> u64:
    """The ErrorCode word of a failed IPC."""
    return offset << OFFSET_SHIFT | u64(error) << 1 | phase


def error_code(word: u64) -> IpcError:
    """The code in the ErrorCode word of a failed IPC."""
    return IpcError(u8(word >> 1 & 7))
