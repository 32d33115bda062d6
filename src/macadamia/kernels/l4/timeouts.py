"""Timeouts: periods and points of time, and the heap of threads that wait for one.

A binary heap ordered by wake time: arming and disarming cost log n of the threads that wait with a finite
timeout, and nothing for those that wait for ever.
"""

from macadamia.abi.l4.times import NEVER, Time
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.scheduler import NANOSECONDS_PER_MICROSECOND
from macadamia.kernels.l4.thread import Thread
from macadamia.kernels.l4.thread_table import THREAD_NUMBERS
from macadamia.lang import Array, Ptr, Struct, u32, u64
from macadamia.machine.interface import time_now

LONGEST = 1 << 62  # nanoseconds: further points are never reached


class TimeoutHeap(Struct):
    """threads[1] wakes first; slot n has the children 2n and 2n + 1. Slot 0 is unused."""

    count: u32
    threads: Array[Ptr[Thread] | None, THREAD_NUMBERS + 1]

    def place(self, slot: u32, thread: Ptr[Thread]) -> None:
        self.threads[slot] = thread
        thread.wake_slot = slot

    def at(self, slot: u32) -> Ptr[Thread]:
        thread = self.threads[slot]
        assert thread is not None
        return thread

    def insert(self, thread: Ptr[Thread]) -> None:
        self.count += 1
        self.move_up(self.count, thread)

    def move_up(self, slot: u32, thread: Ptr[Thread]) -> None:
        """Put `thread` where it belongs between `slot` and the root."""
        while slot > 1 and self.at(slot // 2).wake_time > thread.wake_time:
            self.place(slot, self.at(slot // 2))
            slot //= 2
        self.place(slot, thread)

    def move_down(self, slot: u32, thread: Ptr[Thread]) -> None:
        """Put `thread` where it belongs between `slot` and the leaves."""
        while 2 * u64(slot) <= self.count:
            child = 2 * slot
            if child < self.count and self.at(child + 1).wake_time < self.at(child).wake_time:
                child += 1
            if self.at(child).wake_time >= thread.wake_time:
                break
            self.place(slot, self.at(child))
            slot = child
        self.place(slot, thread)

    def remove(self, thread: Ptr[Thread]) -> None:
        """Take `thread` out; does nothing when it is not in."""
        slot = thread.wake_slot
        if slot == 0:
            return
        thread.wake_slot = 0
        last = self.at(self.count)
        self.threads[self.count] = None
        self.count -= 1
        if last == thread:
            return
        if slot > 1 and self.at(slot // 2).wake_time > last.wake_time:
            self.move_up(slot, last)
        else:
            self.move_down(slot, last)


heap = TimeoutHeap()


def arm(thread: Ptr[Thread], timeout: Time) -> None:
    """Wake `thread` when `timeout` has passed; never does nothing."""
    if timeout != NEVER:
        arm_at(thread, expiry(timeout, time_now()))


def arm_at(thread: Ptr[Thread], time: u64) -> None:
    """Wake `thread` at `time`, nanoseconds; LONGEST or more is never."""
    assert thread.wake_slot == 0, "armed already"
    if time >= LONGEST:
        return
    thread.wake_time = time
    heap.insert(thread)
    if thread.wake_slot == 1:
        processor.timer_changed = True


def disarm(thread: Ptr[Thread]) -> None:
    heap.remove(thread)


def first_expiry() -> u64:
    """When the first timeout ends; LONGEST if none is armed."""
    return heap.at(1).wake_time if heap.count > 0 else u64(LONGEST)


def is_zero(timeout: Time, now: u64) -> bool:
    """Whether the timeout is over before it begins."""
    if timeout.point:
        return expiry(timeout, now) <= now
    return timeout != NEVER and timeout.mantissa == 0


def expiry(timeout: Time, now: u64) -> u64:
    """When `timeout`, that begins at `now`, ends; nanoseconds."""
    if timeout.point:
        return point_in_time(timeout, now)
    period = timeout.mantissa << timeout.exponent  # at most 2**41 microseconds
    return now + period * NANOSECONDS_PER_MICROSECOND


def point_in_time(timeout: Time, now: u64) -> u64:
    """The point that the low bits of the clock name: in the current interval of 2**(e+10) microseconds if its
    parity is the point's, else in the next (X.2 manual, section 3.1)."""
    clock = now // NANOSECONDS_PER_MICROSECOND
    exponent = timeout.point_exponent
    interval = clock >> exponent >> 10
    if interval & 1 != timeout.point_parity:
        interval += 1
    microseconds = (interval << 10 | timeout.mantissa) << exponent
    return microseconds * NANOSECONDS_PER_MICROSECOND
