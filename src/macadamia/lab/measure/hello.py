"""What `hello` costs: seconds to build it, instructions and seconds until its user program runs."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from macadamia.lab.errors import LabError, Status
from macadamia.lab.packages import REPOSITORY

MAC = REPOSITORY / "mac"
WARM_ROUNDS = 5
BOOT_ROUNDS = 3
TIMEOUT_SECONDS = 120
_FREQUENCY = re.compile(r"time-stamp counter (\d+) kHz")
_FIRST_INSTRUCTION = re.compile(r"first instruction (\d+) time-stamp ticks")
_SYSTEM_CALL = re.compile(r"null system call and back takes (\d+) ticks")


@dataclass(frozen=True)
class Tour:
    """What the guest measured of itself, in ticks of its time-stamp counter, which has `kilohertz`."""

    kilohertz: int
    first_instruction: int  # of the user program, after the first of the kernel
    system_call: int  # in the kernel

    @property
    def boot_seconds(self) -> float:
        return self.first_instruction / (self.kilohertz * 1000)


def build_seconds(profile: str) -> tuple[float, float]:
    """Seconds of `mac build hello` with an empty cache, and the best of some when nothing has changed."""
    with tempfile.TemporaryDirectory(prefix="macadamia-") as cache:
        cold = timed_build(profile, Path(cache))
        return cold, min(timed_build(profile, Path(cache)) for _ in range(WARM_ROUNDS))


def timed_build(profile: str, cache: Path) -> float:
    start = time.perf_counter()
    mac("build", "hello", "--profile", profile, MACADAMIA_CACHE=str(cache))
    return time.perf_counter() - start


def counted_tour(profile: str) -> Tour:
    """With `--icount` a tick is an instruction."""
    return tour(mac("run", "hello", "--profile", profile, "--accel", "tcg", "--icount"))


def timed_tour(profile: str) -> Tour:
    """By the clock: the quickest boot of some."""
    tours = [tour(mac("run", "hello", "--profile", profile, "--accel", "tcg")) for _ in range(BOOT_ROUNDS)]
    return min(tours, key=lambda item: item.boot_seconds)


def tour(output: str) -> Tour:
    found = [pattern.search(output) for pattern in (_FREQUENCY, _FIRST_INSTRUCTION, _SYSTEM_CALL)]
    numbers = [int(match[1]) for match in found if match]
    if len(numbers) < len(found):
        raise LabError(f"hello did not say what it measured; it wrote:\n{output}")
    return Tour(*numbers)


def mac(*arguments: str, **environment: str) -> str:
    """The standard output of a `mac` command; `LabError` when it fails."""
    try:
        done = subprocess.run(
            [str(MAC), *arguments],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"mac {' '.join(arguments)} took over {TIMEOUT_SECONDS} s", Status.TIMED_OUT) from None
    if done.returncode != 0:
        raise LabError(f"mac {' '.join(arguments)} failed ({done.returncode}):\n{done.stderr}")
    return done.stdout
