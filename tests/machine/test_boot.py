"""From the boot loader to the kernel: processors, sizes of memory, modules, and archives that are broken."""

import re

import pytest

from macadamia.lab.initrd import write_cpio
from tests.machine.conftest import Probe

ARGUMENTS = ("cmdline", b"boot\0one\0two words\0")


@pytest.mark.parametrize("memory", ["16M", "32M", "513M", "1G", "4G", "5G"])
def test_all_memory_is_found_and_mapped(probe: Probe, cpu: str, memory: str) -> None:
    outcome = probe.run("boot", cpu=cpu, memory=memory)
    assert outcome.exit_status == 0
    mebibytes = int(memory[:-1]) * (1024 if memory.endswith("G") else 1)
    (frames,) = re.findall(r"frames (\d+)", outcome.console)
    assert mebibytes - 4 < int(frames) / 256 < mebibytes


@pytest.mark.parametrize(("memory", "profile"), [("16M", "checked"), ("64M", "release")])
def test_every_frame_can_be_used(probe: Probe, cpu: str, memory: str, profile: str) -> None:
    outcome = probe.run("memory", cpu=cpu, memory=memory, profile=profile)
    exhausted, frames = outcome.lines
    assert exhausted == "exhausted True"
    before, taken, back = map(int, re.findall(r"\d+", frames))
    assert before == taken == back > 1000


@pytest.mark.parametrize("machine", ["q35", "pc", "pc,acpi=off"])
def test_chipsets(probe: Probe, machine: str) -> None:
    """Without ACPI the 8254 tells the time, and devices cannot interrupt."""
    outcome = probe.run("boot", machine=machine)
    assert outcome.exit_status == 0
    assert ("no ACPI" in outcome.log) == (machine == "pc,acpi=off")


def test_a_machine_with_one_serial_line(probe: Probe) -> None:
    outcome = probe.run("boot", machine="microvm,acpi=on,pit=on,rtc=on")
    assert outcome.lines[-1] == "macadamia: exit 0"


def test_modules_and_arguments(probe: Probe) -> None:
    archive = write_cpio([ARGUMENTS, ("sigma0", bytes(1001)), ("sigma0.cmdline", b"-v\0"), ("root", b"")])
    outcome = probe.run("", initrd=archive)
    assert outcome.lines[:3] == [
        "module of 1001 bytes, arguments of 3 bytes",
        "module of 0 bytes, arguments of 0 bytes",
        f"arguments of {len(ARGUMENTS[1])} bytes",
    ]


def damaged(offset: int, content: bytes) -> bytes:
    archive = bytearray(write_cpio([ARGUMENTS, ("root", b"abc")]))
    archive[offset : offset + len(content)] = content
    return bytes(archive)


BROKEN = {
    "no cpio header": damaged(0, b"070707"),
    "no cpio header where": b"\x7fELF" + bytes(1000),
    "a member without a valid size": damaged(54, b"0000000g"),
    "valid size": damaged(94, b"00000000"),
    "longer than the archive": damaged(54, b"7fffffff"),
    "is longer": damaged(94, b"ffffffff"),
    "no end": write_cpio([ARGUMENTS])[:-124],
    "come before it": write_cpio([("root.cmdline", b"")]),
    "more than 32 modules": write_cpio([(f"m{i}", b"") for i in range(33)]),
    "header where one should be": write_cpio([ARGUMENTS])[:200],
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_archive_is_a_panic(probe: Probe, message: str) -> None:
    panic = probe.run("", initrd=BROKEN[message]).panic
    assert message in panic.messages[0]


def test_too_little_memory_is_a_panic(probe: Probe) -> None:
    """The archive leaves no room for page tables and stacks."""
    archive = write_cpio([ARGUMENTS, ("big", bytes(6_960_000))])
    outcome = probe.run("", memory="8M", initrd=archive)
    assert any("too little memory" in message for message in outcome.panic.messages), outcome


def test_a_processor_without_long_mode_is_told(probe: Probe) -> None:
    outcome = probe.run("boot", cpu="qemu32")
    assert outcome.log.startswith("panic: this processor has no 64-bit mode")
