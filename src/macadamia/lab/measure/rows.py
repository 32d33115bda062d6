"""Results of a benchmark: rows for scripts, tables for people.

The JSON that `mac bench SUITE --json FILE` writes is a list of objects, one for each row:

    suite, case   what was measured: `lang`, `sort`
    system        who did it: `macadamia`, `gcc`, ...
    metric        `instructions`, `ns`, `s`, `lines/s`, `ratio`
    value         a number in that unit
    better        `lower` or `higher`
    limit         the figure to reach, or null
    repeat        what is needed to repeat it: the command, the machine, the versions of the tools
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.table import Table

from macadamia.lab.errors import LabError
from macadamia.lab.packages import REPOSITORY


@dataclass(frozen=True)
class Row:
    """One measured value. `limit` is the figure to reach, if there is one."""

    suite: str
    case: str
    system: str
    metric: str
    value: float
    better: str = "lower"
    limit: float | None = None
    repeat: dict[str, str] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether the limit holds, or there is none."""
        if self.limit is None:
            return True
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit


def geometric_mean(values: Sequence[float]) -> float:
    """The mean that treats 2 and 1/2 alike: the one for ratios."""
    return math.exp(sum(map(math.log, values)) / len(values))


def write_json(rows: Iterable[Row], path: Path) -> None:
    try:
        path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    except OSError as error:
        raise LabError(f"cannot write {path}: {error.strerror}") from None


def read_json(path: Path) -> list[Row]:
    return [Row(**row) for row in json.loads(path.read_text())]


def find(rows: Iterable[Row], case: str, system: str, metric: str) -> Row | None:
    wanted = (case, system, metric)
    return next((row for row in rows if (row.case, row.system, row.metric) == wanted), None)


@dataclass(frozen=True)
class TextTable:
    """A table for a terminal and for Markdown. The first column is text, the others are numbers."""

    title: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    def print(self, console: Console) -> None:
        table = Table(title=self.title, title_justify="left")
        for number, head in enumerate(self.heads):
            table.add_column(head, justify="right" if number else "left")
        for line in self.lines:
            table.add_row(*line)
        console.print(table)

    def markdown(self) -> str:
        rule = ["---"] + ["---:"] * (len(self.heads) - 1)
        rows = [self.heads, rule, *self.lines]
        return "\n".join([f"### {self.title}", "", *("| " + " | ".join(row) + " |" for row in rows), ""])


def number(value: float) -> str:
    """For people: grouped digits, and three significant places where they matter."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def repeated(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Everything needed to repeat these rows, each thing once."""
    return sorted({item for row in rows for item in row.repeat.items()})


@cache
def machine() -> dict[str, str]:
    """The machine and the versions that every row depends on."""
    import llvmlite.binding as llvm

    return _commit() | {
        "cpu": _processor(),
        "host": f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
    }


@cache
def version_of(command: str) -> str:
    """The first line of `command --version`."""
    output = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    return output.partition("\n")[0]


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or "unknown"


def _commit() -> dict[str, str]:
    """The commit that was measured; nothing when the sources came without git."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    try:
        return {"commit": subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}
    except (OSError, subprocess.CalledProcessError):
        return {}
