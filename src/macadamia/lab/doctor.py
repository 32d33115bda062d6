"""`mac doctor`: checks everything that Macadamia needs and says how to mend what is missing.

The last check boots a guest of a few hundred bytes through the same runner as `mac run`, because a
tool that prints its version does not necessarily work.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from macadamia.lab import probe, qemu
from macadamia.lab.cache import BuildCache, cache_directory
from macadamia.lab.errors import LabError, Status
from macadamia.lab.guest import Guest
from macadamia.lab.runner import How, Limits, Streams, run_guest

_LEAST_FREE_MEMORY_MIB = 1024
_LEAST_FREE_DISK_MIB = 1024
_OLDEST_LINKER = 13  # lld; older ones lack what the compiler's link step relies on


@dataclass(frozen=True)
class Finding:
    """One line of the report. `remedy` is what to do; a finding without one is in order."""

    text: str
    remedy: str = ""


def examine() -> int:
    """Print the report; 0 when all is well, 1 when something needs mending."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("Python", _python), ("LLVM", _llvm), ("lld", _linker), ("QEMU", _qemu), ("gdb", _gdb), ("KVM", _kvm),
        ("memory", _memory), ("disk", _disk), ("cache", _cache), ("a guest", _boot)]
    trouble = 0
    for name, check in checks:
        finding = _guarded(check)
        trouble += bool(finding.remedy)
        print(f"{'!!' if finding.remedy else 'ok'}  {name:<8} {finding.text}")
        if finding.remedy:
            print(f"    {'':<8} mend: {finding.remedy}")
    print("all is well" if not trouble else f"{trouble} to mend")
    return Status.FAILED if trouble else Status.OK


def _guarded(check: Callable[[], Finding]) -> Finding:
    """A check that cannot even be made is itself a finding."""
    try:
        return check()
    except LabError as error:
        return Finding(str(error), "see above")


def _python() -> Finding:
    return Finding(f"{platform.python_version()} ({sys.executable})")


def _llvm() -> Finding:
    try:
        import llvmlite
        from llvmlite import binding
    except (ImportError, OSError) as error:
        return Finding(f"llvmlite does not load: {error}", "rm -r .venv, then any mac command")
    version = ".".join(map(str, binding.llvm_version_info))
    return Finding(f"{version} (llvmlite {llvmlite.__version__})")


def _linker() -> Finding:
    program = shutil.which("ld.lld")
    if program is None:
        return _install("ld.lld", "lld")
    text = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace").stdout
    words = text.split()
    version = words[words.index("LLD") + 1] if "LLD" in words[:-1] else ""
    if not version.partition(".")[0].isdigit():
        return Finding(f"{program} does not name its version", "reinstall the package lld")
    if int(version.partition(".")[0]) < _OLDEST_LINKER:
        return Finding(f"{version} is too old", f"install lld {_OLDEST_LINKER} or newer")
    return Finding(f"{version} ({program})")


def _qemu() -> Finding:
    program = shutil.which(qemu.PROGRAM)
    if program is None:
        return _install(qemu.PROGRAM, "qemu-system-x86")
    version = qemu.version_of(program)
    try:
        qemu.check_version(version)
    except LabError as error:
        return Finding(str(error), "install a newer qemu-system-x86")
    return Finding(f"{version[0]}.{version[1]} ({program})")


def _gdb() -> Finding:
    program = shutil.which("gdb")
    if program is None:
        return Finding("not installed; mac debug will install it")
    return Finding(f"({program})")


def _kvm() -> Finding:
    obstacle = qemu.kvm_obstacle()
    return Finding("usable" if obstacle is None else f"not usable, QEMU emulates the processor: {obstacle}")


def _memory() -> Finding:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) // 1024
            return Finding(f"{free} MiB free", "" if free >= _LEAST_FREE_MEMORY_MIB else
                           f"close something: a build and a guest want {_LEAST_FREE_MEMORY_MIB} MiB")
    return Finding("unknown")


def _disk() -> Finding:
    folder = cache_directory()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free >> 20
    return Finding(f"{free} MiB free at {folder}", "" if free >= _LEAST_FREE_DISK_MIB else
                   "free some space, or set MACADAMIA_CACHE to a folder elsewhere")


def _cache() -> Finding:
    directory = cache_directory()
    BuildCache(directory)
    if not os.access(directory, os.W_OK):
        return Finding(f"{directory} cannot be written", "set MACADAMIA_CACHE to a folder you may write")
    used = sum(path.stat().st_size for path in (directory / "objects").iterdir()) >> 20
    return Finding(f"{directory} ({used} MiB of built systems)")


def _boot() -> Finding:
    """Boot the probe kernel and expect its exit status."""
    if shutil.which(qemu.PROGRAM) is None:
        return Finding("not tried: QEMU is not installed")
    with tempfile.TemporaryDirectory(prefix="macadamia-") as folder, open(os.devnull, "wb") as sink:
        kernel = Path(folder) / "probe.elf"
        kernel.write_bytes(probe.kernel(probe.say(probe.COM1, "alive\n") + probe.end(status=0)))
        with Guest(qemu.Machine(memory_mib=32), kernel, Path(folder) / "log") as guest:
            ending = run_guest(guest, Limits(timeout=20), Streams(source=None, sink=sink.fileno()))
    if ending.how is How.EXITED and ending.status == 0:
        return Finding("boots, prints and ends in QEMU")
    return Finding(f"does not run: {ending.reason}", "reinstall qemu-system-x86 (7.2 or newer)")


def _install(program: str, package: str) -> Finding:
    return Finding(f"{program} is not installed", f"sudo apt-get install --no-install-recommends {package}")
