"""Page faults, exceptions and interrupts as messages (fact sheet, sections 7, 8.1 and 8.3)."""

from typing import Any

import pytest

from macadamia.abi.l4.errors import CallError, IpcError
from macadamia.abi.l4.fpages import Rights
from macadamia.abi.l4.identifiers import ThreadId
from macadamia.kernels.l4.thread import Activity, ThreadState
from macadamia.lang import u64
from macadamia.machine.addresses import VirtAddr
from tests.kernels.l4.harness import ABSENT_LINE, ANY, NIL, Kernel, gid, machine

Pair = tuple[Any, Any]
LABEL_MASK = (1 << 48) - 1
EXCEPTION_LABEL = (-5 << 4) & LABEL_MASK
INTERRUPT_LABEL = (-1 << 4) & LABEL_MASK
MESSAGE_ORDER = (
    *("rip", "rbx", "r10", "r12", "r13", "r14", "r15", "rax"),
    *("rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r11"),
)


def registers(thread: Any) -> list[int]:
    """MR0 to MR63 in the UTCB."""
    return [int(thread.utcb.message_registers[index]) for index in range(64)]


@pytest.mark.parametrize(("access", "code"), [(Rights.READ, 4), (Rights.WRITE, 2), (Rights.EXECUTE, 1)])
def test_a_page_fault_is_a_call_to_the_pager(kernel: Kernel, pair: Pair, access: Rights, code: int) -> None:
    one, _ = pair
    for index in range(64):
        one.utcb.message_registers[index] = index * 3
    one.utcb.error_code = 99
    before = [int(getattr(one.frame, name)) for name in MESSAGE_ORDER]
    kernel.fault(one, 0x1234_5679, access)
    assert one.state == ThreadState.SENDING
    got = kernel.ipc(kernel.root, NIL, ANY)
    assert got is not None
    assert got.from_ == one.id
    assert got.tag == ((-2 << 4) + code & LABEL_MASK) << 16 | 2
    assert got.words[:2] == (0x1234_5679, before[0])
    kernel.check()
    # An answer longer than the kernel expects changes nothing of the thread
    assert kernel.ipc(kernel.root, int(one.id), NIL, *range(500, 563)) is not None
    assert one.state == ThreadState.READY
    assert [int(getattr(one.frame, name)) for name in MESSAGE_ORDER] == before
    assert registers(one) == [index * 3 for index in range(64)]
    assert one.utcb.error_code == 99
    kernel.check()


def test_the_answer_to_a_fault_maps(kernel: Kernel, pair: Pair) -> None:
    one, _ = pair
    place = kernel.give_page(kernel.root, 0x70_0000)
    kernel.fault(one, 0x40_0010)
    assert kernel.ipc(kernel.root, NIL, ANY) is not None
    item = (0x40_0000 | 8, 0x70_0000 | 12 << 4 | 7)
    sent = kernel.ipc(kernel.root, int(one.id), NIL, *item, typed=2)
    assert sent is not None
    assert not sent.failed
    assert one.state == ThreadState.READY
    assert kernel.code.physical_address(one.space, VirtAddr(0x40_0000)) == place
    kernel.check()


def many_pages(kernel: Kernel, pair: Pair) -> tuple[int, ...]:
    """A map item of eight pages that the root task has; every step of mapping them is preempted."""
    for index in range(8):
        kernel.give_page(kernel.root, 0x70_0000 + index * 0x1000)
    machine.preempt_every = u64(1)
    return (8, 0x70_0000 | 15 << 4 | 7)


@pytest.mark.parametrize("copying", [False, True])
def test_a_long_mapping_is_preempted_and_goes_on(kernel: Kernel, pair: Pair, *, copying: bool) -> None:
    one, two = pair
    item = many_pages(kernel, pair)
    if copying:
        for index, word in enumerate((1, 8 << 10, 0x9000)):
            two.utcb.buffer_registers[32 - index] = word
        kernel.ipc(two, NIL, ANY)
        kernel.ipc(one, int(two.id), NIL, 8 << 10, 0x2000, typed=2)
    else:
        kernel.fault(one, 0x2000)
    kernel.ipc(kernel.root, NIL, ANY)
    other = kernel.spawn(54, priority=255)
    assert kernel.ipc(kernel.root, int(one.id), NIL, *item, typed=2) is None
    assert kernel.root.activity == Activity.COPY
    assert one.state == ThreadState.TRANSFERRING
    kernel.check()
    kernel.ipc(other, NIL, ANY)  # nobody else wants to run: the mapping is completed
    assert not kernel.result(kernel.root).failed
    assert kernel.code.physical_address(one.space, VirtAddr(0x7000)) != 0
    kernel.check()


