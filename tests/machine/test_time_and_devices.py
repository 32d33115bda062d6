"""Clock, timer, interrupt lines and console input."""

import re
import time

import pytest

from tests.machine.conftest import ICOUNT, Probe


def measured_kilohertz(log: str) -> int:
    (found,) = re.findall(r"time-stamp counter (\d+) kHz", log)
    return int(found)


@pytest.mark.parametrize("machine", ["q35", "pc,acpi=off"])
def test_the_measured_frequency_is_right(probe: Probe, cpu: str, machine: str) -> None:
    """Under -icount shift=0 the time-stamp counter has exactly 1 GHz."""
    outcome = probe.run("boot", *ICOUNT, cpu=cpu, machine=machine)
    assert measured_kilohertz(outcome.log) == pytest.approx(1_000_000, rel=5e-4)


def test_the_timer_fires_when_asked_to(probe: Probe, cpu: str) -> None:
    outcome = probe.run("clock", *ICOUNT, cpu=cpu)
    late = [int(number) for number in re.findall(r"late (-?\d+) ns", outcome.console)]
    assert len(late) == 5
    assert all(0 <= nanoseconds < 20_000 for nanoseconds in late)
    assert outcome.lines[-1] == "ticks 6"


def test_time_passes_as_on_the_wall(probe: Probe) -> None:
    started = time.monotonic()
    assert probe.run("spin").exit_status == 0
    assert 2.0 < time.monotonic() - started < 20.0


def test_an_interrupt_line(probe: Probe, cpu: str) -> None:
    outcome = probe.run("legacy-timer", *ICOUNT, cpu=cpu)
    (microseconds,) = re.findall(r"20 ticks in (\d+) us", outcome.console)
    assert 18_500 < int(microseconds) < 20_500


def test_a_level_triggered_line_is_announced_until_its_device_is_served(probe: Probe, cpu: str) -> None:
    outcome = probe.run("level-triggered", "-device", "pci-serial,addr=3", cpu=cpu)
    assert outcome.lines == ["announced 3 times"]


def test_preemption_points(probe: Probe) -> None:
    assert probe.run("preemption-points", *ICOUNT).lines == ["before 0", "after 1"]


def test_console_input_by_interrupt(probe: Probe, cpu: str) -> None:
    with probe.start("input", cpu=cpu) as guest:
        guest.wait_for(b"ready")
        outcome = guest.finish(b"Hi!" + bytes(range(0x20, 0x7F)) + b"\n")
    assert outcome.exit_status == 0
    typed = bytes(int(code, 16) for code in re.findall(r"byte (\w+)", outcome.console))
    assert typed == b"Hi!" + bytes(range(0x20, 0x7F)) + b"\n"
