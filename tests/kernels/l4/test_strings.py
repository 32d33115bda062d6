"""String items: simple and compound, faults, transfer timeouts, long copies, aborts (fact sheet, 5.5)."""

from typing import Any

import pytest

from macadamia.abi.l4.errors import IpcError
from macadamia.abi.l4.fpages import Rights
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.strings import COPY_LIMIT
from macadamia.kernels.l4.thread import Activity, ThreadState
from macadamia.lang import memory
from macadamia.machine.addresses import PAGE_SIZE
from tests.kernels.l4.harness import ANY, NIL, ZERO, Kernel, gid

Pair = tuple[Any, Any]
SOURCE, TARGET = 0x40_0000, 0x80_0000
FAULT_LABEL = (-2 << 4) & (1 << 48) - 1


def accept_strings(thread: Any, *items: int, window: int = 0) -> None:
    """BR0 and the buffer items."""
    for index, word in enumerate((window | 1, *items)):
        thread.utcb.buffer_registers[32 - index] = word


def string(length: int, pointers: int = 1, *, more: bool = False, compound: bool = False) -> int:
    return length << 10 | compound << 9 | (pointers - 1) << 4 | more


def fill(place: int, content: bytes) -> None:
    memory.write(place, content)


@pytest.mark.parametrize("length", [0, 1, 100, 4096, 5000])
def test_a_string_arrives(kernel: Kernel, pair: Pair, length: int) -> None:
    one, two = pair
    pages = [kernel.give_page(one, SOURCE), kernel.give_page(one, SOURCE + PAGE_SIZE)]
    targets = [kernel.give_page(two, TARGET), kernel.give_page(two, TARGET + PAGE_SIZE)]
    content = bytes(index % 251 for index in range(2 * PAGE_SIZE))
    fill(pages[0], content[:PAGE_SIZE])
    fill(pages[1], content[PAGE_SIZE:])
    accept_strings(two, string(8000), TARGET)
    assert kernel.ipc(two, NIL, ANY) is None
    sent = kernel.ipc(one, int(two.id), NIL, 7, string(length), SOURCE, typed=2)
    assert sent is not None
    assert not sent.failed
    got = kernel.result(two)
    assert got.words[:3] == (7, string(length), SOURCE)
    copied = memory.bytes_at(targets[0], PAGE_SIZE) + memory.bytes_at(targets[1], PAGE_SIZE)
    assert copied == content[:length] + bytes(2 * PAGE_SIZE - length)
    kernel.check()


