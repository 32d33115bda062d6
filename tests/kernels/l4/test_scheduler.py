"""Priorities, slices, quanta, preemption, hand-over (fact sheet, 6.7, 6.8, 8.2 and 9)."""

from typing import Any

import pytest

from macadamia.abi.l4.errors import CallError
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.schedule import Result
from macadamia.kernels.l4.system_calls import Call
from macadamia.kernels.l4.thread import ThreadState
from tests.kernels.l4.harness import ANY, LEAVE, NIL, ZERO, Kernel, gid, machine

SLICE = 10_000  # microseconds


def park_root(kernel: Kernel) -> None:
    """Let only other threads run."""
    assert kernel.ipc(kernel.root, NIL, gid(48)) is None


def schedule(kernel: Kernel, caller: Any, dest: int, **given: int) -> tuple[Result, int]:
    """Schedule; the result and the old time control. Parameters by register."""
    registers = {"rdx": LEAVE, "rsi": LEAVE, "r8": LEAVE, "r9": LEAVE} | given
    kernel.call(caller, Call.SCHEDULE, rdi=dest, **registers)
    return Result(caller.frame.rax), int(caller.frame.rdx)


def test_the_highest_priority_runs(kernel: Kernel) -> None:
    priorities = (10, 200, 63, 64)
    threads = [kernel.spawn(51 + index, priority=priorities[index]) for index in range(4)]
    park_root(kernel)
    for index in (1, 3, 2, 0):
        assert processor.current == threads[index]
        kernel.ipc(threads[index], NIL, ANY)
        kernel.check()
    assert processor.current == processor.idle
    assert machine.timer == 0


def test_round_robin(kernel: Kernel) -> None:
    threads = [kernel.spawn(51 + index) for index in range(3)]
    park_root(kernel)
    for turn in range(7):
        assert processor.current == threads[turn % 3]
        kernel.pass_time(SLICE)
        kernel.check()


def test_a_preempted_thread_keeps_its_place_and_slice(kernel: Kernel) -> None:
    one, two = kernel.spawn(51), kernel.spawn(52)
    high = kernel.spawn(53, priority=200)
    park_root(kernel)
    kernel.ipc(high, NIL, ANY, receive=4000 >> 2 | 2 << 10)
    assert processor.current == one
    kernel.pass_time(4001)
    assert processor.current == high
    kernel.ipc(high, NIL, ANY)
    assert processor.current == one
    kernel.pass_time(5900)
    assert processor.current == one
    kernel.pass_time(200)
    assert processor.current == two


def test_a_mere_send_hands_over_to_strictly_higher_priorities_only(kernel: Kernel) -> None:
    one, same, high = kernel.spawn(51), kernel.spawn(52), kernel.spawn(53, priority=101)
    park_root(kernel)
    for thread in (high, same):
        kernel.ipc(thread, NIL, ANY)
    kernel.ipc(one, int(same.id))
    assert processor.current == one
    kernel.ipc(one, int(high.id))
    assert processor.current == high


def test_a_call_hands_over_whatever_the_priorities(kernel: Kernel) -> None:
    low, other, one = kernel.spawn(51, priority=5), kernel.spawn(52), kernel.spawn(53)
    kernel.ipc(low, NIL, ANY)
    park_root(kernel)
    kernel.ipc(one, int(low.id), int(low.id))
    assert processor.current == low
    assert processor.slice_owner == one
    assert other.state == ThreadState.READY


def test_a_poll_after_a_send_hands_over(kernel: Kernel) -> None:
    one, two = kernel.spawn(51), kernel.spawn(52)
    kernel.ipc(two, NIL, ANY)
    park_root(kernel)
    kernel.ipc(one, int(two.id), ANY, receive=ZERO)
    assert processor.current == two


def test_thread_switch(kernel: Kernel) -> None:
    one, two, three = (kernel.spawn(51 + index) for index in range(3))
    park_root(kernel)
    kernel.call(one, Call.THREAD_SWITCH, rdi=int(three.id))
    assert processor.current == three
    assert processor.slice_owner == one
    kernel.call(three, Call.THREAD_SWITCH, rdi=NIL)
    assert processor.current == two
    kernel.call(two, Call.THREAD_SWITCH, rdi=int(two.id))
    assert processor.current == two
    kernel.call(two, Call.THREAD_SWITCH, rdi=gid(60))
    assert processor.current != two
    kernel.check()


def test_schedule_results(kernel: Kernel) -> None:
    one, two = kernel.spawn_space(51), kernel.spawn_space(52)
    expected = [(one, Result.RUNNING)]
    kernel.thread_control(gid(53), int(kernel.root.id), int(kernel.root.id))
    expected.append((kernel.thread(53), Result.DEAD))
    kernel.ipc(two, NIL, gid(48))
    expected.append((two, Result.WAITING_TO_RECEIVE))
    sender, halted = kernel.spawn(54), kernel.spawn(55)
    kernel.ipc(sender, int(two.id))
    expected.append((sender, Result.WAITING_TO_SEND))
    kernel.exchange_registers(kernel.root, int(halted.id), 0x101)
    expected.append((halted, Result.HALTED))
    for thread, result in expected:
        assert schedule(kernel, kernel.root, int(thread.id))[0] == result


