"""`mac test`: the test suite, on all processors."""

import subprocess
import sys
from collections.abc import Sequence

from macadamia.lab import packages


def run_tests(arguments: Sequence[str]) -> int:
    """Run pytest in the repository with `arguments`; its exit status."""
    packages.ensure("test")
    parallel = [] if _says_how_parallel(arguments) else ["-n", "auto", "--dist", "worksteal"]
    line = [sys.executable, "-P", "-m", "pytest", *parallel, *arguments]
    process = subprocess.Popen(line, cwd=packages.REPOSITORY)
    try:
        return process.wait()
    except BaseException:
        # Ctrl-C reached pytest too: let it end its workers and print what it has, then follow it.
        process.terminate()
        process.wait()
        raise


def _says_how_parallel(arguments: Sequence[str]) -> bool:
    return any(argument.startswith(("-n", "--numprocesses", "--pdb")) for argument in arguments)
