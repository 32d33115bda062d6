"""ThreadControl, SpaceControl, the start protocol, ExchangeRegisters, deletion (fact sheet, 6.3 to 6.6)."""

from typing import Any

import pytest

from macadamia.abi.l4.errors import CallError, IpcError
from macadamia.kernels.l4.kernel_memory import kernel_memory
from macadamia.kernels.l4.root_threads import ROOT_UTCB_AREA
from macadamia.kernels.l4.system_calls import Call
from macadamia.kernels.l4.thread import ThreadState
from tests.kernels.l4.harness import ANY, LEAVE, NIL, Kernel, gid, lid, machine

Pair = tuple[Any, Any]
UTCB = ROOT_UTCB_AREA + 10 * 1024


def root(kernel: Kernel) -> int:
    return int(kernel.root.id)


def test_creating_an_inactive_thread(kernel: Kernel) -> None:
    assert kernel.thread_control(gid(53), root(kernel), root(kernel)) is None
    assert kernel.thread(53).state == ThreadState.INACTIVE
    assert kernel.thread(53).priority == 100
    kernel.check()


def test_start_by_message(kernel: Kernel) -> None:
    assert kernel.thread_control(gid(53), root(kernel), root(kernel), root(kernel), UTCB) is None
    thread = kernel.thread(53)
    assert thread.state == ThreadState.RECEIVING
    assert thread.utcb.my_global_id == thread.id
    assert thread.utcb.pager == kernel.root.id
    other = kernel.spawn(54)
    assert kernel.ipc(other, gid(53), NIL, 1, 2, send=0x400) is not None
    assert thread.state == ThreadState.RECEIVING  # only its pager starts it
    assert kernel.ipc(kernel.root, gid(53), NIL, 0x1111, 0x2222) is not None
    assert thread.state == ThreadState.READY
    assert (thread.frame.rip, thread.frame.rsp) == (0x1111, 0x2222)
    kernel.check()


def test_start_by_exchange_registers(kernel: Kernel) -> None:
    assert kernel.thread_control(gid(53), root(kernel), root(kernel), root(kernel), UTCB) is None
    assert kernel.exchange_registers(kernel.root, gid(53), 0x11E, rdx=0x2222, r8=0x1111) == UTCB + 512
    thread = kernel.thread(53)
    assert kernel.root.frame.rsi == 2  # it was receiving
    assert thread.state == ThreadState.READY
    assert (thread.frame.rip, thread.frame.rsp) == (0x1111, 0x2222)
    kernel.check()


def test_a_start_message_takes_no_mappings(kernel: Kernel) -> None:
    assert kernel.thread_control(gid(53), root(kernel), root(kernel), root(kernel), UTCB) is None
    sent = kernel.ipc(kernel.root, gid(53), NIL, 8, 0x70_0000 | 12 << 4 | 7, typed=2)
    assert sent is not None
    assert sent.failure == (IpcError.OVERFLOW, "send")


def error_cases(kernel: Kernel) -> list[tuple[tuple[int, ...], CallError]]:
    me = root(kernel)
    return [
        ((lid(kernel.root), me, me), CallError.INVALID_SPACE),
        ((gid(30), me, me), CallError.INVALID_THREAD),
        ((gid(1 << 18), me, me), CallError.INVALID_THREAD),
        ((gid(1 << 18), NIL), CallError.INVALID_THREAD),
        ((gid(53), me, NIL), CallError.INVALID_THREAD),
        ((gid(53), me, gid(60)), CallError.INVALID_SCHEDULER),
        ((gid(53), gid(60), me), CallError.INVALID_SPACE),
        ((gid(53), gid(53), me, me, UTCB), CallError.INVALID_SPACE),  # a new space has no areas yet
        ((gid(53), me, me, me, LEAVE), CallError.UTCB_AREA),
        ((gid(53), me, me, me, UTCB + 64), CallError.UTCB_AREA),
        ((gid(53), me, me, me, ROOT_UTCB_AREA - 1024), CallError.UTCB_AREA),
        ((gid(53), me, me, me, ROOT_UTCB_AREA + (1 << 18)), CallError.UTCB_AREA),
        ((gid(53), me, me, me, 0xFFFF_8000_0000_0000), CallError.UTCB_AREA),
        ((me, NIL), CallError.INVALID_THREAD),  # oneself
        ((me, me, gid(60)), CallError.INVALID_SCHEDULER),
        ((me, gid(60)), CallError.INVALID_SPACE),
        ((me, me, NIL, NIL, UTCB), CallError.UTCB_AREA),  # an active thread keeps its UTCB
    ]


@pytest.mark.parametrize("case", range(17))
def test_thread_control_errors(kernel: Kernel, case: int) -> None:
    free, count = int(kernel_memory.free_pages), int(kernel.root.space.threads)
    arguments, error = error_cases(kernel)[case]
    assert kernel.thread_control(*arguments) == error
    assert not kernel.thread(53).exists()
    assert kernel_memory.free_pages == free
    assert kernel.root.space.threads == count
    kernel.check()


