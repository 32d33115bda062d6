"""Timeouts: zero, finite, points in time; their order; what they end (fact sheet, sections 5.3 and 6.1)."""

from typing import Any

import pytest

from macadamia.abi.l4.errors import IpcError
from macadamia.kernels.l4.thread import ThreadState
from macadamia.kernels.l4.timeouts import heap
from tests.kernels.l4.harness import ANY, NIL, ZERO, Kernel, machine

Pair = tuple[Any, Any]


def period(mantissa: int, exponent: int = 0) -> int:
    return exponent << 10 | mantissa


def point(microseconds: int, exponent: int = 0) -> int:
    """The point in time with that clock value, a multiple of 2**exponent."""
    value = microseconds >> exponent
    return 1 << 15 | exponent << 11 | (value >> 10 & 1) << 10 | value & 0x3FF


def test_zero_send_timeout(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    got = kernel.ipc(one, int(two.id), NIL, 1, 2, send=ZERO)
    assert got is not None
    assert got.failure == (IpcError.TIMEOUT, "send")
    assert got.tag == 0x8000
    kernel.check()


def test_zero_receive_timeout(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    got = kernel.ipc(one, NIL, ANY, receive=ZERO)
    assert got is not None
    assert got.failure == (IpcError.TIMEOUT, "receive")
    kernel.ipc(two, int(one.id), NIL, 5)
    got = kernel.ipc(one, NIL, ANY, receive=ZERO)
    assert got is not None
    assert got.words[0] == 5


@pytest.mark.parametrize(
    ("timeout", "microseconds"), [(period(5), 5), (period(1000, 3), 8000), (period(1, 20), 1 << 20)]
)
def test_finite_timeouts(kernel: Kernel, pair: Pair, timeout: int, microseconds: int) -> None:
    one, two = pair
    assert kernel.ipc(one, int(two.id), NIL, 1, 2, label=3, send=timeout) is None
    assert kernel.ipc(kernel.root, NIL, ANY, receive=timeout) is None
    kernel.pass_time(microseconds - 1)
    assert one.state == ThreadState.SENDING
    assert kernel.root.state == ThreadState.RECEIVING
    kernel.check()
    kernel.pass_time(2)
    kernel.check()
    assert kernel.result(one).failure == (IpcError.TIMEOUT, "send")
    assert kernel.result(one).tag == 3 << 16 | 0x8000 | 2
    assert kernel.result(kernel.root).failure == (IpcError.TIMEOUT, "receive")
    assert kernel.result(kernel.root).tag == 0x8000
    assert heap.count == 0


def test_a_timeout_that_is_not_reached(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    assert kernel.ipc(one, int(two.id), int(two.id), send=period(100), receive=period(7)) is None
    kernel.pass_time(50)
    assert kernel.ipc(two, NIL, ANY) is not None
    assert one.state == ThreadState.RECEIVING
    kernel.pass_time(5)
    assert kernel.ipc(two, int(one.id)) is not None
    kernel.pass_time(1000)
    assert not kernel.result(one).failed
    assert heap.count == 0
    kernel.check()


def test_wake_ups_come_in_order(kernel: Kernel) -> None:
    threads = [kernel.spawn(50 + index) for index in range(1, 13)]
    order = [7, 3, 11, 1, 9, 5, 12, 2, 10, 4, 8, 6]
    for thread, delay in zip(threads, order, strict=True):
        assert kernel.ipc(thread, NIL, int(thread.id), receive=period(10 * delay)) is None
        kernel.check()
    for awake in range(1, 13):
        kernel.pass_time(10)
        kernel.check()
        ready = [thread for thread in threads if thread.state == ThreadState.READY]
        assert len(ready) == awake


def test_leaving_the_heap_from_the_middle(kernel: Kernel, pair: Pair) -> None:
    threads = [kernel.spawn(53 + index) for index in range(8)]
    for index, thread in enumerate(threads):
        kernel.ipc(thread, NIL, ANY, receive=period(10 + index))
    for index in (3, 0, 7, 1):
        assert kernel.ipc(pair[0], int(threads[index].id)) is not None
        kernel.check()
    kernel.pass_time(100)
    assert heap.count == 0
    assert [kernel.result(thread).failed for thread in threads] == [
        index not in (3, 0, 7, 1) for index in range(8)
    ]


@pytest.mark.parametrize("exponent", [0, 3, 10])
def test_points_in_time(kernel: Kernel, pair: Pair, exponent: int) -> None:
    one, _ = pair
    now = int(machine.now) // 1000
    until = (now >> exponent) + 300 << exponent
    assert kernel.ipc(one, NIL, ANY, receive=point(until, exponent)) is None
    assert one.wake_time == until * 1000
    kernel.pass_time(until - now - 1)
    assert one.state == ThreadState.RECEIVING
    kernel.pass_time(2)
    assert kernel.result(one).failure == (IpcError.TIMEOUT, "receive")


def test_a_point_that_has_passed_is_zero(kernel: Kernel, pair: Pair) -> None:
    one, _ = pair
    kernel.pass_time(5000)
    now = int(machine.now) // 1000
    if now & 0x3FF < 10:
        kernel.pass_time(20)
        now += 20
    got = kernel.ipc(one, NIL, ANY, receive=point(now - 5))
    assert got is not None
    assert got.failure == (IpcError.TIMEOUT, "receive")


def test_sleep(kernel: Kernel, pair: Pair) -> None:
    """The library's Sleep: receive from oneself."""
    one, two = pair
    assert kernel.ipc(one, NIL, int(one.id), receive=period(20)) is None
    assert kernel.ipc(two, int(one.id), NIL, send=ZERO) is not None
    kernel.pass_time(21)
    assert kernel.result(one).failure == (IpcError.TIMEOUT, "receive")