def test_compound_strings_on_both_sides(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    source, target = kernel.give_page(one, SOURCE), kernel.give_page(two, TARGET)
    fill(source, b"abcdefghijklmnop")
    # two headers of pieces of 3 and 2 bytes; a buffer of pieces of 4 and 6
    accept_strings(two, string(4, compound=True), TARGET, string(6), TARGET + 16)
    kernel.ipc(two, NIL, ANY)
    items = (string(3, 2, compound=True), SOURCE, SOURCE + 4, string(2), SOURCE + 8)
    sent = kernel.ipc(one, int(two.id), NIL, *items, typed=5)
    assert sent is not None
    assert not sent.failed
    assert memory.bytes_at(target, 4) == b"abce"
    assert memory.bytes_at(target + 16, 5) == b"fgij\0"


def test_several_strings_into_several_buffers(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    source, target = kernel.give_page(one, SOURCE), kernel.give_page(two, TARGET)
    fill(source, b"firstsecond")
    accept_strings(two, string(10, more=True), TARGET, string(10), TARGET + 100)
    kernel.ipc(two, NIL, ANY)
    items = (string(5), SOURCE, string(6), SOURCE + 5)
    assert kernel.ipc(one, int(two.id), NIL, *items, typed=4) is not None
    assert memory.bytes_at(target, 6) == b"first\0"
    assert memory.bytes_at(target + 100, 7) == b"second\0"
    # without the C bit there is no second buffer
    accept_strings(two, string(10), TARGET, string(10), TARGET + 100)
    kernel.ipc(two, NIL, ANY)
    sent = kernel.ipc(one, int(two.id), NIL, *items, typed=4)
    assert sent is not None
    assert sent.failure == (IpcError.OVERFLOW, "send")
    assert sent.error >> 4 == 5
    assert kernel.result(two).error >> 4 == 5


def test_the_first_header_says_whether_another_buffer_follows(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    source, target = kernel.give_page(one, SOURCE), kernel.give_page(two, TARGET)
    fill(source, b"firstsecond")
    first = (string(2, more=True, compound=True), TARGET, string(4), TARGET + 50)
    accept_strings(two, *first, string(10), TARGET + 100)
    kernel.ipc(two, NIL, ANY)
    sent = kernel.ipc(one, int(two.id), NIL, string(5), SOURCE, string(6), SOURCE + 5, typed=4)
    assert sent is not None
    assert not sent.failed
    assert memory.bytes_at(target + 50, 4) == b"rst\0"
    assert memory.bytes_at(target + 100, 7) == b"second\0"


def test_a_full_buffer_overflows(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    kernel.give_page(one, SOURCE)
    kernel.give_page(two, TARGET)
    accept_strings(two, string(10), TARGET)
    kernel.ipc(two, NIL, ANY)
    sent = kernel.ipc(one, int(two.id), NIL, string(11), SOURCE, typed=2)
    assert sent is not None
    assert sent.failure == (IpcError.OVERFLOW, "send")
    assert kernel.result(two).failure == (IpcError.OVERFLOW, "receive")
    assert sent.error >> 4 == 10
    kernel.check()


@pytest.mark.parametrize("item", [string(5, 32), string(5, 2), string(5, compound=True)])
def test_pointers_that_are_not_in_the_message(kernel: Kernel, pair: Pair, item: int) -> None:
    one, two = pair
    kernel.give_page(one, SOURCE)
    kernel.give_page(two, TARGET)
    accept_strings(two, string(100), TARGET)
    kernel.ipc(two, NIL, ANY)
    sent = kernel.ipc(one, int(two.id), NIL, item, SOURCE, typed=2)
    assert sent is not None
    assert sent.failure == (IpcError.OVERFLOW, "send")
    kernel.check()


def begin_faulting(kernel: Kernel, pair: Pair, *, source: bool = False, target: bool = False) -> None:
    """`pair` copies 100 bytes; of the pages only those that are asked for are there."""
    one, two = pair
    if source:
        fill(kernel.give_page(one, SOURCE), b"x" * 100)
    if target:
        kernel.give_page(two, TARGET)
    accept_strings(two, string(100), TARGET)
    assert kernel.ipc(two, NIL, ANY) is None
    assert kernel.ipc(one, int(two.id), NIL, 3, string(100), SOURCE, typed=2) is None


def test_faults_on_both_sides(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    begin_faulting(kernel, pair)
    kernel.check()
    assert (one.activity, two.state) == (Activity.COPY_FAULT, ThreadState.TRANSFERRING)
    got = kernel.ipc(kernel.root, NIL, ANY)
    assert got is not None
    assert (got.from_, got.tag >> 16) == (one.id, FAULT_LABEL | 4)
    assert got.words[:2] == (SOURCE, 0x1000_0002)
    fill(kernel.give_page(one, SOURCE), b"x" * 100)
    got = kernel.ipc(kernel.root, int(one.id), ANY)  # the copy goes on and faults at the target
    kernel.check()
    assert got is not None
    assert (got.from_, got.tag >> 16) == (two.id, FAULT_LABEL | 2)
    assert got.words[:2] == (TARGET, (1 << 64) - 1)
    place = kernel.give_page(two, TARGET)
    assert kernel.ipc(kernel.root, int(two.id), ANY) is None
    kernel.check()
    assert not kernel.result(one).failed
    assert kernel.result(two).words[:3] == (3, string(100), SOURCE)
    assert memory.bytes_at(place, 101) == b"x" * 100 + b"\0"


def test_an_empty_answer_faults_again(kernel: Kernel, pair: Pair) -> None:
    begin_faulting(kernel, pair, target=True)
    for _ in range(3):
        got = kernel.ipc(kernel.root, NIL, ANY)
        assert got is not None
        assert got.words[0] == SOURCE
        assert kernel.ipc(kernel.root, int(pair[0].id)) is not None
        kernel.check()


def test_a_read_only_target_is_a_write_fault(kernel: Kernel, pair: Pair) -> None:
    kernel.give_page(pair[1], TARGET, Rights.READ)
    begin_faulting(kernel, pair, source=True)
    got = kernel.ipc(kernel.root, NIL, ANY)
    assert got is not None
    assert (got.from_, got.tag >> 16) == (pair[1].id, FAULT_LABEL | 2)


@pytest.mark.parametrize("address", [1 << 47, 0xFFFF_8000_0000_0000, (1 << 64) - 50])
def test_kernel_addresses_fault(kernel: Kernel, pair: Pair, address: int) -> None:
    one, two = pair
    kernel.give_page(two, TARGET)
    accept_strings(two, string(100), TARGET)
    kernel.ipc(two, NIL, ANY)
    assert kernel.ipc(one, int(two.id), NIL, string(100), address, typed=2) is None
    got = kernel.ipc(kernel.root, NIL, ANY)
    assert got is not None
    assert got.words[0] == address


@pytest.mark.parametrize("pager", [0, gid(60), ANY])
def test_without_a_pager_the_copy_is_aborted(kernel: Kernel, pair: Pair, pager: int) -> None:
    one, two = pair
    one.utcb.pager = type(one.utcb.pager)(pager)
    accept_strings(two, string(100), TARGET)
    kernel.ipc(two, NIL, ANY)
    sent = kernel.ipc(one, int(two.id), NIL, string(100), SOURCE, typed=2)
    assert sent is not None
    assert sent.failure == (IpcError.ABORTED, "send")
    assert kernel.result(two).failure == (IpcError.ABORTED, "receive")
    kernel.check()


@pytest.mark.parametrize("receiver_patience", [0, 50, 10])
@pytest.mark.parametrize("answered", [False, True])
def test_transfer_timeouts(kernel: Kernel, pair: Pair, receiver_patience: int, *, answered: bool) -> None:
    one, two = pair
    one.utcb.transfer_timeouts = 20 << 16
    two.utcb.transfer_timeouts = receiver_patience
    begin_faulting(kernel, pair)
    if answered:  # the limit counts from the first fault, through others
        kernel.pass_time(5)
        kernel.ipc(kernel.root, NIL, ANY)
        kernel.give_page(one, SOURCE)
        kernel.ipc(kernel.root, int(one.id), ANY)
        assert two.activity == Activity.COPY_FAULT
    limit = 10 if receiver_patience == 10 else 20
    kernel.pass_time(limit - 6)
    assert one.state != ThreadState.READY
    kernel.check()
    kernel.pass_time(30)
    kernel.check()
    own, partner = IpcError.TRANSFER_TIMEOUT_OWN, IpcError.TRANSFER_TIMEOUT_PARTNER
    codes = (partner, own) if receiver_patience == 10 else (own, partner)
    assert kernel.result(one).failure == (codes[0], "send")
    assert kernel.result(two).failure == (codes[1], "receive")


@pytest.mark.parametrize("side", [0, 1])
def test_what_was_copied_before_a_failure_is_told(kernel: Kernel, pair: Pair, side: int) -> None:
    """The second page is missing on one side."""
    one, two = pair
    for place, thread in ((SOURCE, one), (TARGET, two)):
        kernel.give_page(thread, place)
    kernel.give_page((two, one)[side], (TARGET, SOURCE)[side] + PAGE_SIZE)
    accept_strings(two, string(2 * PAGE_SIZE), TARGET)
    kernel.ipc(two, NIL, ANY)
    kernel.ipc(one, int(two.id), NIL, string(2 * PAGE_SIZE), SOURCE, typed=2)
    kernel.ipc(kernel.root, NIL, ANY)
    kernel.exchange_registers(kernel.root, int(one.id), 6)
    assert kernel.result(one).error >> 4 == PAGE_SIZE
    assert kernel.result(two).error >> 4 == PAGE_SIZE


def test_a_zero_transfer_timeout_fails_at_once(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    two.utcb.transfer_timeouts = ZERO
    accept_strings(two, string(100), TARGET)
    kernel.ipc(two, NIL, ANY)
    sent = kernel.ipc(one, int(two.id), NIL, string(100), SOURCE, typed=2)
    assert sent is not None
    assert sent.failure == (IpcError.TRANSFER_TIMEOUT_PARTNER, "send")
    assert kernel.result(two).failure == (IpcError.TRANSFER_TIMEOUT_OWN, "receive")
    assert sent.tag == 0x8000 | 2 << 6
    kernel.check()


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("faulting", [0, 1])
@pytest.mark.parametrize("taken", [False, True])
def test_cancelling_a_transfer_aborts_both(
    kernel: Kernel, pair: Pair, side: int, faulting: int, *, taken: bool
) -> None:
    one, two = pair
    begin_faulting(kernel, pair, source=faulting == 1)
    if taken:
        kernel.ipc(kernel.root, NIL, ANY)
    kernel.exchange_registers(kernel.root, int(pair[side].id), 6)
    assert kernel.root.frame.rsi == (4, 2)[side]
    kernel.check()
    assert kernel.result(one).failure == (IpcError.ABORTED, "send")
    assert kernel.result(two).failure == (IpcError.ABORTED, "receive")


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("faulting", [0, 1])
@pytest.mark.parametrize("taken", [False, True])
def test_deleting_one_side_of_a_transfer(
    kernel: Kernel, pair: Pair, side: int, faulting: int, *, taken: bool
) -> None:
    begin_faulting(kernel, pair, source=faulting == 1)
    if taken:
        kernel.ipc(kernel.root, NIL, ANY)
    other = pair[1 - side]
    assert kernel.thread_control(int(pair[side].id), NIL) is None
    kernel.check()
    assert kernel.result(other).failure == (IpcError.ABORTED, ("send", "receive")[1 - side])


def test_a_long_copy_lets_others_run(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    length = 3 * COPY_LIMIT
    source, target = kernel.give_page(one, SOURCE), kernel.give_page(two, TARGET)
    fill(source, b"y" * PAGE_SIZE)
    del target
    # one page over and over: each piece is a page, 31 pieces in a header
    accept_strings(two, string(PAGE_SIZE, 31), *[TARGET] * 31)
    other = kernel.spawn(54, priority=255)
    kernel.ipc(two, NIL, ANY)
    sent = kernel.ipc(one, int(two.id), NIL, string(PAGE_SIZE, 31), *[SOURCE] * 31, typed=32)
    assert length > 31 * PAGE_SIZE > COPY_LIMIT
    # `other` has a higher priority: it runs now, while the copy is held up
    assert sent is None
    assert one.activity == Activity.COPY
    assert two.state == ThreadState.TRANSFERRING
    kernel.check()
    for thread in (other, kernel.root):
        kernel.ipc(thread, NIL, ANY)
    assert not kernel.result(one).failed
    assert kernel.result(two).tag == 32 << 6
    assert processor.current in (one, two)
    kernel.check()


def test_halting_waits_for_the_end_of_a_copy(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    begin_faulting(kernel, pair, target=True)
    kernel.exchange_registers(kernel.root, int(one.id), 0x101)
    assert one.state != ThreadState.HALTED
    kernel.ipc(kernel.root, NIL, ANY)
    kernel.give_page(one, SOURCE)
    kernel.ipc(kernel.root, int(one.id), ANY)
    kernel.check()
    assert one.state == ThreadState.HALTED
    assert two.state == ThreadState.READY
