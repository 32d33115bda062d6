"""Shared by all tests: where the checkout is, how long random tests run, a report of function sizes."""

from pathlib import Path

import pytest
from hypothesis import settings

# The first is for every run, and the same in every run: a failure belongs to the change that shows it.
# `./mac test FILE --hypothesis-profile=long` looks for bugs until it is stopped.
settings.register_profile("short", max_examples=50, deadline=None, print_blob=True, derandomize=True)
settings.register_profile("long", max_examples=10_000_000, deadline=None, print_blob=True)
settings.load_profile("short")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line on the shape of the code, which STYLE's budgets are about."""
    from macadamia.lab.shape import measure, summary

    terminalreporter.write_line(summary(measure(REPOSITORY / "src" / "macadamia")))