def test_schedule_errors(kernel: Kernel) -> None:
    one, two = kernel.spawn_space(51), kernel.spawn_space(52)
    cases: tuple[tuple[Any, int, dict[str, int], CallError], ...] = (
        (one, int(two.id), {}, CallError.NO_PRIVILEGE),
        (kernel.root, gid(60), {}, CallError.INVALID_THREAD),
        (kernel.root, gid(51, 2), {}, CallError.INVALID_THREAD),
        (kernel.root, int(one.id), {"r8": 1}, CallError.INVALID_PARAMETER),
        (kernel.root, int(one.id), {"rsi": 300}, CallError.NO_PRIVILEGE),
        (kernel.root, gid(3), {}, CallError.INVALID_THREAD),
    )
    for caller, dest, given, error in cases:
        assert schedule(kernel, caller, dest, **given)[0] == Result.ERROR
        assert CallError(caller.utcb.error_code) == error
    two.scheduler = one.id
    assert schedule(kernel, one, int(two.id), rsi=101)[0] == Result.ERROR  # above its own priority
    assert schedule(kernel, one, int(two.id), rsi=100)[0] == Result.RUNNING
    kernel.thread_control(gid(3), gid(3), NIL, int(one.id))
    assert schedule(kernel, kernel.root, gid(3))[0] != Result.ERROR


def test_setting_a_priority_requeues(kernel: Kernel) -> None:
    one = kernel.spawn(51)
    schedule(kernel, kernel.root, int(one.id), rsi=7)
    kernel.check()
    assert one.priority == 7
    schedule(kernel, kernel.root, int(kernel.root.id), rsi=3)
    assert processor.current == one
    kernel.check()


def test_time_control(kernel: Kernel) -> None:
    one, two = kernel.spawn(51), kernel.spawn(52)
    _, old = schedule(kernel, kernel.root, int(one.id), rdx=500 << 16 | 0)
    assert old == ((4 << 10 | 625) << 16)  # 10 ms, infinite
    _, old = schedule(kernel, kernel.root, int(one.id))
    assert old == 500 << 16
    park_root(kernel)
    assert processor.current == one
    kernel.pass_time(500)
    assert processor.current == two


def test_an_infinite_slice(kernel: Kernel) -> None:
    one = kernel.spawn(51)
    schedule(kernel, kernel.root, int(one.id), rdx=0)
    kernel.spawn(52)
    park_root(kernel)
    kernel.pass_time(1_000_000)
    assert processor.current == one


@pytest.mark.parametrize("more", [False, True])
def test_the_end_of_the_total_quantum_is_told_the_scheduler(kernel: Kernel, *, more: bool) -> None:
    one = kernel.spawn(51)
    schedule(kernel, kernel.root, int(one.id), rdx=0 << 16 | 700)
    assert kernel.ipc(kernel.root, NIL, ANY) is None
    assert processor.current == one
    kernel.pass_time(699)
    assert processor.current == one
    kernel.pass_time(2)
    got = kernel.result(kernel.root)
    assert got.tag == ((-3 << 4) & (1 << 48) - 1) << 16 | 2
    # within the root task's space
    assert got.from_ == int(one.local_id)
    assert got.words[:2] == ((int(machine.now) - 1000) // 1000, 0)
    kernel.check()
    if more:
        schedule(kernel, kernel.root, int(one.id), rdx=0 << 16 | 700)
    assert kernel.ipc(kernel.root, int(one.id), gid(48)) is None
    assert processor.current == one
    kernel.pass_time(SLICE)  # what is left of the scheduler's, which it donated
    kernel.pass_time(600)
    assert (processor.current == one) == more
    kernel.check()


def test_delayed_preemption(kernel: Kernel) -> None:
    one, high = kernel.spawn(51), kernel.spawn(52, priority=120)
    schedule(kernel, kernel.root, int(one.id), r9=130 << 16 | 50)
    one.utcb.preemption_flags = type(one.utcb.preemption_flags)(1 << 6)
    park_root(kernel)
    kernel.ipc(high, NIL, ANY, receive=100)
    assert processor.current == one
    kernel.pass_time(101)
    assert processor.current == one
    assert one.utcb.preemption_flags & 1 << 7
    kernel.pass_time(50)
    assert processor.current == high
    kernel.check()


def test_a_thread_that_schedules_itself_outlives_its_quantum(kernel: Kernel) -> None:
    schedule(kernel, kernel.root, int(kernel.root.id), rdx=2)
    kernel.pass_time(100)
    assert processor.current == kernel.root
    assert kernel.root.total_quantum == 0
    kernel.check()
