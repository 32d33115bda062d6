"""The QEMU command line of a guest, and the facts about the host that decide it.

The guest's side of the contract:

- COM1 is the console of the guest program: its standard input and output.
- COM2 is the kernel's log. Its last line before an orderly end is `macadamia: exit STATUS`
  (decimal, 0 to 255). Lines that begin with `panic: ` describe a panic (lab/panic.py).
- A byte written to port 0xF4 then ends QEMU: 0x31 after an orderly end, 0x33 after a panic.
- The kernel is an ELF64 file with a PVH note; modules come in one initrd (lab/initrd.py).
"""

import os
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from macadamia.lab.errors import LabError, Status

PROGRAM = "qemu-system-x86_64"
OLDEST_VERSION = (7, 2)

EXIT_PORT = 0xF4  # the customary port of the isa-debug-exit device
EXIT_ORDERLY = 0x31
EXIT_PANIC = 0x33

_MEBIBYTE = 1 << 20
SMALLEST_MEMORY_MIB = 16
ROOM_FOR_KERNEL_MIB = 8
"""Memory a kernel needs besides its image and its modules: page tables, stacks, frame tables."""
MOST_CPUS = 64


def debug_exit_status(value: int) -> int:
    """The exit status of QEMU when the guest writes `value` to isa-debug-exit (hw/misc/debugexit.c)."""
    return (value << 1 | 1) & 0xFF


@dataclass(frozen=True)
class Machine:
    """The computer to present to the guest. `accel` is tcg or kvm, `memory_mib` in mebibytes.

    `icount` makes time a count of executed instructions, and runs repeatable.
    """

    accel: str = "tcg"
    memory_mib: int = 256
    cpus: int = 1
    icount: bool = False


@dataclass(frozen=True)
class Connections:
    """What joins QEMU to the runner, as file names and numbers of descriptors that it inherits.

    `console` is a connected socket or an output file. At `gdb`, a socket to make, QEMU waits for gdb.
    """

    log: Path
    monitor: int
    console: int | Path
    gdb: Path | None = None


def command_line(machine: Machine, kernel: Path, initrd: Path | None, connections: Connections) -> list[str]:
    """The whole QEMU command."""
    line = [program(), "-no-user-config", "-nodefaults", "-display", "none", "-machine", "q35",
            "-accel", machine.accel, "-cpu", "host" if machine.accel == "kvm" else "max",
            "-m", f"{machine.memory_mib}M", "-smp", str(machine.cpus), "-kernel", str(kernel)]
    if initrd is not None:
        line += ["-initrd", str(initrd)]
    if machine.icount:
        line += ["-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "clock=vm,base=2000-01-01"]
    line += ["-chardev", f"{_console(connections.console)},id=console", "-serial", "chardev:console",
             "-chardev", f"file,id=log,path={_escape(connections.log)}", "-serial", "chardev:log",
             "-chardev", f"socket,id=monitor,fd={connections.monitor}",
             "-mon", "chardev=monitor,mode=control",
             "-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4",
             # A triple fault or a power-off stops the machine with its registers still readable.
             "-action", "reboot=shutdown,shutdown=pause"]
    if connections.gdb is not None:
        line += ["-S", "-chardev", f"socket,id=gdb,path={_escape(connections.gdb)},server=on,wait=off",
                 "-gdb", "chardev:gdb"]
    return line


def _console(console: int | Path) -> str:
    return f"socket,fd={console}" if isinstance(console, int) else f"file,path={_escape(console)}"


def version_of(program: str) -> tuple[int, ...]:
    """The version that `program --version` prints; `LabError` when it is not a working QEMU."""
    try:
        output = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace",
                                timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise LabError(f"{program} does not run: {error}", Status.NOT_STARTED) from None
    match = re.search(r"QEMU emulator version (\d+)\.(\d+)", output)
    if match is None:
        raise LabError(f"{program} is not a working QEMU: --version does not name one", Status.NOT_STARTED)
    return tuple(int(part) for part in match.groups())


def check_version(version: tuple[int, ...]) -> None:
    """`LabError` when this QEMU lacks what the runner relies on."""
    if version[:2] < OLDEST_VERSION:
        raise LabError(f"QEMU {version[0]}.{version[1]} is too old: {OLDEST_VERSION[0]}.{OLDEST_VERSION[1]} "
                      f"or newer is needed (first on PATH: {shutil.which(PROGRAM)})", Status.NOT_STARTED)


def choose_accelerator(wanted: str) -> str:
    """tcg or kvm for `wanted`, which may also be auto; `LabError` when KVM is demanded and cannot be."""
    obstacle = kvm_obstacle()
    if wanted == "kvm" and obstacle is not None:
        raise LabError(f"KVM cannot be used: {obstacle}", Status.NOT_STARTED)
    return "tcg" if wanted == "tcg" or obstacle is not None else "kvm"


def kvm_obstacle() -> str | None:
    """Why KVM cannot be used here, or None. A /dev/kvm that opens is no proof without vmx or svm."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return "there is no /proc/cpuinfo"
    if flags is None or not {"vmx", "svm"} & set(flags[1].split()):
        return "the processor flags have neither vmx nor svm"
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    return None


def check_memory(machine: Machine, kernel: Path, initrd_size: int) -> None:
    """`LabError` when the image and its modules cannot fit in the guest's memory."""
    needed = (_image_end(kernel) + initrd_size) / _MEBIBYTE + ROOM_FOR_KERNEL_MIB
    least = max(SMALLEST_MEMORY_MIB, int(needed) + 1)
    if machine.memory_mib < least:
        raise LabError(f"too little memory: this kernel with its modules needs at least --memory {least}M",
                      Status.USAGE)


def parse_memory(text: str) -> int:
    """Mebibytes of `512`, `512M` or `2G`; `LabError` for anything else."""
    match = re.fullmatch(r"([0-9]{1,9})([MG]?)(i?B)?", text, re.IGNORECASE)
    if match is None or int(match[1]) == 0:
        raise LabError(f"--memory {text}: give mebibytes or a size such as 512M or 2G", Status.USAGE)
    return int(match[1]) * (1024 if match[2].upper() == "G" else 1)


def _image_end(kernel: Path) -> int:
    """The physical address after the last loaded byte, from the ELF64 program headers (0 if none)."""
    try:
        image = kernel.read_bytes()
        (offset,) = struct.unpack_from("<Q", image, 32)  # e_phoff
        size, count = struct.unpack_from("<HH", image, 54)  # e_phentsize, e_phnum
        headers = [struct.unpack_from("<IIQQQQQQ", image, offset + size * index) for index in range(count)]
    except (OSError, struct.error) as error:
        raise LabError(f"{kernel} is not an ELF64 file: {error}", Status.NOT_STARTED) from None
    # p_type 1 is PT_LOAD; fields 4 and 6 are p_paddr and p_memsz.
    return max((header[4] + header[6] for header in headers if header[0] == 1), default=0)


def program() -> str:
    """The path of QEMU; `LabError` when it is not installed."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise LabError(f"{PROGRAM} is not installed; mac doctor says how to mend it", Status.NOT_STARTED)
    return found


def _escape(path: Path) -> str:
    """`path` inside a QEMU option list, where a comma is written twice."""
    return str(path).replace(",", ",,")
