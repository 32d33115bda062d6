"""Exceptions as messages: the registers of the thread that raised one, and those its handler answers
(X.2 manual, section 7.5 and the amd64 fact sheet, section 8.1).
"""

from macadamia.abi.l4.messages import ARCHITECTURE_EXCEPTION_PROTOCOL, MessageTag, protocol_label, tag
from macadamia.kernels.l4.thread import Thread
from macadamia.lang import Ptr

EXCEPTION_WORDS = 20
EXCEPTION_TAG = tag(protocol_label(ARCHITECTURE_EXCEPTION_PROTOCOL), EXCEPTION_WORDS)
REPLIED_WORDS = 18  # registers: the vector and the error code are not answered


def store(thread: Ptr[Thread]) -> None:
    """The exception message of `thread`."""
    frame, words = thread.frame, thread.message
    words[0] = EXCEPTION_TAG
    words[1] = frame.rip
    words[2] = frame.rbx
    words[3] = frame.r10
    words[4] = frame.r12
    words[5] = frame.r13
    words[6] = frame.r14
    words[7] = frame.r15
    words[8] = frame.rax
    words[9] = frame.rcx
    words[10] = frame.rdx
    words[11] = frame.rsi
    words[12] = frame.rdi
    words[13] = frame.rbp
    words[14] = frame.r8
    words[15] = frame.r9
    words[16] = frame.r11
    words[17] = frame.rsp
    words[18] = frame.rflags
    words[19] = frame.vector
    words[20] = frame.error


def load(thread: Ptr[Thread]) -> None:
    """The handler's answer into the registers; words that are missing leave theirs as they were."""
    frame, words = thread.frame, thread.message
    count = MessageTag(words[0]).untyped
    frame.jump(words[1] if count >= 1 else frame.rip)
    frame.rbx = words[2] if count >= 2 else frame.rbx
    frame.r10 = words[3] if count >= 3 else frame.r10
    frame.r12 = words[4] if count >= 4 else frame.r12
    frame.r13 = words[5] if count >= 5 else frame.r13
    frame.r14 = words[6] if count >= 6 else frame.r14
    frame.r15 = words[7] if count >= 7 else frame.r15
    frame.rax = words[8] if count >= 8 else frame.rax
    frame.rcx = words[9] if count >= 9 else frame.rcx
    frame.rdx = words[10] if count >= 10 else frame.rdx
    frame.rsi = words[11] if count >= 11 else frame.rsi
    frame.rdi = words[12] if count >= 12 else frame.rdi
    frame.rbp = words[13] if count >= 13 else frame.rbp
    frame.r8 = words[14] if count >= 14 else frame.r8
    frame.r9 = words[15] if count >= 15 else frame.r9
    frame.r11 = words[16] if count >= 16 else frame.r11
    frame.rsp = words[17] if count >= 17 else frame.rsp
    if count >= REPLIED_WORDS:
        frame.set_flags(words[18])
