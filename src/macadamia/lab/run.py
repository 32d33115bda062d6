"""`mac run`: build, boot, join the console, and end with the guest program's exit status."""

import itertools
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from macadamia.lab import packages, qemu
from macadamia.lab.build import build_system
from macadamia.lab.cache import cache_directory
from macadamia.lab.catalogue import find_system
from macadamia.lab.errors import LabError, Status
from macadamia.lab.guest import Guest
from macadamia.lab.initrd import Module, build_initrd
from macadamia.lab.qemu import Machine
from macadamia.lab.runner import SILENCE_SECONDS, Ending, How, Limits, Streams, run_guest

KEPT_LOGS = 50
_run_numbers = itertools.count()


@dataclass(frozen=True)
class Options:
    """What `mac run` was asked for, checked."""

    machine: Machine
    profile: str = "checked"
    timeout: float | None = None
    verbose: bool = False
    modules: tuple[Module, ...] = ()


def make_machine(*, accel: str, memory: str, cpus: int, icount: bool) -> Machine:
    """The machine for the options of the command line; `LabError` when they contradict each other."""
    if not 1 <= cpus <= qemu.MOST_CPUS:
        raise LabError(f"--cpus {cpus}: give a number from 1 to {qemu.MOST_CPUS}", Status.USAGE)
    if icount and accel == "kvm":
        raise LabError("--icount counts instructions in QEMU's own processor (TCG); drop --accel kvm",
                      Status.USAGE)
    return Machine(accel=qemu.choose_accelerator("tcg" if icount else accel),
                   memory_mib=qemu.parse_memory(memory), cpus=cpus, icount=icount)


def run_system(name: str, command: Sequence[str], options: Options) -> int:
    """Build and run the system called `name`; the exit status for `mac`."""
    system = find_system(name)
    initrd = build_initrd(command, options.modules)
    packages.ensure("run")
    kernel = build_system(system, options.profile)
    return run_kernel(kernel, system.name, initrd, options)


def run_kernel(kernel: Path, name: str, initrd: bytes, options: Options) -> int:
    """Run a finished kernel image; the exit status for `mac`. What went wrong is told on standard error."""
    qemu.check_memory(options.machine, kernel, len(initrd))
    log = new_log(name)
    # Input that arrives at the host's pace would undo what --icount is for.
    streams = Streams(source=None if options.machine.icount else standard_input(), follow_log=options.verbose)
    try:
        with Guest(options.machine, kernel, log, initrd=initrd) as guest:
            ending = run_guest(guest, Limits(options.timeout, SILENCE_SECONDS), streams)
    except BrokenPipeError:
        return Status.BROKEN_PIPE
    _tell(ending, log, kernel)
    return ending.status


def new_log(name: str) -> Path:
    """A fresh file for a kernel log; only the newest `KEPT_LOGS` are kept."""
    folder = cache_directory() / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("*.log"), key=_age)[KEPT_LOGS - 1:]:
            old.unlink(missing_ok=True)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        log = folder / f"{name}-{stamp}-{os.getpid()}-{next(_run_numbers)}.log"
        log.touch()
    except OSError as error:
        raise LabError(f"cannot keep a kernel log in {folder}: {error.strerror}") from None
    return log


def standard_input() -> int | None:
    """The descriptor of standard input, or None when it is closed."""
    try:
        os.fstat(0)
    except OSError:
        return None
    return 0


def _tell(ending: Ending, log: Path, kernel: Path) -> None:
    if ending.how is How.REFUSED:
        print(f"mac: {ending.reason}", file=sys.stderr)
    elif ending.how is not How.EXITED:
        from macadamia.lab.report import describe  # reads ELF and DWARF: only for a run that went wrong

        print(describe(ending, log, kernel), file=sys.stderr)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
