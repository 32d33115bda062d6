"""`mac bench`: runs the benchmark suites, the modules `macadamia.lab.bench_SUITE`.

A suite has one function, `run(json: Path | None) -> int`, which prints its tables, writes its rows
to `json`, and returns 0, or 1 when a figure misses its target.
"""

import importlib
from pathlib import Path

from macadamia.lab import packages
from macadamia.lab.errors import LabError, Status


def suites() -> list[str]:
    """The names of all suites."""
    return sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))


def run_benchmarks(suite: str | None, json: Path | None) -> int:
    """Run one suite, or all; the worst exit status. `json` needs a suite: each writes a file of its own."""
    known = suites()
    if suite is not None and suite not in known:
        raise LabError(f"no benchmark suite is called {suite!r}; there are: {', '.join(known) or 'none yet'}",
                      Status.USAGE)
    if json is not None and suite is None:
        raise LabError("--json FILE needs the name of a suite", Status.USAGE)
    packages.ensure("bench")
    chosen = [suite] if suite is not None else known
    return max((_run(name, json) for name in chosen), default=Status.OK)


def _run(suite: str, json: Path | None) -> int:
    return int(importlib.import_module(f"macadamia.lab.bench_{suite}").run(json))
