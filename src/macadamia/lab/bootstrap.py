"""Makes the virtual environment that every `mac` command runs in. Started by `./mac`, not imported.

It runs on the machine's own Python with nothing installed, so it uses the standard library only.

The environment is built complete under .cache/ and then renamed to .venv; the copy of
pyproject.toml inside it says what it was built from. So .venv is always whole: an interrupted
set-up leaves .venv as it was, and the next start builds anew. A lock makes a second `./mac` started
meanwhile wait and then use the first one's result. The lab itself is not installed: a .pth file
names src/, relative to the environment, so the checkout can be moved.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from macadamia.lab import packages
from macadamia.lab.errors import LabError, Status
from macadamia.lab.terminal import Progress


def main(root: Path) -> int:
    """Bring `root`/.venv up to date with `root`/pyproject.toml; the exit status."""
    try:
        (root / ".cache").mkdir(exist_ok=True)
        with _locked(root / ".cache" / "setup.lock"):
            if not _up_to_date(root):
                _synchronise(root)
        return Status.OK
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except LabError as error:
        print(f"mac: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"mac: cannot set up {root / '.venv'}: {error.strerror or error}", file=sys.stderr)
        return Status.FAILED


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the system releases it when the process dies in any way."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with Progress("waiting for another mac to finish the set-up"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _up_to_date(root: Path) -> bool:
    """The same test as in `./mac`; repeated because another process may have done the work."""
    venv = root / ".venv"
    try:
        return (os.access(venv / "bin" / "python", os.X_OK)
                and (venv / "pyproject.toml").read_bytes() == (root / "pyproject.toml").read_bytes())
    except FileNotFoundError:
        return False


def _synchronise(root: Path) -> None:
    venv = root / ".venv"
    wanted = _requirements(root / "pyproject.toml")
    if os.access(venv / "bin" / "python", os.X_OK) and _requirements(venv / "pyproject.toml") == wanted:
        # Something else in pyproject.toml changed: the environment is still right.
        replacement = venv / "pyproject.toml.new"
        shutil.copyfile(root / "pyproject.toml", replacement)
        replacement.rename(venv / "pyproject.toml")
        return
    building, replaced = root / ".cache" / "venv", root / ".cache" / "venv.replaced"
    for leftover in (building, replaced):
        _remove(leftover)
    try:
        _build(root, building, wanted)
        _point_scripts_at(building, venv)
        shutil.copyfile(root / "pyproject.toml", building / "pyproject.toml")
        if os.path.lexists(venv):
            venv.rename(replaced)
        building.rename(venv)
    finally:
        for leftover in (building, replaced):
            _remove(leftover)


def _requirements(pyproject: Path) -> list[str]:
    """The run-time and test requirements that `pyproject` lists; none when it is absent or broken."""
    try:
        with pyproject.open("rb") as file:
            project = tomllib.load(file)["project"]
        return [*project["dependencies"], *project["optional-dependencies"]["test"]]
    except FileNotFoundError:
        return []
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise LabError(f"{pyproject} is broken: {error}") from None


def _build(root: Path, venv: Path, requirements: list[str]) -> None:
    """Create the environment at `venv` and install `requirements` into it."""
    packages.ensure("setup")
    log = root / ".cache" / "setup.log"
    with Progress("setting up the Python environment (once; needs the network)"):
        _run([sys.executable, "-m", "venv", str(venv)], log, "could not create a virtual environment")
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--prefer-binary",
               "--no-user", "--disable-pip-version-check", *requirements]
        _run(pip, log, "could not install the Python packages")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (venv / "lib" / version / "site-packages" / "macadamia.pth").write_text("../../../../src\n")


def _run(command: list[str], log: Path, complaint: str) -> None:
    """Run `command` with its output in `log`; `LabError` quotes what it said last."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    with log.open("wb") as output:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                env=environment).returncode
    if status != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines or [f"exit status {status}"]
        raise LabError(f"{complaint}: {errors[-1].strip()} (all of it: {log})", Status.NOT_STARTED)


def _point_scripts_at(building: Path, final: Path) -> None:
    """Correct the paths that pip and venv wrote into bin/, before `building` is renamed to `final`."""
    for script in (building / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            content = script.read_bytes()
            if content.startswith(b"#!") or script.name.lower().startswith("activate"):
                script.write_bytes(content.replace(os.fsencode(building), os.fsencode(final)))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
