"""Ipc: phases, closed and open waits, names of senders, propagation, errors (fact sheet, 5.8 and 6.1)."""

from itertools import pairwise
from typing import Any

import pytest

from macadamia.abi.l4.errors import IpcError
from macadamia.kernels.l4.thread import ThreadState
from tests.kernels.l4.harness import ANY, ANY_LOCAL, NIL, ZERO, Kernel, gid, lid

ERROR_TAG = 0x8000
PROPAGATED = 1 << 12

Pair = tuple[Any, Any]


def test_boot(kernel: Kernel) -> None:
    kernel.check()
    assert kernel.root.state == ThreadState.READY
    assert kernel.sigma0.state == ThreadState.RECEIVING


@pytest.mark.parametrize("count", [0, 1, 4, 7, 8, 9, 63])
def test_words_arrive_whole(kernel: Kernel, pair: Pair, count: int) -> None:
    one, two = pair
    words = tuple(range(100, 100 + count))
    assert kernel.ipc(two, NIL, ANY) is None
    sent = kernel.ipc(one, int(two.id), NIL, *words, label=7)
    assert sent is not None
    assert not sent.failed
    assert sent.from_ == NIL
    got = kernel.result(two)
    assert got.from_ == one.id
    assert got.tag == 7 << 16 | count
    assert got.words[:count] == words
    assert two.frame.rdi == lid(two)
    kernel.check()


@pytest.mark.parametrize("count", [0, 7, 8, 63])
def test_a_blocked_sender_is_taken(kernel: Kernel, pair: Pair, count: int) -> None:
    one, two = pair
    words = tuple(range(100, 100 + count))
    assert kernel.ipc(one, int(two.id), NIL, *words) is None
    assert one.state == ThreadState.SENDING
    kernel.check()
    got = kernel.ipc(two, NIL, ANY)
    assert got is not None
    assert got.from_ == one.id
    assert got.words[:count] == words
    assert one.state == ThreadState.READY
    assert kernel.result(one).from_ == NIL
    kernel.check()


def test_registers_beyond_the_message_stay(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    kernel.ipc(two, NIL, ANY, *range(1, 21))
    kernel.ipc(one, int(two.id), NIL, 77)
    assert kernel.result(two).words[:20] == (77, *range(2, 21))


def test_senders_are_taken_in_order(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    three = kernel.spawn(53)
    kernel.ipc(one, int(two.id))
    kernel.ipc(three, int(two.id))
    for expected in (one, three):
        got = kernel.ipc(two, NIL, ANY)
        assert got is not None
        assert got.from_ == expected.id
        kernel.check()


def test_a_closed_wait_takes_no_other_message(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    three = kernel.spawn(53)
    assert kernel.ipc(two, NIL, int(one.id)) is None
    assert kernel.ipc(three, int(two.id), NIL, 3) is None
    assert two.state == ThreadState.RECEIVING
    kernel.check()
    assert kernel.ipc(one, int(two.id), NIL, 1) is not None
    assert kernel.result(two).from_ == one.id
    assert kernel.result(two).words[0] == 1
    assert three.state == ThreadState.SENDING


def test_a_closed_wait_finds_its_sender_behind_others(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    three = kernel.spawn(53)
    kernel.ipc(three, int(two.id))
    kernel.ipc(one, int(two.id))
    got = kernel.ipc(two, NIL, int(one.id))
    assert got is not None
    assert got.from_ == one.id
    assert three.state == ThreadState.SENDING
    kernel.check()


def test_any_local_thread_means_the_own_space(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    other = kernel.spawn(53, two)
    assert kernel.ipc(two, NIL, ANY_LOCAL) is None
    assert kernel.ipc(one, int(two.id)) is None
    assert two.state == ThreadState.RECEIVING
    assert kernel.ipc(other, int(two.id)) is not None
    assert kernel.result(two).from_ == lid(other)
    kernel.check()


def test_local_ids_send_and_receive(kernel: Kernel) -> None:
    one, two = kernel.spawn(51), kernel.spawn(52)
    assert kernel.ipc(two, NIL, lid(one)) is None
    assert two.waiting_for == one.id
    assert kernel.ipc(one, lid(two), lid(two), 5) is None
    got = kernel.result(two)
    assert (got.from_, got.words[0]) == (lid(one), 5)
    assert kernel.ipc(two, got.from_) is not None
    assert kernel.result(one).from_ == lid(two)
    kernel.check()


def test_a_local_id_of_a_blocked_partner_is_of_its_own_space(kernel: Kernel, pair: Pair) -> None:
    """The receive phase that follows a blocked send begins while another space is current."""
    one, two = pair
    friend = kernel.spawn(53, one)
    assert kernel.ipc(one, int(two.id), lid(friend)) is None
    assert kernel.ipc(two, NIL, ANY) is not None
    assert one.state == ThreadState.RECEIVING
    assert one.waiting_for == friend.id
    assert kernel.ipc(friend, lid(one)) is not None
    assert one.state == ThreadState.READY


@pytest.mark.parametrize("forged", [0, 8, 0x40, 0x1000, 0xFFFF_FFFF_FFFF_F000, ANY_LOCAL])
def test_local_ids_that_name_nothing(kernel: Kernel, pair: Pair, forged: int) -> None:
    one, _ = pair
    if forged not in (0, 8):
        got = kernel.ipc(one, forged)
        assert got is not None
        assert got.failure == (IpcError.NON_EXISTENT, "send")
        assert got.tag == ERROR_TAG
    kernel.check()


def test_a_local_id_is_a_hint_that_is_checked(kernel: Kernel, pair: Pair) -> None:
    """A UTCB that claims to be another thread's is nobody's."""
    one, two = pair
    friend = kernel.spawn(53, one)
    friend.utcb.my_global_id = two.id
    got = kernel.ipc(one, lid(friend))
    assert got is not None
    assert got.failure == (IpcError.NON_EXISTENT, "send")


@pytest.mark.parametrize("name", [gid(60), gid(51, 2), gid(1 << 17), gid(2**32 - 1), ANY, gid(47), gid(3)])
def test_partners_that_do_not_exist(kernel: Kernel, pair: Pair, name: int) -> None:
    one, two = pair
    got = kernel.ipc(one, name, int(two.id), 1, 2)
    assert got is not None
    assert got.failure == (IpcError.NON_EXISTENT, "send")
    assert got.tag == ERROR_TAG
    assert got.from_ == NIL
    if name != ANY:
        got = kernel.ipc(one, NIL, name)
        assert got is not None
        assert got.failure == (IpcError.NON_EXISTENT, "receive")
    kernel.check()


def test_the_send_phase_counts_when_the_receive_phase_fails(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    kernel.ipc(two, NIL, ANY)
    got = kernel.ipc(one, int(two.id), gid(60), 9)
    assert got is not None
    assert got.failure == (IpcError.NON_EXISTENT, "receive")
    assert kernel.result(two).words[0] == 9


def test_neither_phase(kernel: Kernel, pair: Pair) -> None:
    got = kernel.ipc(pair[0])
    assert got is not None
    assert not got.failed
    assert got.from_ == NIL


def test_call_and_reply_and_wait(kernel: Kernel, pair: Pair) -> None:
    client, server = pair
    assert kernel.ipc(server, NIL, ANY) is None
    for round_ in range(5):
        assert kernel.ipc(client, int(server.id), int(server.id), round_) is None
        assert kernel.result(server).words[0] == round_
        assert kernel.ipc(server, int(client.id), ANY, round_ + 10) is None
        assert kernel.result(client).words[0] == round_ + 10
        kernel.check()


def test_a_chain_of_receive_phases(kernel: Kernel, pair: Pair) -> None:
    """Each waits to call the next: when the last receives, its caller waits, and so on."""
    threads = [*pair, kernel.spawn(53), kernel.spawn(54)]
    for caller, server in pairwise(threads):
        assert kernel.ipc(caller, int(server.id), ANY, 1) is None
    assert kernel.ipc(threads[3], NIL, ANY) is not None
    # 53 has sent and now receives from 52, which then receives from 51
    assert kernel.result(threads[2]).from_ == threads[1].id
    assert threads[2].state == ThreadState.READY
    assert threads[1].state == ThreadState.READY
    assert threads[0].state == ThreadState.RECEIVING
    kernel.check()


def test_overflow_of_registers(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    kernel.ipc(two, NIL, ANY)
    one.utcb.message_registers[63] = 1
    got = kernel.ipc(one, int(two.id), NIL, flags=63 | 1 << 6)
    assert got is not None
    assert got.failure == (IpcError.OVERFLOW, "send")
    assert kernel.result(two).failure == (IpcError.OVERFLOW, "receive")
    assert kernel.result(two).tag == 63 | 1 << 6 | ERROR_TAG
    kernel.check()


def test_typed_items_without_acceptor_overflow(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    for item in ((0x8, 0x7), (0xA, 0x7), (0x1000, 0x5000), (0xC, 0x7)):
        kernel.ipc(two, NIL, ANY)
        got = kernel.ipc(one, int(two.id), NIL, *item, typed=2)
        assert got is not None
        assert got.failure == (IpcError.OVERFLOW, "send")
        assert kernel.result(two).failure == (IpcError.OVERFLOW, "receive")
        kernel.check()


def test_tag_flags_are_not_the_users(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    kernel.ipc(two, NIL, ANY)
    sent = kernel.ipc(one, int(two.id), NIL, 1, flags=0xE000)
    assert sent is not None
    assert not sent.failed
    assert kernel.result(two).tag == 1


def test_propagation_within_the_sender_space(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    client = kernel.spawn(53, one)
    assert kernel.ipc(client, int(one.id), int(one.id)) is None  # a call
    assert kernel.ipc(one, NIL, ANY) is not None
    assert kernel.ipc(two, NIL, ANY) is None
    one.utcb.virtual_sender = client.id
    assert kernel.ipc(one, int(two.id), NIL, 1, flags=PROPAGATED) is not None
    got = kernel.result(two)
    assert got.from_ == client.id
    assert got.tag & PROPAGATED
    assert two.utcb.virtual_sender == one.id
    # the client waited for `one`; now `two` answers it
    assert client.waiting_for == two.id
    assert kernel.ipc(two, int(client.id), NIL, 2) is not None
    assert kernel.result(client).words[0] == 2
    kernel.check()


def test_a_closed_wait_for_the_virtual_sender(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    other = kernel.spawn(53, two)
    assert kernel.ipc(two, NIL, int(other.id)) is None
    one.utcb.virtual_sender = other.id
    assert kernel.ipc(one, int(two.id), NIL, 1, flags=PROPAGATED) is not None
    assert kernel.result(two).from_ == lid(other)
    assert kernel.result(two).tag & PROPAGATED


def test_propagation_for_strangers_is_dropped(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    kernel.ipc(two, NIL, ANY)
    one.utcb.virtual_sender = kernel.sigma0.id
    assert kernel.ipc(one, int(two.id), NIL, 1, flags=PROPAGATED) is not None
    assert kernel.result(two).from_ == one.id
    assert not kernel.result(two).tag & PROPAGATED


def test_a_redirected_wait_finds_a_message_that_is_there(kernel: Kernel, pair: Pair) -> None:
    """Somebody sends to the virtual sender in the receiver's name before that is what it waits for."""
    one, two = pair
    client, deputy = kernel.spawn(53, one), kernel.spawn(54, two)
    assert kernel.ipc(client, int(one.id), int(one.id)) is None
    assert kernel.ipc(one, NIL, ANY) is not None
    deputy.utcb.virtual_sender = two.id
    assert kernel.ipc(deputy, int(client.id), NIL, 8, flags=PROPAGATED) is None
    kernel.ipc(two, NIL, ANY)
    one.utcb.virtual_sender = client.id
    kernel.ipc(one, int(two.id), NIL, 1, flags=PROPAGATED)
    assert client.state == ThreadState.READY
    assert kernel.result(client).words[0] == 8
    kernel.check()


def test_sending_to_oneself_waits(kernel: Kernel, pair: Pair) -> None:
    one, _ = pair
    got = kernel.ipc(one, int(one.id), NIL, send=ZERO)
    assert got is not None
    assert got.failure == (IpcError.TIMEOUT, "send")
    assert kernel.ipc(one, int(one.id)) is None
    kernel.check()
    assert kernel.thread_control(int(one.id), NIL) is None
    kernel.check()


def test_inactive_threads_get_no_messages(kernel: Kernel, pair: Pair) -> None:
    one, _ = pair
    assert kernel.thread_control(gid(53), int(kernel.root.id), int(kernel.root.id)) is None
    got = kernel.ipc(one, gid(53))
    assert got is not None
    assert got.failure == (IpcError.NON_EXISTENT, "send")
