"""Time: the time-stamp counter, and one interrupt at a time from the local APIC's timer.

Frequencies are never assumed. The processor or the hypervisor may tell the counter's (CPUID leaf 0x15,
hypervisor leaf 0x40000010); otherwise it is measured against a reference timer for a millisecond. The APIC
timer is measured the same way, unless it can be set to a time-stamp directly (TSC deadline).

Times are nanoseconds since `note_start`. Conversions are multiplications by 32.32 fixed-point ratios.
"""

from macadamia.lang import Struct, implements, local, multiply_high, range, static, u32, u64
from macadamia.machine import interface
from macadamia.machine.x86_64 import control
from macadamia.machine.x86_64.features import Feature, has
from macadamia.machine.x86_64.instructions import cpuid, read_time_stamp, write_msr
from macadamia.machine.x86_64.local_apic import MASKED, TIMER_TSC_DEADLINE, TIMER_VECTOR, local_apic
from macadamia.machine.x86_64.reference_timer import reference_timer

NANOSECONDS = 1_000_000_000  # per second
MEASURING_TIME = 1000  # 1/s: the reciprocal of how long a frequency is measured
SAMPLES = 8  # of which the quickest is believed
LONGEST_COUNT = 0xFFFF_FFFF  # of the APIC timer
FURTHEST = 1 << 60  # ns, 36 years: keeps conversions from overflowing

LEAF_CRYSTAL = 0x15
LEAF_HYPERVISOR = 0x4000_0000
LEAF_HYPERVISOR_TIMING = 0x4000_0010  # EAX: TSC kHz (VMware's, also offered by KVM)
HYPERVISOR_BIT = 31  # of leaf 1, ECX


class Clock(Struct):
    start: u64  # time stamp at time 0
    frequency: u64  # of the time-stamp counter, Hz
    timer_frequency: u64  # of the APIC timer, Hz; 0 = it is set by time stamp
    nanoseconds_per_tick: u64  # 32.32
    ticks_per_nanosecond: u64  # 32.32
    timer_ticks_per_nanosecond: u64  # 32.32


class Sample(Struct):
    """The counters at one moment, and how long reading them took."""

    reference: u64
    time_stamp: u64
    timer: u64
    duration: u64

    def take(self) -> None:
        """Read the counters as the reference timer ticks; of several tries keep the quickest.

        An emulator may lose the processor in the middle of a try, which then takes long.
        """
        self.duration = FURTHEST
        for _ in range(u64(SAMPLES)):
            self.try_once()

    def try_once(self) -> None:
        previous = reference_timer.read()
        reference = previous
        before: u64 = 0
        while reference == previous:
            before = read_time_stamp()
            reference = reference_timer.read()
        timer = local_apic().current_count
        duration = read_time_stamp() - before
        if duration < self.duration:
            self.duration = duration
            self.reference = reference
            self.time_stamp = before
            self.timer = timer


clock = static(Clock)


def note_start() -> None:
    """Time 0 is now."""
    clock.start = read_time_stamp()


def start_clock() -> None:
    """Find the frequencies. The local APIC runs, interrupts are off."""
    told = told_frequency()
    if told == 0 or not has(Feature.TSC_DEADLINE):
        measure()
    if told:
        clock.frequency = told
    if has(Feature.TSC_DEADLINE):
        clock.timer_frequency = 0
    clock.nanoseconds_per_tick = ratio(NANOSECONDS, clock.frequency)
    clock.ticks_per_nanosecond = ratio(clock.frequency, NANOSECONDS)
    clock.timer_ticks_per_nanosecond = ratio(clock.timer_frequency, NANOSECONDS)


def told_frequency() -> u64:
    """The time-stamp counter's frequency in Hz if the processor or hypervisor tells it, else 0."""
    maximum, _, _, _ = cpuid(0, 0)
    if maximum >= LEAF_CRYSTAL:
        denominator, numerator, crystal, _ = cpuid(LEAF_CRYSTAL, 0)
        if denominator and numerator and crystal:
            return u64(crystal) * numerator // denominator
    _, _, ecx, _ = cpuid(1, 0)
    if ecx >> HYPERVISOR_BIT & 1:
        maximum, _, _, _ = cpuid(LEAF_HYPERVISOR, 0)
        if maximum >= LEAF_HYPERVISOR_TIMING:
            kilohertz, _, _, _ = cpuid(LEAF_HYPERVISOR_TIMING, 0)
            return u64(kilohertz) * 1000
    return 0


def measure() -> None:
    """Measure both frequencies against the reference timer."""
    reference_timer.start()
    apic = local_apic()
    apic.local_timer = MASKED
    apic.initial_count = LONGEST_COUNT
    first = local(Sample)
    last = local(Sample)
    first.take()
    wanted = reference_timer.frequency // MEASURING_TIME
    while reference_timer.since(first.reference) < wanted:
        pass
    last.take()
    passed = (last.reference - first.reference) & reference_timer.mask
    clock.frequency = (last.time_stamp - first.time_stamp) * reference_timer.frequency // passed
    clock.timer_frequency = (first.timer - last.timer) * reference_timer.frequency // passed
    apic.initial_count = 0


def ratio(numerator: u64, denominator: u64) -> u64:
    """numerator / denominator as 32.32 fixed point; both below 2**63."""
    whole = numerator // denominator
    rest = numerator % denominator
    return whole << 32 | (rest << 32) // denominator


def scaled(value: u64, factor: u64) -> u64:
    """`value` times the 32.32 number `factor`."""
    return multiply_high(value, factor) << 32 | value * factor >> 32


@implements(interface.time_now)
def time_now() -> u64:
    return scaled(read_time_stamp() - clock.start, clock.nanoseconds_per_tick)


@implements(interface.set_timer)
def set_timer(time: u64) -> None:
    apic = local_apic()
    if clock.timer_frequency == 0:
        apic.local_timer = TIMER_TSC_DEADLINE | TIMER_VECTOR
        write_msr(
            control.MSR_TSC_DEADLINE, clock.start + scaled(min(time, FURTHEST), clock.ticks_per_nanosecond)
        )
        return
    now = time_now()
    wait = time - now if time > now else u64(0)
    count = scaled(min(wait, FURTHEST), clock.timer_ticks_per_nanosecond) + 1
    apic.local_timer = TIMER_VECTOR
    apic.initial_count = u32(min(count, LONGEST_COUNT))


@implements(interface.stop_timer)
def stop_timer() -> None:
    if clock.timer_frequency == 0:
        write_msr(control.MSR_TSC_DEADLINE, 0)
    else:
        local_apic().initial_count = 0
