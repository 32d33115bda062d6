"""The lab on a real compiled kernel: statuses, panic reports, explanations, and gdb on its Python source."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pygdbmi.gdbcontroller import GdbController

from macadamia.lab.errors import Status
from macadamia.lab.explain import explain
from macadamia.lab.initrd import Module, build_initrd
from macadamia.lab.qemu import Machine
from macadamia.lab.run import Options, run_kernel
from macadamia.lab.symbols import Symbols

KERNELS = Path(__file__).with_name("kernels")
SOURCE = KERNELS / "lab_kernel.py"
SHOWN = "tests/lab/kernels/lab_kernel.py"  # relative to the repository
_BUILD = "import sys; from pathlib import Path; from macadamia.lang.build import build_program; " \
         "build_program('lab_kernel', 'checked', Path(sys.argv[1]))"


def line_of(text: str) -> int:
    """The number of the only line of the kernel's source that contains `text`."""
    (number,) = (number for number, line in enumerate(SOURCE.read_text().splitlines(), 1) if text in line)
    return number


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel as an ELF file, built by another process: a build imports kernel modules for good."""
    output = tmp_path_factory.mktemp("kernel") / "lab_kernel.elf"
    subprocess.run([sys.executable, "-c", _BUILD, str(output)], cwd=KERNELS, check=True, timeout=120)
    return output


@pytest.fixture
def kernel(lab, image: Path):
    lab.write("kernel", "b''", more=f"COPY = {str(image)!r}")
    return lab


def test_runs_and_ends(kernel):
    done = kernel.mac("run", "kernel", "-v", "--timeout", "30")
    assert (done.stdout, done.returncode) == ("", 5)
    assert "lab kernel runs\nmacadamia: exit 5\n" in done.stderr


def test_a_panic_shows_python_functions_and_lines(kernel):
    done = kernel.mac("run", "kernel", "--timeout", "30", "--", "panic")
    assert done.returncode == Status.CRASHED
    assert "kernel panic: asked to panic\n" in done.stderr
    backtrace = done.stderr.partition("backtrace, innermost first:\n")[2].splitlines()
    assert backtrace[0].endswith(f"lab_kernel.kernel_main  {SHOWN}:{line_of('asked to')}")
    assert backtrace[1].strip() == 'panic("asked to panic")'
    assert "machine_start_on_stack" in done.stderr


def test_a_failed_check_shows_its_line_and_callers(kernel):
    done = kernel.mac("run", "kernel", "--timeout", "30", "--", "divide")
    assert done.returncode == Status.CRASHED
    assert "kernel panic: division by zero\n" in done.stderr
    backtrace = done.stderr.partition("backtrace, innermost first:\n")[2].splitlines()
    assert backtrace[0].endswith(f"lab_kernel.divide  {SHOWN}:{line_of('100 // by')}")
    assert backtrace[2].endswith(f"lab_kernel.kernel_main  {SHOWN}:{line_of('divide(0)')}")


def test_a_reset_shows_where_the_processor_was(kernel):
    done = kernel.mac("run", "kernel", "--timeout", "30", "--", "reset")
    assert done.returncode == Status.CRASHED
    assert done.stderr.startswith("mac: the guest reset the machine")
    assert "    lab kernel runs\n" in done.stderr


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "wrong magic"])
def test_a_corrupt_initrd_is_one_clear_line(image: Path, damage: str, lab, monkeypatch, capfd):
    monkeypatch.setenv("MACADAMIA_CACHE", str(lab.cache))
    whole = build_initrd(["x" * 100], [Module(SOURCE)])
    initrd = {"empty": bytes(512), "garbage": b"not cpio " * 300, "cut": whole[:len(whole) // 2],
              "wrong magic": whole.replace(b"070701", b"070702")}[damage]
    status = run_kernel(image, "kernel", initrd, Options(Machine(), timeout=30))
    output, complaint = capfd.readouterr()
    assert (status, output) == (Status.CRASHED, "")
    assert complaint.startswith("mac: the kernel panicked\nkernel panic: ")
    assert "initrd" in complaint.splitlines()[1]


def test_too_little_memory_is_one_line(kernel):
    done = kernel.mac("run", "kernel", "--memory", "8M")
    assert (done.returncode, done.stderr.count("\n")) == (Status.USAGE, 1)
    assert done.stderr.startswith("mac: too little memory")


def test_explain_shows_python_and_machine_code(image: Path):
    text = explain(f"lab_kernel.py:{line_of('return 100 // by')}", Symbols.load(image))
    assert "return 100 // by" in text
    assert "div" in text
    whole = explain(f"{SOURCE}:{line_of('def step')}", Symbols.load(image))
    assert "counter.steps += amount" in whole
    assert "ret" in whole


@pytest.fixture
def gdb(kernel) -> Iterator[GdbController]:
    """gdb's machine interface, through `mac debug`."""
    command = kernel.command("debug", "kernel", "--gdb=--interpreter=mi3")
    launcher = ["env", f"MACADAMIA_CACHE={kernel.cache}", *command]
    controller = GdbController(command=launcher)
    collect(controller, "-gdb-version", 30)
    yield controller
    controller.exit()