def test_thread_control_needs_privilege(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    assert kernel.thread_control(int(two.id), NIL, caller=one) == CallError.NO_PRIVILEGE
    kernel.call(one, Call.SPACE_CONTROL, rdi=int(two.id), rdx=0, r8=0)
    assert one.frame.rax == 0
    assert CallError(one.utcb.error_code) == CallError.NO_PRIVILEGE


def test_out_of_thread_memory(kernel: Kernel) -> None:
    machine.slots_left = type(machine.slots_left)(0)
    assert kernel.thread_control(gid(53), root(kernel), root(kernel)) == CallError.OUT_OF_MEMORY
    assert kernel.thread_control(gid(63 + 30), gid(63 + 30), root(kernel)) == CallError.OUT_OF_MEMORY


def test_spaces_and_their_memory_come_back(kernel: Kernel) -> None:
    before = int(kernel_memory.free_pages)
    for _ in range(20):
        one = kernel.spawn_space(51)
        friend = kernel.spawn(52, one)
        kernel.give_page(one, 0x40_0000)
        kernel.pages_given = 0
        assert kernel.thread_control(int(one.id), NIL) is None
        kernel.check()
        assert kernel.thread_control(int(friend.id), NIL) is None
        kernel.check()
    # What stays are the page tables of sigma0's own view of the user memory
    assert before - kernel_memory.free_pages < 10
    after = int(kernel_memory.free_pages)
    kernel.spawn_space(51)
    assert kernel.thread_control(gid(51), NIL) is None
    assert kernel_memory.free_pages == after


def test_deleting_a_space_is_preemptible(kernel: Kernel) -> None:
    one = kernel.spawn_space(51)
    for index in range(8):
        kernel.give_page(one, 0x40_0000 + index * 0x1000)
    machine.preempt_every = type(machine.preempt_every)(1)
    for _ in range(200):
        kernel.call(kernel.root, Call.THREAD_CONTROL, rdi=gid(51), r8=0, rdx=0, rsi=0, r9=LEAVE, rax=7)
        kernel.check()
        if kernel.root.frame.rax == 1:
            break
        assert kernel.root.frame.rip == 0x1000_0000  # the instruction is executed again
    assert kernel.root.frame.rax == 1
    assert not kernel.thread(51).exists()


def test_another_version_renames(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    kernel.ipc(two, int(one.id))
    assert kernel.thread_control(gid(51, 9), gid(51, 9)) is None
    assert one.id == gid(51, 9)
    assert one.utcb.my_global_id == one.id
    assert kernel.result(two).failure == (IpcError.NON_EXISTENT, "send")
    got = kernel.ipc(two, gid(51))
    assert got is not None
    assert got.failure == (IpcError.NON_EXISTENT, "send")
    kernel.check()


def test_moving_to_another_space(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    friend = kernel.spawn(53, one)
    friend.utcb.thread_word_0 = 42
    assert kernel.thread_control(int(friend.id), int(two.id)) is None
    assert friend.space == two.space
    assert friend.utcb.thread_word_0 == 42
    assert kernel.thread_control(int(one.id), int(two.id)) == CallError.INVALID_SPACE  # the last of its space
    kernel.ipc(two, NIL, ANY)
    assert kernel.ipc(friend, lid(two)) is not None
    assert kernel.result(two).from_ == lid(friend)
    assert kernel.thread_control(int(friend.id), NIL) is None
    kernel.check()


@pytest.mark.parametrize("phase", ["sends", "receives", "is sent to", "faults", "halted", "ready", "sleeps"])
def test_deleting_in_each_phase(kernel: Kernel, pair: Pair, phase: str) -> None:
    one, two = pair
    match phase:
        case "sends":
            kernel.ipc(one, int(two.id), NIL, send=100)
        case "receives":
            kernel.ipc(one, NIL, int(two.id))
        case "is sent to":
            kernel.ipc(two, int(one.id), int(one.id))
        case "faults":
            kernel.fault(one, 0x5000)
        case "halted":
            kernel.exchange_registers(kernel.root, int(one.id), 0x101)
        case "sleeps":
            kernel.ipc(one, NIL, int(one.id), receive=100)
    kernel.check()
    assert kernel.thread_control(int(one.id), NIL) is None
    assert not one.exists()
    kernel.check()
    assert kernel.thread_control(int(one.id) or gid(51), NIL) is None  # once more does nothing
    kernel.pass_time(1000)
    kernel.check()
    if phase == "is sent to":
        assert kernel.result(two).failure == (IpcError.NON_EXISTENT, "send")
    else:
        got = kernel.ipc(two, NIL, ANY, receive=0x400)
        assert got is not None
        assert got.failure == (IpcError.TIMEOUT, "receive")


@pytest.mark.parametrize(
    ("control", "blocked", "cancelled"),
    [(4, "send", True), (2, "send", False), (2, "receive", True), (4, "receive", False)],
)
def test_cancelling(kernel: Kernel, pair: Pair, control: int, blocked: str, *, cancelled: bool) -> None:
    one, two = pair
    if blocked == "send":
        kernel.ipc(one, int(two.id), NIL, 1, label=5)
    else:
        kernel.ipc(one, NIL, int(two.id))
    assert kernel.exchange_registers(kernel.root, int(one.id), control)
    assert kernel.root.frame.rsi == (4 if blocked == "send" else 2)
    assert (one.state == ThreadState.READY) == cancelled
    if cancelled:
        assert kernel.result(one).failure == (IpcError.CANCELLED, blocked)
        assert kernel.result(one).tag == (5 << 16 | 0x8001 if blocked == "send" else 0x8000)
    kernel.check()


def test_exchange_registers_delivers_and_sets(kernel: Kernel) -> None:
    one = kernel.spawn(51)
    one.frame.rflags = 0x202
    one.utcb.user_defined_handle = 8
    given = {"rdx": 0x2000, "r8": 0x1000, "r9": 0xFFFF_FFFF, "r10": 9, "rdi": gid(60)}
    old = (one.frame.rsp, one.frame.rip, 0x202, 8, kernel.root.id)
    assert kernel.exchange_registers(kernel.root, lid(one), 0xF8, **given) == one.id
    frame = kernel.root.frame
    assert (frame.rdx, frame.r8, frame.r9, frame.r10) == old[:4]
    assert frame.rdi == int(old[4])
    assert (one.frame.rsp, one.frame.rip) == (0x2000, 0x1000)
    assert one.frame.rflags & 0x3200 == 0x200
    assert one.utcb.user_defined_handle == 9
    assert one.utcb.pager == gid(60)


def test_exchange_registers_errors(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    for caller, dest in ((one, int(two.id)), (kernel.root, gid(60)), (one, 0x1000)):
        assert kernel.exchange_registers(caller, dest, 0) == 0
        assert CallError(caller.utcb.error_code) == CallError.INVALID_THREAD
    kernel.thread_control(gid(53), root(kernel), root(kernel))
    assert kernel.exchange_registers(kernel.root, gid(53), 0) == 0


def test_halting_and_resuming(kernel: Kernel, pair: Pair) -> None:
    one, two = pair
    kernel.exchange_registers(kernel.root, int(one.id), 0x101)
    assert one.state == ThreadState.HALTED
    kernel.check()
    kernel.exchange_registers(kernel.root, int(one.id), 0)
    assert kernel.root.frame.rsi == 1
    kernel.exchange_registers(kernel.root, int(one.id), 0x100)
    assert one.state == ThreadState.READY
    kernel.check()
    kernel.ipc(one, NIL, ANY)  # one inside an IPC is halted when that ends
    kernel.exchange_registers(kernel.root, int(one.id), 0x101)
    assert one.state == ThreadState.RECEIVING
    assert kernel.ipc(two, int(one.id), NIL, 5) is not None
    assert one.state == ThreadState.HALTED
    kernel.check()
    kernel.exchange_registers(kernel.root, int(one.id), 0x100)
    assert kernel.result(one).words[0] == 5


def test_halting_oneself(kernel: Kernel) -> None:
    one = kernel.spawn(51)
    kernel.exchange_registers(one, int(one.id), 0x101)
    assert one.state == ThreadState.HALTED
    kernel.check()


@pytest.mark.parametrize(
    ("kip", "utcb", "error"),
    [
        (0xBFF0_0000 | 12 << 4, 0xBF00_0000 | 11 << 4, CallError.UTCB_AREA),
        (0xBFF0_0000 | 11 << 4, 0xBF00_0000 | 12 << 4, CallError.KIP_AREA),
        (0xBF00_1000 | 12 << 4, 0xBF00_0000 | 18 << 4, CallError.KIP_AREA),
        (0xBFF0_0000 | 12 << 4, 0xFFFF_FF00_0000_0000 | 18 << 4, CallError.UTCB_AREA),
        (0xFFFF_8000_0000_0000 | 12 << 4, 0xBF00_0000 | 18 << 4, CallError.KIP_AREA),
        (0, 0, CallError.UTCB_AREA),
    ],
)
def test_space_control_errors(kernel: Kernel, kip: int, utcb: int, error: CallError) -> None:
    assert kernel.thread_control(gid(53), gid(53), root(kernel)) is None
    kernel.call(kernel.root, Call.SPACE_CONTROL, rdi=gid(53), rsi=0, rdx=kip, r8=utcb, r9=0)
    assert kernel.root.frame.rax == 0
    assert CallError(kernel.root.utcb.error_code) == error
    kernel.call(kernel.root, Call.SPACE_CONTROL, rdi=gid(60), rsi=0, rdx=kip, r8=utcb, r9=0)
    assert CallError(kernel.root.utcb.error_code) == CallError.INVALID_SPACE
