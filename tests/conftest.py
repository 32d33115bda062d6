"""Shared by all tests: the function-size report at the end of a run, and where the checkout is."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line on the shape of the code, which STYLE's budgets are about."""
    from macadamia.lab.shape import measure, summary

    terminalreporter.write_line(summary(measure(REPOSITORY / "src" / "macadamia")))
