"""The user-level thread control block (X.2 manual, appendix for amd64; the fact sheet, section 4)."""

from macadamia.abi.l4.identifiers import ThreadId
from macadamia.abi.l4.messages import BUFFER_REGISTERS, MESSAGE_REGISTERS
from macadamia.lang import Array, Struct, field, offsetof, u8, u64

UTCB_SIZE_LOG2 = 10
UTCB_SIZE = 1 << UTCB_SIZE_LOG2
MESSAGE_REGISTERS_OFFSET = 512  # of MR0 from the start of the UTCB: the local id points there
LAST_BUFFER_REGISTER = BUFFER_REGISTERS - 1

SIGNAL_PREEMPTION = 1 << 5
DELAY_PREEMPTION = 1 << 6
PREEMPTION_PENDING = 1 << 7


class Utcb(Struct, align=UTCB_SIZE):
    """1024 bytes that a thread shares with the kernel. Buffer registers lie in descending order."""

    buffer_registers: Array[u64, BUFFER_REGISTERS] = field(
        offset=MESSAGE_REGISTERS_OFFSET - 384
    )  # BR32 first
    my_global_id: ThreadId = field(offset=MESSAGE_REGISTERS_OFFSET - 120)
    processor: u64
    user_defined_handle: u64
    pager: ThreadId
    exception_handler: ThreadId
    preemption_flags: u8
    coprocessor_flags: u8
    error_code: u64 = field(offset=MESSAGE_REGISTERS_OFFSET - 72)
    transfer_timeouts: u64
    intended_receiver: ThreadId
    virtual_sender: ThreadId  # ActualSender on delivery
    thread_word_1: u64
    thread_word_0: u64
    word_size_mask: u64 = field(offset=MESSAGE_REGISTERS_OFFSET - 8)
    message_registers: Array[u64, MESSAGE_REGISTERS]


assert offsetof(Utcb, "message_registers") == MESSAGE_REGISTERS_OFFSET
