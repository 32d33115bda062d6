"""Kernel Python against C: the same algorithms, compiled as for a kernel, linked into one program.

That program exists twice, from the same objects. The bare one runs in QEMU under `-icount shift=0`, where
the time-stamp counter advances by one for each instruction: exact counts, the same on every machine (an
iteration of a `rep` instruction counts as one). The hosted one runs in a Linux process, where the clock
tells what counts do not: how well the instructions overlap on the processor at hand.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from macadamia.lab import qemu
from macadamia.lab.catalogue import SOURCES
from macadamia.lab.errors import LabError, Status

C_SOURCES = SOURCES.parent / "bench" / "lang"
BARE_ONLY = {"bare.c", "start.S"}
HOSTED_ONLY = {"hosted.c"}

# As kernel Python is compiled for a kernel: no FPU, no red zone, addresses known when linking.
C_FLAGS = ("-std=c11", "-O2", "-mgeneral-regs-only", "-mno-red-zone", "-fno-pie", "-mcmodel=kernel")
HOSTED_FLAGS = ("-std=c11", "-O2", "-fno-pie")
IMAGE_BASE = 0x10_0000  # start.S maps the first GiB where it is
TIMEOUT_SECONDS = 120
_LINE = re.compile(r"(\w+) (\w+) (\d+) (\d+)")


@dataclass(frozen=True)
class Measured:
    """What one side of a case took, and the number that shows it did the work."""

    case: str
    system: str
    cost: int
    result: int


def gcc() -> str:
    """The path of gcc; `LabError` when it is not installed."""
    found = shutil.which("gcc")
    if found is None:
        raise LabError("gcc is not installed; type:  sudo apt-get install gcc libc6-dev", Status.NOT_STARTED)
    return found


def instructions(folder: Path, profile: str) -> list[Measured]:
    """Instructions of both sides; kernel Python compiled in `profile`. Works in `folder`."""
    kernel = folder / f"bare-{profile}.elf"
    objects = [*c_objects(folder, without=HOSTED_ONLY), python_object(folder, profile)]
    base = f"--image-base={IMAGE_BASE:#x}"
    checked(["ld.lld", "-static", base, "-e", "start", "-o", str(kernel), *map(str, objects)])
    return parsed(run_bare(kernel))


def nanoseconds(folder: Path, profile: str) -> list[Measured]:
    """The best time of many runs of both sides, in turns."""
    program = folder / f"hosted-{profile}"
    objects = [*c_objects(folder, without=BARE_ONLY), python_object(folder, profile)]
    checked([gcc(), "-no-pie", "-o", str(program), *map(str, objects)])
    return parsed(checked([str(program)]))


def parsed(output: str) -> list[Measured]:
    """The lines of bare.c and hosted.c. AssertionError when the two sides do not agree on a result."""
    found = [
        Measured(case, system, int(cost), int(result)) for case, system, cost, result in _LINE.findall(output)
    ]
    results: dict[str, int] = {}
    for item in found:
        agreed = results.setdefault(item.case, item.result)
        assert item.result == agreed, (
            f"{item.case}: {item.system} computed {item.result}, the other side {agreed}"
        )
    return found


def python_object(folder: Path, profile: str) -> Path:
    """`macadamia.examples.measured`, compiled for a kernel."""
    from macadamia.examples import measured
    from macadamia.lang.backend import BackendOptions, compile_object
    from macadamia.lang.check.program import check_program
    from macadamia.lang.emit import EmitOptions, emit

    target = folder / f"measured-{profile}.o"
    if not target.exists():
        roots = [getattr(measured, f"{case}_{stage}") for case in measured.CASES for stage in measured.STAGES]
        text = emit(
            check_program(roots), EmitOptions(profile="checked" if profile == "checked" else "release")
        )
        target.write_bytes(compile_object(text, BackendOptions()))
    return target


def c_objects(folder: Path, without: Iterable[str]) -> list[Path]:
    """The C side and one of the two mains."""
    write_crc_table(folder)
    sources = sorted([*C_SOURCES.glob("*.c"), *C_SOURCES.glob("*.S")])
    return [c_object(source, folder) for source in sources if source.name not in without]


def write_crc_table(folder: Path) -> None:
    """The constant table that crc32.c includes, from the one that the import of crc32.py made."""
    from macadamia.examples.crc32 import TABLE, VALUES_OF_A_BYTE

    entries = [f"{int(TABLE[byte]):#010x}" for byte in range(VALUES_OF_A_BYTE)]
    (folder / "crc_table.h").write_text(",\n".join(entries) + "\n")


def c_object(source: Path, folder: Path) -> Path:
    target = folder / f"{source.name}.o"
    flags = HOSTED_FLAGS if source.name in HOSTED_ONLY else C_FLAGS
    if not target.exists():
        checked([gcc(), *flags, f"-I{folder}", "-c", str(source), "-o", str(target)])
    return target


def run_bare(kernel: Path) -> str:
    """What the kernel writes to the debug console."""
    output = kernel.with_suffix(".txt")
    command = [qemu.program(), "-no-user-config", "-nodefaults", "-display", "none", "-machine", "q35"]
    command += ["-accel", "tcg", "-cpu", "max", "-m", "64M", "-kernel", str(kernel), "-no-reboot"]
    command += [
        "-icount",
        "shift=0,sleep=off",
        "-seed",
        "1",
        "-rtc",
        "clock=vm",
        "-debugcon",
        f"file:{output}",
    ]
    command += ["-device", f"isa-debug-exit,iobase={qemu.EXIT_PORT:#x},iosize=4"]
    checked(command, status=qemu.debug_exit_status(0))
    return output.read_text()


def checked(command: list[str], status: int = 0) -> str:
    """The output of a command; `LabError` with what it said when it does not end with `status`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{command[0]}: {error}", Status.NOT_STARTED) from None
    if done.returncode != status:
        raise LabError(f"{command[0]} failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout
