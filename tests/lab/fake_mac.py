"""`mac` with a stand-in for the compiler, so that the lab is tested apart from it. Run as a script.

The first argument is a folder that plays src/. A system there is a Python file whose CODE is the
machine code of a probe kernel; the stand-in packs it into an ELF file. FAILS holds the text of a
build error, SLEEPS the seconds a build takes, and COPY names a finished ELF file to use instead.
"""

import sys
import time
from pathlib import Path

from macadamia.lab import build, catalogue, cli, probe
from macadamia.lab.errors import DiagnosticsError


def compile_program(module: str, profile: str, output: Path) -> list[Path]:
    source = SOURCES / (module.replace(".", "/") + ".py")
    names = {**vars(probe), "PROFILE": profile}
    exec(compile(source.read_text(), source, "exec"), names)
    with (SOURCES / "builds").open("a") as journal:
        journal.write(f"{module} {profile}\n")
    output.write_bytes(b"half")
    time.sleep(names.get("SLEEPS", 0))
    if "FAILS" in names:
        raise DiagnosticsError(names["FAILS"])
    output.write_bytes(Path(names["COPY"]).read_bytes() if "COPY" in names else probe.kernel(names["CODE"]))
    return [source]


SOURCES = Path(sys.argv.pop(1))
find_system, all_systems = catalogue.find_system, catalogue.all_systems
catalogue.find_system = lambda name: find_system(name, SOURCES)
catalogue.all_systems = lambda sources=SOURCES: all_systems(sources)
build.SOURCES = SOURCES
build._compiler = lambda: compile_program

if __name__ == "__main__":
    sys.exit(cli.main())
