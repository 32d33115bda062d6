"""The command line `mac`. Each command imports what it needs when it runs, so that all start fast."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from macadamia.lab.errors import DiagnosticsError, LabError, Status

# typer brings its own copy of click since 0.17, so the name of the common base is found this way.
_CommandLineError: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(add_completion=False, rich_markup_mode=None,
                  pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
                  help="Macadamia: microkernels written in Python. Builds, runs, tests and measures them.")

SystemName = Annotated[str, typer.Argument(metavar="SYSTEM", help="A name that `mac systems` lists.")]
Profile = Annotated[str, typer.Option(help="checked (bounds, casts and asserts stop) or release.")]
Accelerator = Annotated[str, typer.Option(help="auto, kvm or tcg.")]
Memory = Annotated[str, typer.Option(help="Memory of the guest, such as 512M or 2G.")]
Cpus = Annotated[int, typer.Option(help="Processors of the guest.")]
Icount = Annotated[bool, typer.Option("--icount", help="Time counts instructions: repeatable; no input.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the kernel log on standard error.")]
MODULE_HELP = "A boot module, PATH or NAME=PATH; may be repeated."
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Copy the ELF file here.")]
_PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command()
def doctor() -> int:
    """Check that everything is there and works, and say how to mend what is not."""
    from macadamia.lab.doctor import examine

    return examine()


@app.command()
def systems() -> None:
    """List the systems that can be built and run."""
    from macadamia.lab.catalogue import all_systems

    found = all_systems()
    width = max((len(system.name) for system in found), default=0)
    for system in found:
        print(f"{system.name:<{width}}  {system.summary}")


@app.command()
def build(system: SystemName, profile: Profile = "checked", output: Output = None) -> None:
    """Compile and link a system; prints where its ELF file is."""
    from macadamia.lab.build import build_system
    from macadamia.lab.cache import copy_out
    from macadamia.lab.catalogue import find_system

    built = build_system(find_system(system), _profile(profile))
    if output is not None:
        copy_out(built, output)
    print(output or built)


@app.command()
def run(system: SystemName,
        command: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND ARG...]")] = None,
        profile: Profile = "checked", accel: Accelerator = "auto", memory: Memory = "256M", cpus: Cpus = 1,
        icount: Icount = False, verbose: Verbose = False,
        timeout: Annotated[float | None, typer.Option(help="End a guest that runs longer (seconds).")] = None,
        module: Annotated[list[str] | None, typer.Option(help=MODULE_HELP)] = None,
        ) -> int:
    """Build and boot a system; its output is the guest program's, its exit status COMMAND's."""
    from macadamia.lab.initrd import Module
    from macadamia.lab.run import Options, make_machine, run_system

    if timeout is not None and not timeout > 0:
        raise LabError(f"--timeout {timeout:g}: give a positive number of seconds", Status.USAGE)
    machine = make_machine(accel=_choice("--accel", accel, ("auto", "kvm", "tcg")), memory=memory, cpus=cpus,
                           icount=icount)
    options = Options(machine, _profile(profile), timeout, verbose,
                      tuple(Module.parse(text) for text in module or ()))
    return run_system(system, command or [], options)


@app.command()
def explain(where: Annotated[str, typer.Argument(metavar="FILE:LINE|ADDRESS", help="What to explain.")],
            system: Annotated[str, typer.Argument(metavar="[SYSTEM]", help="In which system.")] = "hello",
            profile: Profile = "release") -> None:
    """Show source and machine code of a line or an address side by side, with costs."""
    from macadamia.lab import explain as explanation
    from macadamia.lab.build import build_system
    from macadamia.lab.catalogue import find_system
    from macadamia.lab.symbols import Symbols

    built = build_system(find_system(system), _profile(profile))
    print(explanation.explain(where, Symbols.load(built)))


@app.command()
def debug(system: SystemName,
          command: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND ARG...]")] = None,
          profile: Profile = "checked", memory: Memory = "256M", cpus: Cpus = 1,
          module: Annotated[list[str] | None, typer.Option(help=MODULE_HELP)] = None,
          gdb: Annotated[list[str] | None, typer.Option(help="Another argument for gdb.")] = None) -> int:
    """Start a system stopped at its first instruction, with gdb on its Python source."""
    from macadamia.lab.debug import debug_system
    from macadamia.lab.initrd import Module
    from macadamia.lab.run import Options, make_machine

    machine = make_machine(accel="tcg", memory=memory, cpus=cpus, icount=False)
    options = Options(machine, _profile(profile), modules=tuple(Module.parse(text) for text in module or ()))
    return debug_system(system, command or [], options, gdb or [])


@app.command(context_settings=_PASS_THROUGH)
def test(context: typer.Context) -> int:
    """Run the test suite; arguments go to pytest."""
    from macadamia.lab.test import run_tests

    return run_tests(context.args)


@app.command()
def bench(suite: Annotated[str | None, typer.Argument(metavar="[SUITE]", help="One suite; else all.")] = None,
          json: Annotated[Path | None, typer.Option(help="Also write the rows to this file.")] = None) -> int:
    """Measure, print tables, and write rows as JSON."""
    from macadamia.lab.bench import run_benchmarks

    return run_benchmarks(suite, json)


def main() -> int:
    """Run the command line; the exit status. Only a defect of the lab itself shows a traceback."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    try:
        result = app(sys.argv[1:] or ["--help"], prog_name="mac", standalone_mode=False)
        sys.stdout.flush()
        return int(result or 0)
    except _CommandLineError as error:
        return _complain(f"mac: {error.format_message()}", Status.USAGE)
    except LabError as error:
        lead = "" if isinstance(error, DiagnosticsError) else "mac: "
        return _complain(f"{lead}{error}", error.status)
    except (KeyboardInterrupt, typer.Abort):
        return Status.INTERRUPTED
    except BrokenPipeError:
        # Python would complain once more when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.BROKEN_PIPE
    except OSError as error:
        # What the commands did not foresee of the world: no space in /tmp, no descriptors left.
        return _complain(f"mac: {error}", Status.FAILED)


def _stop(number: int, _frame: FrameType | None) -> None:
    """SIGTERM and SIGHUP unwind like Ctrl-C, so that the guest is ended and the terminal restored."""
    raise SystemExit(128 + number)


def _complain(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def _profile(name: str) -> str:
    return _choice("--profile", name, ("checked", "release"))


def _choice(option: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise LabError(f"{option} {value}: choose from {', '.join(allowed)}", Status.USAGE)
    return value
