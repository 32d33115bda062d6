"""System packages: which are missing for a command, and how to get them.

The list is the table `[tool.macadamia.system-packages]` in pyproject.toml, the only place that
names them. Each entry says how to see that the package is there and which commands need it, so that
nothing is installed before it is used.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TypedDict, cast

from macadamia.lab.errors import LabError, Status

REPOSITORY = Path(__file__).resolve().parents[3]

_Entry = TypedDict("_Entry", {"program": str, "path": str, "module": str, "needed-by": list[str]},
                   total=False)


def system_packages() -> dict[str, _Entry]:
    """The table of pyproject.toml: Debian package name to how it is found and who needs it."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        return cast(dict[str, _Entry], tomllib.load(file)["tool"]["macadamia"]["system-packages"])


def missing(command: str) -> list[str]:
    """The Debian packages that `mac COMMAND` needs and this machine lacks."""
    return [name for name, entry in system_packages().items()
            if command in entry["needed-by"] and not _present(entry)]


def ensure(command: str) -> None:
    """Install what `mac COMMAND` lacks, or raise `LabError` saying what to type."""
    lacking = missing(command)
    if lacking:
        install(lacking)
        still = missing(command)
        if still:
            raise LabError(f"installed {' '.join(still)}, but what they bring is still not found",
                          Status.NOT_STARTED)


def install(packages: list[str]) -> None:
    """Install Debian packages without asking; `LabError` with the command to type when that cannot be."""
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise LabError(f"missing: {names} (Debian's names); install them with your package manager",
                      Status.NOT_STARTED)
    by_hand = f"sudo apt-get install --no-install-recommends {names}"
    prefix = _become_root()
    if prefix is None:
        raise LabError(f"missing system packages; type:  {by_hand}", Status.NOT_STARTED)
    print(f"mac: installing system packages: {names}", file=sys.stderr)
    # The first attempt fails on a machine whose package lists are empty or old.
    if _apt_get(prefix, "install", *packages) != 0:
        _apt_get(prefix, "update")
        if _apt_get(prefix, "install", *packages) != 0:
            raise LabError(f"could not install {names}; type:  {by_hand}", Status.NOT_STARTED)


def _present(entry: _Entry) -> bool:
    if "program" in entry:
        return shutil.which(entry["program"]) is not None
    if "module" in entry:
        importlib.invalidate_caches()  # it may have been installed since this process started
        return importlib.util.find_spec(entry["module"]) is not None
    return Path(entry["path"]).exists()


def _become_root() -> list[str] | None:
    """The prefix that runs a command as root without a question, or None."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return None


def _apt_get(prefix: list[str], verb: str, *packages: str) -> int:
    """Run apt-get, waiting for another apt-get to end; its complaints go to standard error."""
    options = ["-qq", "-y", "-o", "DPkg::Lock::Timeout=300"]
    if verb == "install":
        options.append("--no-install-recommends")
    line = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *options, verb, *packages]
    return subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode
