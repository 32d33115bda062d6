"""`mac run`: every way a guest can end, its console, and what is left behind. Real QEMU, probe kernels."""

import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from macadamia.lab.errors import Status

HELLO = "say(COM1, 'hello\\n') + say(COM2, 'booted\\n') + end(status=7)"
ALIVE_THEN_HANGS = "say(COM1, 'alive\\n') + HANG"
WAITS_FOR_BYTES = """(
    bytes.fromhex('66baf903 b000 ee'         # COM1 interrupt enable: none
                  '66bafa03 b007 ee'         # FIFO on, cleared
                  '66baf803 b03e ee'         # '>': the sign of life
                  '66bafd03 ec a801 74fb'    # until line status says data ready
                  '66baf803 ec 88c4'         # take it
                  '66bafd03 ec a820 74fb'    # until line status says transmitter empty
                  '88e0 66baf803 ee'         # echo it
                  '3c04 75dc'                # again, until EOT
                  ) + end(status=0))"""


def test_output_is_the_guests_and_nothing_else(lab):
    lab.write("hello", HELLO)
    done = lab.mac("run", "hello")
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "", 7)


def test_every_exit_status_arrives(lab):
    for status in (0, 1, 2, 127, 128, 255):
        lab.write("ends", f"end(status={status})", age=100 - status / 10)
        assert lab.mac("run", "ends").returncode == status


def test_verbose_shows_the_kernel_log_on_standard_error(lab):
    lab.write("hello", HELLO)
    done = lab.mac("run", "-v", "hello")
    assert done.stdout == "hello\n"
    assert done.stderr == "booted\nmacadamia: exit 7\n"


def test_the_kernel_log_is_always_kept(lab):
    lab.write("hello", HELLO)
    lab.mac("run", "hello")
    (log,) = (lab.cache / "logs").iterdir()
    assert log.read_text() == "booted\nmacadamia: exit 7\n"


def test_input_reaches_the_guest_and_its_end_is_told(lab):
    lab.write("echo", WAITS_FOR_BYTES)
    text = "abc\n" * 500
    done = lab.mac("run", "echo", "--timeout", "30", text=text)
    assert (done.stdout, done.returncode) == (">" + text + "\x04", 0), done.stderr


def test_a_guest_that_hangs_is_ended_by_the_timeout(lab):
    lab.write("hangs", ALIVE_THEN_HANGS)
    done = lab.mac("run", "hangs", "--timeout", "1")
    assert (done.stdout, done.returncode) == ("alive\n", Status.TIMED_OUT)
    assert done.stderr.startswith("mac: timed out after 1 s\n")
    assert "the processor was at\n    0x000000000010" in done.stderr
    assert not lab.qemus()


def test_a_silent_boot_is_explained(lab):
    lab.write("mute", "HANG")
    done = lab.mac("run", "mute")
    assert done.returncode == Status.TIMED_OUT
    assert done.stderr.startswith("mac: the guest wrote nothing for 10 s (QEMU is running)\n")
    assert "the processor was at\n    0x0000000000101000" in done.stderr


def test_a_triple_fault_is_explained(lab):
    lab.write("faults", "say(COM2, 'last words\\n') + UNDEFINED")
    done = lab.mac("run", "faults")
    assert done.returncode == Status.CRASHED
    assert done.stderr.startswith("mac: the guest reset the machine: most likely a triple fault")
    assert "    last words\n" in done.stderr
    assert "the processor was at" in done.stderr


def test_an_end_without_status_is_a_crash(lab):
    lab.write("rude", "say(COM1, 'x') + write_port(0xF4, 0x31)")
    done = lab.mac("run", "rude")
    assert done.returncode == Status.CRASHED
    assert "ended without its line 'macadamia: exit STATUS'" in done.stderr


def test_a_panic_is_reported(lab):
    panic = r"""say(COM2, 'starting\npanic: out of frames\npanic: at kernel.py:12\n'
        'panic: register rip 0x101000\npanic: register rax 0x2a\npanic: return 0x101010\n'
        ) + write_port(0xF4, 0x33)"""
    lab.write("panics", panic)
    done = lab.mac("run", "panics")
    assert done.returncode == Status.CRASHED
    assert done.stderr.startswith("mac: the kernel panicked\nkernel panic: out of frames\n    at kernel.py")
    assert "   rax 0x000000000000002a" in done.stderr
    assert "    0x0000000000101010  (unknown)\n" in done.stderr
    assert "    starting\n" in done.stderr


@pytest.mark.parametrize(("number", "status"),
                         [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_the_guest(lab, number: int, status: int):
    lab.write("hangs", ALIVE_THEN_HANGS)
    running = lab.start("run", "hangs")
    assert running.stdout.readline() == "alive\n"
    assert lab.qemus()
    running.send_signal(number)
    output, errors = running.communicate(timeout=20)
    assert (output, errors, running.returncode) == ("", "", status)
    assert not lab.qemus()


def test_ctrl_c_during_a_build_leaves_a_sound_cache(lab, wait_until: Callable[..., bool]):
    lab.write("slow", "end(status=0)", more="SLEEPS = 60")
    running = lab.start("build", "slow")
    assert wait_until(lambda: lab.builds() == 1)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=20)
    assert running.returncode == Status.INTERRUPTED
    assert "Traceback" not in errors
    assert lab.objects() == []


def test_killing_the_runner_kills_the_guest(lab, wait_until: Callable[..., bool]):
    lab.write("hangs", ALIVE_THEN_HANGS)
    running = lab.start("run", "hangs")
    assert running.stdout.readline() == "alive\n"
    running.kill()
    running.communicate(timeout=20)
    assert wait_until(lambda: not lab.qemus())


def test_a_reader_that_leaves_ends_the_guest_quietly(lab):
    lab.write("chatters", "say(COM1, 'x' * 100) + b'\\xe9' + (-705).to_bytes(4, 'little', signed=True)")
    running = lab.start("run", "chatters", "--timeout", "20")
    running.stdout.close()
    assert running.stderr.read() == ""
    assert running.wait(20) == Status.BROKEN_PIPE
    assert not lab.qemus()


def test_the_terminal_is_restored(lab, wait_until: Callable[..., bool]):
    lab.write("hangs", ALIVE_THEN_HANGS)
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    # A session leader that takes the pseudo-terminal as its own, as a shell's foreground job has it.
    running = subprocess.Popen(["setsid", "--ctty", "--wait", *lab.command("run", "hangs")], stdin=slave,
                               stdout=slave, stderr=slave, env=lab.environment())
    seen = b""
    while b"alive" not in seen:
        seen += os.read(master, 100)
    assert not termios.tcgetattr(slave)[3] & termios.ECHO
    os.write(master, b"\x03")  # Ctrl-C
    assert running.wait(20) in (Status.INTERRUPTED, -signal.SIGINT)
    assert termios.tcgetattr(slave) == before
    assert wait_until(lambda: not lab.qemus())


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["run", "helo"], "mac: no system is called 'helo'; did you mean hello?"),
    (["run", "../etc/passwd"], "mac: no system is called '../etc/passwd'; mac systems lists them"),
    (["run", "hello", "--memory", "lots"], "mac: --memory lots: give mebibytes or a size such as 512M or 2G"),
    (["run", "hello", "--memory", "0"], "mac: --memory 0: give mebibytes or a size such as 512M or 2G"),
    (["run", "hello", "--memory", "4M"],
     "mac: too little memory: this kernel with its modules needs at least --memory 16M"),
    (["run", "hello", "--cpus", "0"], "mac: --cpus 0: give a number from 1 to 64"),
    (["run", "hello", "--timeout", "0"], "mac: --timeout 0: give a positive number of seconds"),
    (["run", "hello", "--timeout", "nan"], "mac: --timeout nan: give a positive number of seconds"),
    (["run", "hello", "--accel", "warp"], "mac: --accel warp: choose from auto, kvm, tcg"),
    (["run", "hello", "--profile", "fast"], "mac: --profile fast: choose from checked, release"),
    (["run", "hello", "--icount", "--accel", "kvm"],
     "mac: --icount counts instructions in QEMU's own processor (TCG); drop --accel kvm"),
    (["run", "hello", "--module", "/no/such/file"],
     "mac: cannot read boot module /no/such/file: No such file or directory"),
    (["run", "hello", "--module", "/"], "mac: cannot read boot module /: Is a directory"),
    (["build", "hello", "-o", "/no/such/folder/x"],
     "mac: cannot write /no/such/folder/x: No such file or directory"),
    (["bench", "nothing"], None),
])
def test_bad_command_lines_are_one_clear_line(lab, arguments: list[str], complaint: str | None):
    lab.write("hello", HELLO)
    done = lab.mac(*arguments)
    assert done.returncode in (Status.USAGE, Status.FAILED)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert complaint is None or done.stderr == complaint + "\n"


@pytest.mark.parametrize("arguments", [["run"], ["frobnicate"], ["run", "hello", "--frob"],
                                       ["build", "a", "b"], ["run", "hello", "--cpus", "many"]])
def test_usage_errors_are_one_line(lab, arguments: list[str]):
    done = lab.mac(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (Status.USAGE, "", 1)
    assert done.stderr.startswith("mac: ")


def fake_qemu(folder: Path, script: str) -> str:
    """A PATH on which QEMU is `script` (sh)."""
    folder.mkdir()
    program = folder / "qemu-system-x86_64"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(("script", "complaint"), [
    ("echo QEMU emulator version 5.2.0; exit 1", "mac: QEMU 5.2 is too old: 7.2 or newer is needed"),
    ("exit 3", "mac: "),
    ("kill -9 $$", "mac: "),
    ("echo 'QEMU emulator version 8.0.0'; echo 'out of luck' >&2; exit 1",
     "mac: QEMU did not start the machine: out of luck"),
])
def test_a_wrong_qemu_is_one_clear_line(lab, tmp_path: Path, script: str, complaint: str):
    lab.write("hello", HELLO)
    done = lab.mac("run", "hello", PATH=fake_qemu(tmp_path / "bin", script))
    assert done.returncode in (Status.NOT_STARTED, Status.CRASHED)
    assert done.stderr.startswith(complaint)
    assert "Traceback" not in done.stderr


def test_memory_the_host_does_not_have_is_one_clear_line(lab):
    lab.write("hello", HELLO)
    done = lab.mac("run", "hello", "--memory", "900000G")
    assert done.returncode == Status.NOT_STARTED
    assert done.stderr.startswith("mac: QEMU did not start the machine: ")
    assert done.stderr.count("\n") == 1


def test_icount_runs_are_repeatable(lab):
    # Prints eight bytes of the time-stamp counter, which then counts instructions.
    tsc = "bytes.fromhex('0f31 66baf803 ee') * 8 + end(status=0)"
    lab.write("ticks", tsc)
    first, second = (subprocess.run(lab.command("run", "ticks", "--icount"), env=lab.environment(),
                                    capture_output=True, timeout=60) for _ in range(2))
    assert first.returncode == 0
    assert len(first.stdout) == 8
    assert first.stdout == second.stdout