def collect(gdb: GdbController, command: str, seconds: float = 20) -> list[dict]:
    """All that gdb says until it has answered `command` and, when that lets the guest run, until it stops."""
    found: list[dict] = []
    answers = gdb.write(command, timeout_sec=seconds, raise_error_on_timeout=True)
    for _ in range(100):
        found += answers
        results = [answer["message"] for answer in found if answer["type"] == "result"]
        stopped = any(answer["message"] == "stopped" for answer in found)
        if results and (results[-1] != "running" or stopped):
            return found
        answers = gdb.get_gdb_response(timeout_sec=seconds, raise_error_on_timeout=True)
    raise AssertionError(found)


def frame(answers: list[dict]) -> tuple[str, int]:
    """Function and line where the guest stopped."""
    (stopped,) = (answer["payload"]["frame"] for answer in answers if answer["message"] == "stopped")
    return stopped["func"], int(stopped["line"])


def console(answers: list[dict]) -> str:
    return "".join(answer["payload"] for answer in answers if answer["type"] == "console")


def test_gdb_breaks_on_a_python_line_and_steps(gdb: GdbController):
    addition = line_of("counter.steps += amount")
    collect(gdb, f"-break-insert lab_kernel.py:{addition}")
    assert frame(collect(gdb, "-exec-continue")) == ("lab_kernel.step", addition)
    assert frame(collect(gdb, "-exec-next")) == ("lab_kernel.step", addition + 1)
    assert frame(collect(gdb, "-exec-finish"))[0] == "lab_kernel.kernel_main"


def test_gdb_prints_arguments_and_struct_fields(gdb: GdbController):
    collect(gdb, f"-break-insert lab_kernel.py:{line_of('return counter.steps')}")
    collect(gdb, "-exec-continue")
    collect(gdb, "-exec-continue")
    answers = collect(gdb, "-interpreter-exec console \"print 'lab_kernel.counter'\"")
    assert "steps = 4" in console(answers)
    assert "calls = 2" in console(answers)


def test_gdb_has_the_macadamia_commands(gdb: GdbController):
    collect(gdb, f"-break-insert lab_kernel.py:{line_of('return 100 // by')}")
    collect(gdb, f"-break-insert lab_kernel.py:{line_of('return counter.steps')}")
    collect(gdb, "-exec-continue")
    assert "lab kernel runs" in console(collect(gdb, '-interpreter-exec console "klog"'))
    assert "return counter.steps" in console(collect(gdb, '-interpreter-exec console "pyline"'))
    backtrace = console(collect(gdb, '-interpreter-exec console "pbacktrace"'))
    assert "lab_kernel.step" in backtrace
    assert "lab_kernel.kernel_main" in backtrace
    assert "pbacktrace" in console(collect(gdb, '-interpreter-exec console "mac"'))


def test_no_guest_outlives_gdb(kernel, gdb: GdbController, wait_until):
    assert wait_until(lambda: len(kernel.qemus()) == 1)
    gdb.write("-gdb-exit", read_response=False)
    assert wait_until(lambda: not kernel.qemus())
