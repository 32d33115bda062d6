"""The tour, and the figures it measures."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from macadamia.lab.initrd import write_cpio
from tests.machine.conftest import ICOUNT, Guest, Outcome

BOOT_LIMIT = 5_000_000  # instructions
NULL_SYSTEM_CALL_LIMITS = {"checked": 80, "release": 40}  # instructions in the kernel
STEPS = (
    "kernel: booted in",
    "kernel: memory 0x0 to 0x9fc00: RAM",
    "kernel: entering user mode",
    "kernel: page fault at 0x7ffff8, instruction 0x400000",
    "user mode: first instruction",
    "user mode: this text came by a system call",
    "user mode: a null system call and back takes",
    "kernel: breakpoint before",
    "kernel: the user program ends with status 0",
)


@pytest.fixture
def tour(tmp_path: Path, build: Callable[[str, str], Path]) -> Callable[..., Outcome]:
    """Boots hello."""

    def run(profile: str, *options: str, **settings: str) -> Outcome:
        kernel = build("macadamia.systems.hello", profile)
        archive = write_cpio([("cmdline", b"")])
        with Guest(tmp_path, kernel, *options, initrd=archive, **settings) as guest:
            return guest.finish()

    return run


def test_the_tour(tour: Callable[..., Outcome], cpu: str) -> None:
    outcome = tour("checked", cpu=cpu)
    assert outcome.exit_status == 0
    positions = [outcome.console.index(step) for step in STEPS]
    assert positions == sorted(positions)


@pytest.mark.parametrize("profile", ["checked", "release"])
def test_figures(tour: Callable[..., Outcome], profile: str) -> None:
    outcome = tour(profile, *ICOUNT)
    (boot,) = re.findall(r"first instruction (\d+) time-stamp ticks", outcome.console)
    (null_call,) = re.findall(r"takes (\d+) ticks", outcome.console)
    assert int(boot) < BOOT_LIMIT
    assert int(null_call) <= NULL_SYSTEM_CALL_LIMITS[profile]
