"""Rows, tables and figures to reach of the language benchmark, without measuring anything."""

from pathlib import Path

import pytest

from macadamia.lab.bench_lang import side_rows, tables
from macadamia.lab.errors import LabError
from macadamia.lab.measure import against_c, document, hello
from macadamia.lab.measure.rows import Row, geometric_mean, read_json, write_json

OUTPUT = "sort gcc 100 7\nsort macadamia 150 7\ncopy gcc 80 9\ncopy macadamia 40 9\n"


def rows() -> list[Row]:
    measured = against_c.parsed(OUTPUT)
    repeat = {"command": "test"}
    return [
        *side_rows("release", "instructions", measured, repeat),
        *side_rows("checked", "instructions", measured, repeat),
    ]


def test_ratios_carry_the_figure_to_reach() -> None:
    missed = {row.case for row in rows() if not row.reached}
    assert missed == {"sort"}  # 1.5 is over 1.25; the geometric mean of 1.5 and 0.5 is not over 1.05
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1)


def test_the_figure_of_what_should_be_high() -> None:
    assert Row("lang", "emitter", "macadamia", "lines/s", 4000, "higher", 3000).reached
    assert not Row("lang", "emitter", "macadamia", "lines/s", 2000, "higher", 3000).reached


def test_sides_must_agree_on_the_result() -> None:
    with pytest.raises(AssertionError, match="sort: macadamia computed 8"):
        against_c.parsed("sort gcc 100 7\nsort macadamia 150 8\n")


def test_rows_survive_the_file(tmp_path: Path) -> None:
    write_json(rows(), tmp_path / "rows.json")
    assert read_json(tmp_path / "rows.json") == rows()
    with pytest.raises(LabError, match="cannot write"):
        write_json(rows(), tmp_path / "missing" / "rows.json")


def test_document_holds_the_tables() -> None:
    begin, end = document.markers("lang")
    text = document.replaced(f"before\n{begin}old\n{end}after\n", "lang", document.generated(rows()))
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| sort | 100 | 150 | 1.50 | 150 | 1.50 |" in text
    assert "old" not in text
    with pytest.raises(LabError, match="no place for lang"):
        document.replaced("nothing here", "lang", "")


def test_tables_are_those_of_the_rows() -> None:
    assert [table.title for table in tables(rows())][-1] == "Figures to reach"


def test_hello_that_says_nothing_is_one_clear_error() -> None:
    with pytest.raises(LabError, match="hello did not say what it measured"):
        hello.tour("kernel: booted")
