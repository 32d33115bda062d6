"""A system's manifest: which functions make up a program and how it is laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Program:
    """A program: a module that defines one binds it to the name PROGRAM.

    `entry` is where it starts. `roots` are functions that are not called from there but must be in the image:
    entry points that assembly or hardware knows. `modules` names modules of which only the global assembly is
    needed. `implementations` bind interfaces. `linker_script` is its text (None: the linker's own layout).
    """

    name: str
    entry: Callable[..., Any]
    implementations: Mapping[Any, Any] | Sequence[Any] = ()
    target: Literal["bare", "user"] = "bare"
    linker_script: str | None = None
    roots: Sequence[Callable[..., Any]] = ()
    modules: Sequence[str] = ()
    cpu: str = "x86-64"  # LLVM's name of the oldest processor it must run on
