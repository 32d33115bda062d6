"""From an object file to a program, by lld."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

LINKER = "ld.lld"
_TIMEOUT_SECONDS = 120
_UNDEFINED = re.compile(r"undefined symbol: (.+)")
_FLAGS = (
    "-m", "elf_x86_64",
    "-static",
    "-nostdlib",
    "--gc-sections",
    "--no-rosegment",
    "-z", "noexecstack",
    "-z", "max-page-size=4096",
)  # fmt: skip


class LinkError(Exception):
    """The program cannot be linked; `str()` of it is one line."""


def link(image: bytes, output: Path, *, entry: str, script: str | None = None) -> None:
    """Link one object to the program `output`, which is complete when it appears.

    `entry` is the symbol where the program starts, `script` the text of a linker script.
    Raises LinkError when lld is missing or refuses.
    """
    with tempfile.TemporaryDirectory(prefix=".link-", dir=output.parent) as name:
        folder = Path(name)
        (folder / "program.o").write_bytes(image)
        arguments = [*_FLAGS, "-e", entry, "-o", "program.elf", "program.o"]
        if script is not None:
            (folder / "layout.ld").write_text(script)
            arguments += ["-T", "layout.ld"]
        _run(arguments, folder)
        os.replace(folder / "program.elf", output)


def _run(arguments: list[str], folder: Path) -> None:
    program = shutil.which(LINKER)
    if program is None:
        raise LinkError(f"{LINKER} is not installed: install Debian's package lld")
    try:
        done = subprocess.run(
            [program, *arguments], cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise LinkError(f"{LINKER} did not end within {_TIMEOUT_SECONDS} s") from None
    if done.returncode:
        raise LinkError(_explain(done.stderr))


def _explain(errors: str) -> str:
    """One line for what lld said."""
    undefined = list(dict.fromkeys(_UNDEFINED.findall(errors)))
    if undefined:
        names = ", ".join(undefined)
        return f"undefined symbols: {names}: assembly names them, and nothing defines or exports them"
    lines = [line.removeprefix(f"{LINKER}: error: ") for line in errors.splitlines() if "error:" in line]
    return f"{LINKER}: {lines[0] if lines else errors.strip() or 'failed without a message'}"
