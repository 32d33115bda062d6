"""User code cannot harm the kernel: exceptions, returns, flags, single steps, NMIs, ports, copies."""

import pytest

from tests.machine import probe_user
from tests.machine.conftest import Probe


def values(lines: list[str]) -> list[int]:
    """The numbers the program printed."""
    return [int(line.removeprefix("value "), 16) for line in lines if line.startswith("value ")]


def as_exceptions(lines: list[str]) -> list[str]:
    """Page faults in the form of other exceptions."""
    return [
        f"exception 14 error {line.split()[-1]}" if line.startswith("page fault") else line for line in lines
    ]


@pytest.mark.parametrize("profile", ["checked", "release"])
def test_every_exception_from_user_mode_survives(probe: Probe, cpu: str, profile: str) -> None:
    outcome = probe.run("exceptions", cpu=cpu, profile=profile)
    seen = as_exceptions(outcome.lines)
    for line, (instructions, vector, error) in zip(seen, probe_user.EXCEPTIONS, strict=False):
        if vector == probe_user.ANY:
            assert line.startswith("exception "), instructions
        elif error == probe_user.ANY:
            assert line.startswith(f"exception {vector} "), instructions
        else:
            assert line == f"exception {vector} error {error:#x}", instructions
    assert len(seen) == len(probe_user.EXCEPTIONS)
    assert outcome.exit_status == 0


def test_umip_hides_the_descriptor_tables(probe: Probe) -> None:
    outcome = probe.run("umip", cpu="max")
    assert outcome.lines == ["exception 13 error 0x0"] * len(probe_user.UMIP)


def test_returns_to_any_address_are_the_users_problem(probe: Probe, cpu: str) -> None:
    outcome = probe.run("returns", cpu=cpu)
    assert as_exceptions(outcome.lines) == [
        "exception 13 error 0x0",  # not canonical
        "exception 13 error 0x0",
        "exception 14 error 0x15",  # kernel text
        "exception 14 error 0x14",  # the page that is never mapped
        "exception 14 error 0x14",
        "exception 14 error 0x14",  # SYSCALL in the last bytes of user space
        "exception 6 error 0x0",  # with a stack pointer that is not canonical
    ]
    assert outcome.exit_status == 0


def test_hostile_flags_do_not_reach_the_kernel(probe: Probe, cpu: str) -> None:
    outcome = probe.run("flags", cpu=cpu)
    flags = list(probe_user.HOSTILE_FLAGS.items())
    *pairs, privileged = values(outcome.lines)
    assert privileged == 0x200, "POPF must not change IOPL, and interrupts stay on"
    for (name, bit), in_kernel, after in zip(flags, pairs[::2], pairs[1::2], strict=True):
        assert in_kernel & 0x5F700 == 0, f"{name} in the kernel"
        assert after == (0 if name == "RF" else bit), f"{name} is not the user's own afterwards"


def test_single_steps_over_system_calls(probe: Probe, cpu: str) -> None:
    outcome = probe.run("steps", cpu=cpu)
    assert values(outcome.lines)[0] >= 4, "#DB was delivered in user mode"
    assert outcome.exit_status == 0


@pytest.mark.parametrize("scenario", ["nmi", "nmi-preempted"])
def test_nmis_at_any_moment(probe: Probe, cpu: str, scenario: str) -> None:
    with probe.start(scenario, cpu=cpu) as guest:
        guest.wait_for(b"value 0x1")  # before that the firmware has no use for an NMI
        with guest.monitor() as execute:
            while guest.process.poll() is None:
                execute("inject-nmi")
        assert guest.finish().exit_status == 0


@pytest.mark.parametrize("scenario", ["sse", "sse-preempted", "no-fpu"])
def test_fpu_state_belongs_to_one_thread(probe: Probe, cpu: str, scenario: str) -> None:
    outcome = probe.run(scenario, cpu=cpu)
    assert outcome.exit_status == 0
    assert outcome.lines == (["exception 7 error 0x0"] if scenario == "no-fpu" else [])


def test_avx_state_belongs_to_one_thread(probe: Probe) -> None:
    assert probe.run("avx", cpu="max").exit_status == 0


@pytest.mark.parametrize("profile", ["checked", "release"])
def test_general_registers_survive_everything(probe: Probe, cpu: str, profile: str) -> None:
    outcome = probe.run("registers", cpu=cpu, profile=profile)
    assert (outcome.exit_status, outcome.lines) == (0, [])


def test_copies_stop_at_the_exact_byte(probe: Probe, cpu: str) -> None:
    expected = [left for _, _, left in probe_user.COPIES]
    words = [1, 0x1122334455667788, 0xBAD, 0]
    assert values(probe.run("copies", cpu=cpu).lines) == [*expected, *expected, *words]


def test_io_ports_are_allowed_one_by_one(probe: Probe, cpu: str) -> None:
    outcome = probe.run("ports", cpu=cpu)
    assert outcome.lines == ["exception 13 error 0x0"] * probe_user.PORTS.count("leaq 9f")
    assert outcome.exit_status == 0


def test_segment_bases(probe: Probe, cpu: str) -> None:
    """A thread that destroys its GS base has it back when it runs again."""
    assert values(probe.run("segments", cpu=cpu).lines) == [0x1234, 0x5678, 0x5678]
