"""Writes the tables of a benchmark into docs/benchmarks.md, from the JSON file that the benchmark wrote.

    ./mac bench lang --json rows.json && .venv/bin/python -m macadamia.lab.measure.document rows.json

The text around the tables is written by hand; what stands between the markers is replaced.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from macadamia.lab.errors import LabError
from macadamia.lab.measure.rows import Row, read_json, repeated
from macadamia.lab.packages import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "benchmarks.md"


def markers(suite: str) -> tuple[str, str]:
    return f"<!-- mac bench {suite}: begin -->\n", f"<!-- mac bench {suite}: end -->\n"


def generated(rows: list[Row]) -> str:
    """The tables of the suite that the rows belong to, and what is needed to repeat them."""
    tables = importlib.import_module(f"macadamia.lab.bench_{rows[0].suite}").tables(rows)
    conditions = [f"- {name}: {value}" for name, value in repeated(rows)]
    return "\n".join([*(table.markdown() for table in tables), "Measured with:", "", *conditions, ""])


def replaced(document: str, suite: str, text: str) -> str:
    """`document` with `text` between the markers of the suite."""
    begin, end = markers(suite)
    before, found_begin, rest = document.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise LabError(f"{DOCUMENT} has no place for {suite}: no lines {begin.strip()} and {end.strip()}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def main() -> None:
    rows = read_json(Path(sys.argv[1]))
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), rows[0].suite, generated(rows)))


if __name__ == "__main__":
    main()
