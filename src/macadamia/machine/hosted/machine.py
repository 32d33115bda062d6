"""The simulated machine: traps, time, interrupt lines, console and power, for a kernel under test.

    machine = Machine()
    kernel = jit(HANDLERS, {**by_interface(KERNEL), **machine.implementations})
    machine.kernel = kernel
    machine.activate(thread.frame)
    machine.system_call(rax=1)

A test plays the user: `system_call`, `access`, `exception`, `raise_line`, `advance`. Each enters the kernel
as the real machine would and comes back when the kernel goes to user mode, by returning or by `resume`; which
thread then runs is `machine.frame`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum, auto
from typing import Any, NoReturn

from macadamia.lang import memory, u8, u32, u64
from macadamia.machine import interface
from macadamia.machine.addresses import VirtAddr
from macadamia.machine.hosted.memory import physical_pointer
from macadamia.machine.hosted.processor import Access, PageFault, Processor, read_ram, write_ram
from macadamia.machine.x86_64.frame import SYSTEM_CALL, Vector
from macadamia.machine.x86_64.layout import USER_END

PAGE_SIZE = 4096
LINES = 192
WORD = 8


class Resumed(Exception):  # noqa: N818
    """The kernel went to user mode by `resume`; unwinds the kernel stack."""


class PoweredOff(Exception):  # noqa: N818
    """The kernel ended the machine."""

    def __init__(self, status: int) -> None:
        super().__init__(f"powered off with status {status}")
        self.status = status


class Deadlock(Exception):  # noqa: N818
    """The kernel waits for an interrupt, and none can come any more."""


class Line(Enum):
    """States of an interrupt line, as in x86_64/interrupts.py."""

    OFF = auto()
    READY = auto()
    SERVED = auto()
    PENDING = auto()


class Machine:
    """One processor and its devices. `kernel` has the handlers as attributes, once they are compiled."""

    def __init__(self) -> None:
        self.kernel: Any = None
        self.processor = Processor()
        self.frame: Any = None  # of the current thread
        self.fpu: Any = None
        self.user_bases = (0, 0)
        self.io_permissions: Any = None
        self.now = 0  # ns
        self.timer: int | None = None  # when it fires
        self.lines = dict.fromkeys(range(LINES), Line.OFF)
        self.arrived: deque[int] = deque()  # lines that fired and wait for the kernel to look
        self.console_input: deque[int] = deque()
        self.console_output = bytearray()
        self.log = bytearray()

    @property
    def implementations(self) -> dict[Any, Callable[..., Any]]:
        """What a program binds to run on this machine."""
        bound = {getattr(interface, name): getattr(self, name) for name in PROVIDED}
        return {**bound, interface.physical_pointer: physical_pointer}

    # What the test does as user and as hardware

    def system_call(self, **registers: int) -> None:
        """SYSCALL by the current thread with these registers changed."""
        for name, value in registers.items():
            setattr(self.frame, name, u64(value))
        self.frame.vector = u64(SYSTEM_CALL)
        self._enter("handle_system_call", self.frame)

    def exception(self, vector: int, error: int = 0) -> None:
        """The current thread raises an exception."""
        self.frame.vector, self.frame.error = u64(vector), u64(error)
        self._enter("handle_exception", self.frame)

    def access(self, address: int, access: Access = Access.READ) -> int | None:
        """A memory access by the current thread: the physical address it reached.

        A fault goes to the kernel, and the access is tried again; None when another thread runs by then.
        """
        for _ in range(3):
            try:
                return self.processor.translate(address, access)
            except PageFault as fault:
                thread = self.frame
                self.frame.vector, self.frame.error = u64(Vector.PAGE_FAULT), u64(fault.error)
                self._enter("handle_page_fault", self.frame, VirtAddr(address))
                if self.frame != thread:
                    return None
        raise AssertionError(f"the kernel does not resolve the fault at {address:#x}")

    def raise_line(self, line: int) -> None:
        """A device interrupts."""
        if self.lines[line] is Line.READY:
            self.arrived.append(line)
            self._deliver()
        elif self.lines[line] is Line.SERVED:
            self.lines[line] = Line.PENDING

    def advance(self, nanoseconds: int) -> None:
        """Let time pass in user mode."""
        end = self.now + nanoseconds
        while self.timer is not None and self.timer <= end:
            self._fire_timer()
        self.now = end

    def _enter(self, handler: str, *arguments: Any) -> None:
        """Run a handler until the kernel goes back to user mode."""
        with suppress(Resumed):
            getattr(self.kernel, handler)(*arguments)
        self._deliver()

    def _deliver(self) -> None:
        while self.arrived:
            line = self.arrived.popleft()
            self.lines[line] = Line.SERVED
            self._enter("handle_interrupt", u32(line))

    def _fire_timer(self) -> None:
        assert self.timer is not None
        self.now, self.timer = max(self.now, self.timer), None
        self._enter("handle_timer")

    # What the kernel calls

    def time_now(self) -> u64:
        return u64(self.now)

    def set_timer(self, time: u64) -> None:
        self.timer = int(time)

    def stop_timer(self) -> None:
        self.timer = None

    def idle(self) -> None:
        if self.arrived:
            self._deliver()
        elif self.timer is not None:
            self._fire_timer()
        else:
            raise Deadlock

    def allow_interrupts(self) -> None:
        if self.timer is not None and self.timer <= self.now:
            self._fire_timer()
        self._deliver()

    def enable_interrupt(self, line: u32) -> bool:
        if line >= LINES:
            return False
        self.lines[int(line)] = Line.READY
        return True

    def disable_interrupt(self, line: u32) -> None:
        if line < LINES:
            self.lines[int(line)] = Line.OFF

    def acknowledge_interrupt(self, line: u32) -> None:
        state = self.lines.get(int(line))
        if state is Line.PENDING:
            self.arrived.append(int(line))
        if state in (Line.SERVED, Line.PENDING):
            self.lines[int(line)] = Line.READY

    def activate(self, frame: Any) -> None:
        self.frame = frame

    def resume(self, frame: Any) -> NoReturn:
        assert frame.cs & 3, "resume of a frame that was never started"
        self.frame = frame
        raise Resumed

    def switch_fpu(self, state: Any) -> None:
        self.fpu = state

    def set_user_bases(self, fs: u64, gs: u64) -> None:
        self.user_bases = (int(fs) if fs < USER_END else 0, int(gs) if gs < USER_END else 0)

    def set_user_gs_base(self, gs: u64) -> None:
        self.user_bases = (self.user_bases[0], int(gs))

    def set_io_permissions(self, permissions: Any) -> None:
        self.io_permissions = permissions

    def load_page_table(self, cr3: u64) -> None:
        self.processor.load(int(cr3))

    def invalidate_page(self, address: VirtAddr) -> None:
        self.processor.invalidate(int(address))

    def copy_from_user(self, to: Any, from_: Any, count: u64) -> int:
        content = self._read_user(from_.kernel_address, int(count))
        memory.write(to.kernel_address, content)
        return int(count) - len(content)

    def copy_to_user(self, to: Any, from_: Any, count: u64) -> int:
        content = memory.bytes_at(from_.kernel_address, int(count)) if count else b""
        return int(count) - self._write_user(to.kernel_address, content)

    def load_user_word(self, address: Any) -> tuple[int, bool]:
        content = self._read_user(address.kernel_address, WORD)
        return (int.from_bytes(content, "little"), True) if len(content) == WORD else (0, False)

    def store_user_word(self, address: Any, value: u64) -> bool:
        return self._write_user(address.kernel_address, int(value).to_bytes(WORD, "little")) == WORD

    def console_write(self, byte: u8) -> None:
        self.console_output.append(int(byte))

    def console_read(self) -> tuple[int, bool]:
        return (self.console_input.popleft(), True) if self.console_input else (0, False)

    def log_write(self, byte: u8) -> None:
        self.log.append(int(byte))

    def power_off(self, status: u8) -> NoReturn:
        raise PoweredOff(int(status))

    # User memory

    def read_user(self, address: int, count: int) -> bytes:
        """User memory of the current space, for a test; AssertionError where none is mapped."""
        content = self._read_user(address, count)
        assert len(content) == count, f"no user memory at {address + len(content):#x}"
        return content

    def write_user(self, address: int, content: bytes) -> None:
        written = self._write_user(address, content)
        assert written == len(content), f"no writable user memory at {address + written:#x}"

    def _read_user(self, address: int, count: int) -> bytes:
        return b"".join(read_ram(place, size) for place, size in self._pieces(address, count, Access.READ))

    def _write_user(self, address: int, content: bytes) -> int:
        """The number of bytes that could be written."""
        done = 0
        for place, size in self._pieces(address, len(content), Access.WRITE):
            write_ram(place, content[done : done + size])
            done += size
        return done

    def _pieces(self, address: int, count: int, access: Access) -> Iterator[tuple[int, int]]:
        """The physical pieces of a range of user memory, up to the first page that cannot be accessed."""
        if count > USER_END or address > USER_END - count:
            return
        while count:
            size = min(count, PAGE_SIZE - address % PAGE_SIZE)
            try:
                yield self.processor.translate(address, access), size
            except PageFault:
                return
            address, count = address + size, count - size


PROVIDED = (
    *("time_now", "set_timer", "stop_timer", "idle", "allow_interrupts"),
    *("enable_interrupt", "disable_interrupt", "acknowledge_interrupt"),
    *("activate", "resume", "switch_fpu", "set_user_bases", "set_user_gs_base", "set_io_permissions"),
    *("load_page_table", "invalidate_page"),
    *("copy_from_user", "copy_to_user", "load_user_word", "store_user_word"),
    *("console_write", "console_read", "log_write", "power_off"),
)
"""Names of the interface functions that are methods of `Machine`."""
