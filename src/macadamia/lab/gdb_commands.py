"""Commands for gdb on a Macadamia kernel. Runs inside gdb's own Python; `mac debug` loads it.

    mac           list these commands
    console       what the guest program has written so far
    klog          the kernel log so far
    pyline        the Python source line at the program counter
    pbacktrace    a backtrace with Python file and line, without gdb's argument lists

After every stop, console output that is new is shown without being asked for.
"""

import os
from pathlib import Path

import gdb

_shown = {"MACADAMIA_CONSOLE": 0}


def _text(variable: str) -> str:
    path = Path(os.environ.get(variable, ""))
    return path.read_text(errors="replace") if path.is_file() else ""


class _Command(gdb.Command):
    """Base of the commands: the docstring is the help text that gdb shows."""

    def __init__(self, name: str) -> None:
        super().__init__(name, gdb.COMMAND_USER)

    def invoke(self, argument: str, from_tty: bool) -> None:
        gdb.write(self.output())

    def output(self) -> str:
        raise NotImplementedError


class Mac(_Command):
    """List the commands that Macadamia adds to gdb."""

    def output(self) -> str:
        return __doc__ or ""


class Console(_Command):
    """Show what the guest program has written to its console."""

    def output(self) -> str:
        return _text("MACADAMIA_CONSOLE")


class KernelLog(_Command):
    """Show the kernel log."""

    def output(self) -> str:
        return _text("MACADAMIA_LOG")


class PythonLine(_Command):
    """Show the Python source line at the program counter."""

    def output(self) -> str:
        return _describe(gdb.selected_frame()) + "\n"


class PythonBacktrace(_Command):
    """Show the call stack by Python function, file and line."""

    def output(self) -> str:
        frame, lines = gdb.newest_frame(), []
        while frame is not None:
            lines.append(f"#{len(lines):<3} {_describe(frame)}\n")
            try:
                frame = frame.older()
            except gdb.error as error:
                lines.append(f"     (the stack ends: {error})\n")
                break
        return "".join(lines)


def _describe(frame: gdb.Frame) -> str:
    place = frame.find_sal()
    name = frame.name() or f"{frame.pc():#x}"
    if place.symtab is None or not place.line:
        return name
    file = place.symtab.fullname()
    lines = Path(file).read_text().splitlines() if Path(file).is_file() else []
    text = lines[place.line - 1].strip() if place.line <= len(lines) else ""
    return f"{name}  {file}:{place.line}  {text}".rstrip()


def _show_new_output(_event: object) -> None:
    text = _text("MACADAMIA_CONSOLE")
    fresh = text[_shown["MACADAMIA_CONSOLE"]:]
    _shown["MACADAMIA_CONSOLE"] = len(text)
    if fresh:
        gdb.write(fresh if fresh.endswith("\n") else fresh + "\n")


for _name, _command in (("mac", Mac), ("console", Console), ("klog", KernelLog), ("pyline", PythonLine),
                        ("pbacktrace", PythonBacktrace)):
    _command(_name)
gdb.events.stop.connect(_show_new_output)