@pytest.mark.parametrize("copying", [False, True])
@pytest.mark.parametrize("how", ["cancel", "delete", "cancel pager", "delete partner"])
def test_the_end_of_a_long_answer(kernel: Kernel, pair: Pair, how: str, *, copying: bool) -> None:
    """The pager's answer is being mapped when the transfer, or one of those in it, ends."""
    one, two = pair
    pager = kernel.spawn(55)
    for index in range(8):
        kernel.give_page(pager, 0x70_0000 + index * 0x1000)
    one.utcb.pager = pager.id
    if copying:
        for index, word in enumerate((1, 8 << 10, 0x9000)):
            two.utcb.buffer_registers[32 - index] = word
        kernel.ipc(two, NIL, ANY)
        kernel.ipc(one, int(two.id), NIL, 8 << 10, 0x2000, typed=2)
    else:
        kernel.fault(one, 0x2000)
    kernel.ipc(pager, NIL, ANY)
    machine.preempt_every = u64(1)
    assert kernel.ipc(pager, int(one.id), NIL, 8, 0x70_0000 | 15 << 4 | 7, typed=2) is None
    kernel.check()
    machine.preempt_every = u64(0)
    match how:
        case "cancel":
            kernel.exchange_registers(kernel.root, int(one.id), 6)
        case "delete":
            assert kernel.thread_control(int(one.id), NIL) is None
        case "cancel pager":
            kernel.exchange_registers(kernel.root, int(pager.id), 6)
        case _:
            assert kernel.thread_control(int(two.id), NIL) is None
    kernel.check()
    if how != "delete partner" or copying:
        assert kernel.result(pager).failure == (IpcError.ABORTED, "send")
    if copying and how != "delete partner":
        assert kernel.result(two).failure == (IpcError.ABORTED, "receive")
    if copying and how != "delete":
        assert kernel.result(one).failure == (IpcError.ABORTED, "send")


def test_a_forged_fault_message_is_not_seen(kernel: Kernel, pair: Pair) -> None:
    """The message is the kernel's: another thread of the space cannot change it in the UTCB."""
    one, _ = pair
    kernel.fault(one, 0x5000)
    one.utcb.message_registers[0] = 63 | 63 << 6
    one.utcb.buffer_registers[32] = 1
    got = kernel.ipc(kernel.root, NIL, ANY)
    assert got is not None
    assert got.words[0] == 0x5000


@pytest.mark.parametrize("pager", [0, gid(60), ANY, 0x1000])
def test_a_fault_without_a_pager_loops_and_lets_others_run(kernel: Kernel, pair: Pair, pager: int) -> None:
    one, two = pair
    kernel.ipc(kernel.root, NIL, ANY)
    one.utcb.pager = ThreadId(pager)
    kernel.fault(one, 0x5000)
    assert one.state == ThreadState.READY
    kernel.check()
    assert two.next is None  # it runs
    assert one.next is not None


def test_cancelling_a_fault_lets_the_thread_go_on(kernel: Kernel, pair: Pair) -> None:
    one, _ = pair
    for index in range(64):
        one.utcb.message_registers[index] = index * 3
    kernel.fault(one, 0x5000)
    kernel.exchange_registers(kernel.root, int(one.id), 0x16, r8=0x7777, rdx=0)
    assert one.state == ThreadState.READY
    assert one.frame.rip == 0x7777
    assert registers(one) == [index * 3 for index in range(64)]
    kernel.check()


