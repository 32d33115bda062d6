"""The page-fault message (X.2 manual, section 7.3): what the kernel sends to the pager for a thread."""

from macadamia.abi.l4.fpages import Rights
from macadamia.abi.l4.messages import PAGE_FAULT_PROTOCOL, protocol_label, tag
from macadamia.kernels.l4.thread import Activity, Thread
from macadamia.lang import Ptr, u64

PAGE_FAULT_WORDS = 2
READ_FAULT = tag(protocol_label(PAGE_FAULT_PROTOCOL, int(Rights.READ)), PAGE_FAULT_WORDS)
WRITE_FAULT = tag(protocol_label(PAGE_FAULT_PROTOCOL, int(Rights.WRITE)), PAGE_FAULT_WORDS)
EXECUTE_FAULT = tag(protocol_label(PAGE_FAULT_PROTOCOL, int(Rights.EXECUTE)), PAGE_FAULT_WORDS)


def fault_tag(access: Rights) -> u64:
    match access:
        case Rights.WRITE:
            return u64(WRITE_FAULT)
        case Rights.EXECUTE:
            return u64(EXECUTE_FAULT)
        case _:
            return u64(READ_FAULT)


def store(thread: Ptr[Thread], address: u64, ip: u64, access: Rights, activity: Activity) -> None:
    """The message of `thread`, whose IPC with its pager is `activity`."""
    thread.activity = activity
    thread.message[0] = fault_tag(access)
    thread.message[1] = address
    thread.message[2] = ip
