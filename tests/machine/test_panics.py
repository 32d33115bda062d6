"""The kernel's own mistakes end in a readable panic with registers and a backtrace."""

import pytest

from macadamia.lab.symbols import Symbols
from tests.machine.conftest import Probe

FAULTS = {
    "overflow": ("kernel stack overflow", "recurse"),
    "write-text": ("the kernel wrote to 0x", "write_text"),
    "write-constants": ("the kernel wrote to 0x", "write_constants"),
    "write-text-alias": ("the kernel wrote to 0xffff8000", "write_text_alias"),
    "execute-data": ("the kernel jumped to 0x", ""),
    "read-nothing": ("the kernel read 0x10, where nothing is mapped", "read_nothing"),
    "read-non-canonical": ("general protection", "read_non_canonical"),
    "machine-check": ("machine check", "machine_check"),
}
STOPS = {
    "divide": "division by zero",
    "failed-assertion": "the probe asserts what is not so",
    "explicit-panic": "the probe was told to panic",
}


@pytest.mark.parametrize("scenario", FAULTS)
def test_faults_of_the_kernel(probe: Probe, cpu: str, scenario: str) -> None:
    message, function = FAULTS[scenario]
    panic = probe.run(scenario, cpu=cpu).panic
    assert message in panic.messages[0]
    assert {"rip", "rsp", "rax", "r15", "cr2"} <= panic.registers.keys()
    symbols = Symbols.load(probe.kernel())
    names = [str(symbols.function_at(address)) for address in panic.returns]
    assert function in names[0]
    assert any("kernel_main" in name for name in names) or scenario == "overflow"


@pytest.mark.parametrize(
    ("scenario", "message"), [("read-user", "is the user's"), ("execute-user", "jumped to")]
)
def test_user_memory_is_closed_to_the_kernel(probe: Probe, scenario: str, message: str) -> None:
    """SMAP and SMEP."""
    assert message in probe.run(scenario, cpu="max").panic.messages[0]


@pytest.mark.parametrize("profile", ["checked", "release"])
@pytest.mark.parametrize("scenario", STOPS)
def test_stops_name_their_line(probe: Probe, scenario: str, profile: str) -> None:
    if scenario == "failed-assertion" and profile == "release":
        pytest.skip("asserts are removed")
    outcome = probe.run(scenario, profile=profile)
    assert STOPS[scenario] in outcome.panic.messages[0]
    assert "panic: at " in outcome.log
    assert "probe_kernel.py:" in outcome.log
