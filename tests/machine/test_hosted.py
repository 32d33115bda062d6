"""The simulated machine drives a small kernel as the real one would, compiled and uncompiled."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from macadamia.lang import Ptr, memory, u16, u64
from macadamia.lang.definition import definition
from macadamia.lang.functions import by_interface
from macadamia.lang.jit import jit
from macadamia.machine.addresses import PhysAddr, VirtAddr
from macadamia.machine.hosted.machine import Deadlock, Line, Machine, PoweredOff
from macadamia.machine.hosted.memory import RAM_SIZE, RAM_START
from macadamia.machine.hosted.processor import Access, PageFault
from macadamia.machine.io_permissions import IoPermissions
from macadamia.machine.x86_64.page_table import USER, WRITABLE
from tests.machine import hosted_kernel
from tests.machine.hosted_kernel import kernel

ALL = (*hosted_kernel.HANDLERS, *hosted_kernel.PAGING, hosted_kernel.start_threads)


@pytest.fixture(params=["CPython", "jit"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine with the kernel started: two threads, one space with a writable page at 0x10000."""
    before = memory.save()
    machine = Machine()
    bindings = {**by_interface(hosted_kernel.HANDLERS), **machine.implementations}
    if request.param == "jit":
        machine.kernel = jit(ALL, bindings)
    else:
        machine.kernel = SimpleNamespace(**{f.__name__: definition(f, bindings) for f in ALL})
    machine.kernel.start_memory(u64(RAM_START), u64(RAM_START + RAM_SIZE), u64(0))
    machine.kernel.create_space(u64(0))
    machine.kernel.load_space(u64(0))
    machine.kernel.start_threads()
    frame = PhysAddr(RAM_START + RAM_SIZE - 4096)
    assert machine.kernel.map_page(u64(0), VirtAddr(0x10000), frame, u64(1), u64(USER | WRITABLE))
    yield machine
    memory.restore(before)


def test_a_system_call_switches_threads(machine: Machine) -> None:
    assert machine.frame == kernel.threads[0].frame
    machine.system_call(rax=1)
    assert machine.frame == kernel.threads[1].frame
    assert machine.frame.rip == 0x3000
    machine.system_call(rax=1)
    assert machine.frame == kernel.threads[0].frame


def test_copies_through_the_page_tables(machine: Machine) -> None:
    machine.write_user(0x10000, b"hello, kernel")
    machine.system_call(rax=2, rdi=0x10000, rsi=13, rdx=0x10100)
    assert machine.frame.rax == 0
    assert machine.read_user(0x10100, 13) == b"hello, kernel"
    machine.system_call(rax=2, rdi=0x10FF8, rsi=13, rdx=0x10100)
    assert machine.frame.rax == 5, "the next page is not mapped"
    machine.system_call(rax=4, rdi=0x10000)
    assert machine.frame.rax == int.from_bytes(b"hello, k", "little")
    machine.system_call(rax=4, rdi=0xFFFF_8000_0000_0000)
    assert machine.frame.rax == 77


def test_page_faults_reach_the_kernel_and_are_retried(machine: Machine) -> None:
    place = machine.access(0x20123, Access.WRITE)
    assert place is not None
    assert place % 4096 == 0x123
    machine.write_user(0x20FF0, b"there")
    with pytest.raises(AssertionError, match="no user memory"):
        machine.read_user(0x30000, 1)


def test_a_right_that_is_missing_ends_in_another_thread(machine: Machine) -> None:
    assert machine.kernel.map_page(u64(0), VirtAddr(0x11000), PhysAddr(RAM_START), u64(1), u64(USER))
    assert machine.access(0x11000) == RAM_START
    assert machine.access(0x11000, Access.WRITE) is None
    assert machine.frame == kernel.threads[1].frame
    with pytest.raises(PageFault):
        machine.processor.translate(0x11000, Access.WRITE)


def test_time_passes_and_the_timer_fires(machine: Machine) -> None:
    machine.set_timer(u64(500))
    machine.advance(400)
    assert kernel.ticks == 0
    machine.advance(2200)
    assert (kernel.ticks, machine.now) == (3, 2600)
    machine.system_call(rax=3)
    assert (kernel.ticks, machine.frame.rax) == (4, 3500)


def test_a_kernel_that_nothing_can_wake_is_found(machine: Machine) -> None:
    with pytest.raises(Deadlock):
        machine.system_call(rax=3)


def test_interrupt_lines_are_silent_until_acknowledged(machine: Machine) -> None:
    machine.raise_line(3)
    assert kernel.interrupts == 0, "the line is off"
    machine.enable_interrupt(3)
    machine.enable_interrupt(7)
    for _ in range(3):
        machine.raise_line(3)
        machine.raise_line(7)
    assert kernel.interrupts == 4, "line 7 is never acknowledged"
    assert machine.lines[7] is Line.PENDING


def test_exceptions_console_and_power(machine: Machine) -> None:
    machine.exception(6)
    assert machine.console_output == b"\x06"
    assert machine.frame.rip == 0x5000
    with pytest.raises(PoweredOff) as off:
        machine.system_call(rax=5)
    assert off.value.status == 9


def change_ports(ports: Ptr[IoPermissions], allowed: u16, also_allowed: u16, denied: u16) -> bool:
    ports.clear()
    ports.allow(allowed)
    ports.allow(also_allowed)
    before = ports.version
    ports.deny(denied)
    return ports.version != before and ports.allows(allowed) and not ports.allows(denied)


@pytest.mark.parametrize(
    "run", [definition(change_ports), jit([change_ports]).change_ports], ids=["CPython", "jit"]
)
def test_io_permissions(run: Callable[..., bool]) -> None:
    """Each change has a version of its own, by which the processor knows that its copy is old."""
    ports = IoPermissions()
    assert run(ports, u16(0x3F8), u16(0xFFFF), u16(0xFFFF))
    denied = bytes(int(byte) for byte in ports.denied)
    assert denied == bytes(0xFE if place == 0x3F8 // 8 else 0xFF for place in range(len(denied)))
