"""`mac bench lang`: the figures of the language and of the machine it boots on.

- The code: each algorithm of macadamia.examples against the same in C by `gcc -O2` (measure/against_c.py).
- The compiler: source lines per second (measure/throughput.py), seconds to build hello.
- The machine: instructions and time from the kernel's first instruction to the user program's, and in a
  null system call (measure/hello.py).

Every row that has a figure to reach carries it; the exit status is 1 when one is missed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.console import Console

from macadamia.lab import qemu
from macadamia.lab.errors import Status
from macadamia.lab.measure import against_c, hello, throughput
from macadamia.lab.measure.rows import (
    Row,
    TextTable,
    find,
    geometric_mean,
    machine,
    number,
    repeated,
    version_of,
    write_json,
)
from macadamia.lab.terminal import Progress

SUITE = "lang"
COMMAND = "./mac bench lang"
PROFILES = ("release", "checked")
GEOMETRIC_MEAN = "geometric mean"

# The figures to reach (issue 2). Ratios are of instructions to those of gcc -O2, in the release profile.
WORST_RATIO = 1.25
MEAN_RATIO = 1.05
COLD_BUILD_SECONDS = 3.0
WARM_BUILD_SECONDS = 0.3
LINES_PER_SECOND = 3_000
BOOT_INSTRUCTIONS = 5_000_000
BOOT_SECONDS = 0.5
SYSTEM_CALL_INSTRUCTIONS = 40


def run(json: Path | None) -> int:
    """Measure everything, print the tables, write the rows to `json`."""
    rows = measure()
    console = Console()
    for table in tables(rows):
        table.print(console)
    for name, value in repeated(rows):
        console.print(f"{name}: {value}", style="dim", highlight=False)
    if json is not None:
        write_json(rows, json)
    missed = [row for row in rows if not row.reached]
    for row in missed:
        console.print(
            f"missed: {row.case} ({row.system}): {number(row.value)} {row.metric}", style="bold red"
        )
    return Status.FAILED if missed else Status.OK


def measure() -> list[Row]:
    with Progress("measuring kernel Python against C"):
        rows = code_rows()
    with Progress("measuring the compiler"):
        rows += compiler_rows()
    with Progress("building and booting hello"):
        rows += hello_rows()
    return rows


# Rows


def code_rows() -> list[Row]:
    """Instructions and nanoseconds of both sides, and their ratios."""
    repeat = {"command": COMMAND, "gcc": version_of("gcc"), "gcc flags": " ".join(against_c.C_FLAGS)}
    repeat |= {"qemu": version_of(qemu.program())} | machine()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="macadamia-") as name:
        for profile in PROFILES:
            for metric, measured in (
                ("instructions", against_c.instructions(Path(name), profile)),
                ("ns", against_c.nanoseconds(Path(name), profile)),
            ):
                rows += side_rows(profile, metric, measured, repeat)
    return rows


def side_rows(
    profile: str, metric: str, measured: Sequence[against_c.Measured], repeat: dict[str, str]
) -> list[Row]:
    """The rows of one run: the C side once, as it is the same for both profiles."""
    system = f"macadamia {profile}"
    limited = (profile, metric) == ("release", "instructions")
    rows = []
    ratios = []
    for c, python in zip(measured[::2], measured[1::2], strict=True):
        ratios.append(python.cost / c.cost)
        limit = WORST_RATIO if limited else None
        if profile == PROFILES[0]:
            rows.append(Row(SUITE, c.case, c.system, metric, c.cost, repeat=repeat))
        rows.append(Row(SUITE, c.case, system, metric, python.cost, repeat=repeat))
        rows.append(Row(SUITE, c.case, system, f"ratio of {metric}", ratios[-1], limit=limit, repeat=repeat))
    mean = geometric_mean(ratios)
    limit = MEAN_RATIO if limited else None
    rows.append(Row(SUITE, GEOMETRIC_MEAN, system, f"ratio of {metric}", mean, limit=limit, repeat=repeat))
    return rows


def compiler_rows() -> list[Row]:
    result = throughput.measure()
    repeat = {"command": COMMAND} | machine()
    stages = {
        "checker": result.check,
        "emitter": result.emit,
        "checker and emitter": result.check + result.emit,
        "LLVM": result.optimise,
    }
    limits = {"checker and emitter": LINES_PER_SECOND}
    rows = []
    for stage, seconds in stages.items():
        value, limit = result.lines / seconds, limits.get(stage)
        rows.append(Row(SUITE, stage, "macadamia", "lines/s", value, "higher", limit, repeat))
    return rows


def hello_rows() -> list[Row]:
    repeat = {"command": COMMAND, "qemu": version_of(qemu.program())} | machine()

    def row(case: str, metric: str, value: float, limit: float) -> Row:
        return Row(SUITE, case, "macadamia release", metric, value, limit=limit, repeat=repeat)

    cold, warm = hello.build_seconds("release")
    counted, timed = hello.counted_tour("release"), hello.timed_tour("release")
    return [
        row("cold build of hello", "s", cold, COLD_BUILD_SECONDS),
        row("warm build of hello", "s", warm, WARM_BUILD_SECONDS),
        row("boot to user mode", "instructions", counted.first_instruction, BOOT_INSTRUCTIONS),
        row("boot to user mode", "s", timed.boot_seconds, BOOT_SECONDS),
        row("null system call", "instructions", counted.system_call, SYSTEM_CALL_INSTRUCTIONS),
    ]


# Tables


def tables(rows: Sequence[Row]) -> list[TextTable]:
    """What people read. `docs/benchmarks.md` holds the same (measure/document.py)."""
    return [
        code_table(rows, "instructions", "Instructions: kernel Python against gcc -O2"),
        code_table(rows, "ns", "Time in ns: kernel Python against gcc -O2"),
        figures_table(rows),
    ]


def code_table(rows: Sequence[Row], metric: str, title: str) -> TextTable:
    heads = ("algorithm", "gcc", *(head for profile in PROFILES for head in (profile, "ratio")))
    cases = dict.fromkeys(row.case for row in rows if row.metric == f"ratio of {metric}")
    return TextTable(title, heads, tuple(code_line(rows, metric, case) for case in cases))


def code_line(rows: Sequence[Row], metric: str, case: str) -> tuple[str, ...]:
    cells = [readable(case), shown(find(rows, case, "gcc", metric), number)]
    for profile in PROFILES:
        cells.append(shown(find(rows, case, f"macadamia {profile}", metric), number))
        cells.append(shown(find(rows, case, f"macadamia {profile}", f"ratio of {metric}"), ratio))
    return tuple(cells)


def figures_table(rows: Iterable[Row]) -> TextTable:
    """Everything that has a figure to reach, or belongs beside one. Of the cases' ratios, the worst."""
    worst = max((row for row in rows if row.limit == WORST_RATIO), key=lambda row: row.value)
    others = [row for row in rows if row.limit not in (None, WORST_RATIO) or row.metric == "lines/s"]
    lines = []
    for row in [worst, *others]:
        case = f"worst ratio ({readable(row.case)})" if row is worst else row.case
        to_reach = "" if row.limit is None else f"{'≤' if row.better == 'lower' else '≥'} {number(row.limit)}"
        lines.append((case, row.metric, number(row.value), to_reach))
    return TextTable("Figures to reach", ("figure", "unit", "measured", "to reach"), tuple(lines))


def readable(case: str) -> str:
    return case.replace("_", " ")


def shown(row: Row | None, form: Callable[[float], str]) -> str:
    return "" if row is None else form(row.value)


def ratio(value: float) -> str:
    return f"{value:.2f}"