def test_an_exception_carries_the_registers_and_the_error_code(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    one.utcb.exception_handler = two.id
    for index, name in enumerate((*MESSAGE_ORDER, "rsp")):
        setattr(one.frame, name, 0x100 + index)
    one.frame.rflags = 0x246
    assert kernel.ipc(two, NIL, ANY) is None
    kernel.exception(one, 13, 0x58)
    got = kernel.result(two)
    assert got.tag == EXCEPTION_LABEL << 16 | 20
    assert got.words[:20] == (*range(0x100, 0x111), 0x246, 13, 0x58)
    kernel.check()
    answer = (*range(0x200, 0x211), 0xFFFF_FFFF)
    assert kernel.ipc(two, int(one.id), NIL, *answer) is not None
    assert one.state == ThreadState.READY
    assert [int(getattr(one.frame, name)) for name in (*MESSAGE_ORDER, "rsp")] == list(range(0x200, 0x211))
    assert one.frame.rflags & 0x200
    assert not one.frame.rflags & 0x3000  # IOPL is not the user's
    kernel.check()


def test_a_short_answer_keeps_the_other_registers(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    one.utcb.exception_handler = two.id
    one.frame.r15 = 0x15
    kernel.ipc(two, NIL, ANY)
    kernel.exception(one, 6)
    kernel.ipc(two, int(one.id), NIL, 0x9000, 0xB)
    assert (one.frame.rip, one.frame.rbx, one.frame.r15) == (0x9000, 0xB, 0x15)


@pytest.mark.parametrize("handler", [0, gid(60)])
def test_an_exception_without_a_handler_halts(kernel: Kernel, pair: Pair, handler: int) -> None:
    one, _ = pair
    one.utcb.exception_handler = ThreadId(handler)
    kernel.exception(one, 0)
    assert one.state == ThreadState.HALTED
    kernel.check()
    kernel.exchange_registers(kernel.root, int(one.id), 0x100)
    assert one.state == ThreadState.READY
    kernel.check()


def associate(kernel: Kernel, line: int, handler: int) -> CallError | None:
    return kernel.thread_control(gid(line), gid(line), NIL, handler)


def test_an_interrupt_is_a_message(kernel: Kernel, pair: Pair) -> None:
    one, _ = pair
    assert associate(kernel, 3, int(one.id)) is None
    assert machine.enabled & 8
    assert kernel.ipc(one, NIL, ANY) is None
    for count in range(1, 4):
        kernel.interrupt(3)
        got = kernel.result(one)
        assert (got.from_, got.tag) == (gid(3), INTERRUPT_LABEL << 16)
        kernel.interrupt(3)  # silent until acknowledged; were it to come, it would not be delivered
        assert kernel.ipc(one, gid(3), gid(3)) is None
        assert machine.acknowledged[3] == count
        kernel.check()


def test_an_interrupt_waits_for_a_busy_handler(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    associate(kernel, 3, int(one.id))
    kernel.ipc(two, int(one.id), NIL, 1)
    kernel.interrupt(3)
    kernel.check()
    first, second = kernel.ipc(one, NIL, ANY), kernel.ipc(one, NIL, ANY)
    assert first is not None
    assert second is not None
    assert (first.from_, second.from_) == (two.id, gid(3))
    kernel.check()


def test_a_closed_wait_is_closed_to_interrupts(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    associate(kernel, 3, int(one.id))
    kernel.ipc(one, NIL, int(two.id))
    kernel.interrupt(3)
    assert one.state == ThreadState.RECEIVING
    kernel.check()


def test_only_the_handler_acknowledges(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    associate(kernel, 3, int(one.id))
    kernel.ipc(one, NIL, ANY)
    kernel.interrupt(3)
    assert kernel.ipc(two, gid(3)) is not None
    assert machine.acknowledged[3] == 0


def test_interrupt_association_errors(kernel: Kernel, pair: Pair) -> None:
    one, _ = pair
    assert associate(kernel, 3, gid(60)) == CallError.INVALID_THREAD
    assert associate(kernel, ABSENT_LINE, int(one.id)) == CallError.INVALID_THREAD
    assert kernel.thread_control(gid(3, 2), gid(3, 2), NIL, int(one.id)) == CallError.INVALID_THREAD
    got = kernel.ipc(one, gid(3))
    assert got is not None
    assert got.failure == (IpcError.NON_EXISTENT, "send")
    kernel.interrupt(3)
    assert not machine.enabled & 8


@pytest.mark.parametrize("fired", [0, 1, 2])
@pytest.mark.parametrize("how", ["dissociate", "delete", "rename", "another"])
def test_the_end_of_an_association(kernel: Kernel, pair: Pair, fired: int, how: str) -> None:
    """In each phase: idle, its message waiting, its message delivered."""
    one, two = pair
    associate(kernel, 3, int(one.id))
    if fired == 2:
        kernel.ipc(one, NIL, ANY)
    if fired:
        kernel.interrupt(3)
    kernel.check()
    match how:
        case "dissociate":
            assert associate(kernel, 3, gid(3)) is None
        case "delete":
            assert kernel.thread_control(int(one.id), NIL) is None
        case "rename":
            assert kernel.thread_control(gid(51, 2), gid(51, 2)) is None
        case _:
            assert associate(kernel, 3, int(two.id)) is None
    kernel.check()
    kernel.ipc(two, NIL, ANY)
    kernel.interrupt(3)
    kernel.check()
    assert (two.state == ThreadState.READY) == (how == "another")
    assert bool(machine.enabled & 8) == (how == "another")
