"""The build cache: finished ELF files by the content of everything that went into them.

A build's dependencies are known only after it: importing the program module says which sources were
read. So a look-up has two steps. The *manifest* of a program, profile and checkout lists the sources
of the last build; the *key* is a hash over the current content of exactly these, the compiler and
the tools; the *object* of that key is the ELF file. Equal sources import equal sources, so a list
that is out of date gives a key that was never stored, and thus a build. A hit imports neither the
compiler nor the program: it must take well under 0.3 s.

    manifests/NAME.json    sources: path, modification time, size, SHA-256
    objects/KEY.elf        written aside and renamed, so a file that exists is complete
    locks/NAME.lock        flock held while building; dies with its process
    logs/                  kernel logs of `mac run`

The time and size of a source spare reading it, as in make; a change that keeps both is not seen.
"""

import errno
import hashlib
import json
import os
import shutil
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from macadamia.lab.catalogue import SOURCES, System
from macadamia.lab.errors import LabError
from macadamia.lab.terminal import Progress

DEFAULT_LIMIT_BYTES = 2 << 30
_LEFTOVER_SECONDS = 3600
"""Age at which a temporary file is taken to be from a build that was killed."""

_CLOCK_GRAIN_NS = 10_000_000
"""How far the time stamps of a file system may lag behind the clock (a timer tick, with a margin)."""

Compile = Callable[[str, str, Path], list[Path]]
"""`macadamia.lang.build.build_program`: module, profile and output to the sources it depended on."""


class Source(NamedTuple):
    """What the manifest knows of a source file."""

    path: str
    modified_ns: int
    size: int
    digest: str


def cache_directory() -> Path:
    """$MACADAMIA_CACHE, else macadamia under $XDG_CACHE_HOME or ~/.cache."""
    chosen = os.environ.get("MACADAMIA_CACHE")
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base).absolute() / "macadamia"


class BuildCache:
    """The cache in `directory`, which is made when it is absent.

    Any number of processes may use it at once. `LabError` when the directory cannot be used.
    """

    def __init__(self, directory: Path, *, sources: Path = SOURCES,
                 limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.directory = directory
        self._sources = sources
        self._limit = limit_bytes
        with self._explained():
            for name in ("manifests", "objects", "locks", "logs"):
                (directory / name).mkdir(parents=True, exist_ok=True)

    def lookup(self, system: System, profile: str) -> Path | None:
        """The finished ELF file of `system` when nothing it was made from has changed."""
        manifest = self._manifest(system, profile)
        recorded = _load(manifest)
        if recorded is None:
            return None
        current = _refresh(recorded)
        if current is None:
            return None
        found = self._object(system, profile, current)
        if not _is_whole_elf(found):
            return None
        with self._explained():
            os.utime(found)  # used now: eviction goes by this
            if current != recorded:
                self._write(manifest, json.dumps(current).encode())
        return found

    def build(self, system: System, profile: str, compile_program: Callable[[], Compile], *,
              anew: bool = False) -> Path:
        """The ELF file of `system`, from the cache or newly made; with `anew` always newly made.

        `compile_program` fetches the compiler and is called on a miss only. Whatever the compiler
        raises passes through, and leaves the cache as it was.
        """
        with self._explained():
            found = None if anew else self.lookup(system, profile)
            if found is not None:
                return found
            with self._locked(system, profile):
                found = None if anew else self.lookup(system, profile)
                return found or self._compile(system, profile, compile_program())

    def _compile(self, system: System, profile: str, compile_program: Compile) -> Path:
        started_ns = time.time_ns()
        unfinished = self._temporary(self.directory / "objects" / f"{system.name}.elf")
        try:
            with Progress(f"building {system.name} ({profile})"):
                used = compile_program(system.module, profile, unfinished)
            sources = [_describe(path) for path in sorted({*self._compiler(), *map(str, used)})]
            # A source saved while we compiled: nobody can say which text the compiler saw.
            certain = all(source.modified_ns < started_ns - _CLOCK_GRAIN_NS for source in sources)
            finished = self._object(system, profile, sources)
            if not certain:
                finished = finished.with_name(f"{system.name}-{os.getpid()}.uncertain.elf")
            unfinished.replace(finished)
        finally:
            unfinished.unlink(missing_ok=True)
        if certain:
            self._write(self._manifest(system, profile), json.dumps(sources).encode())
        self._evict(keep=finished)
        return finished

    def _compiler(self) -> Iterator[str]:
        """The sources of the compiler; it shapes every program."""
        return (str(path) for path in (self._sources / "macadamia" / "lang").rglob("*.py"))

    def _object(self, system: System, profile: str, sources: list[Source]) -> Path:
        # The checkout counts, although its content is hashed: debug information names its paths.
        key = hashlib.sha256(repr((system.module, profile, str(self._sources), _tools())).encode())
        for source in sources:
            key.update(f"{source.path}\0{source.digest}\n".encode())
        return self.directory / "objects" / f"{key.hexdigest()[:40]}.elf"

    def _name(self, system: System, profile: str) -> str:
        checkout = hashlib.sha256(str(self._sources).encode()).hexdigest()[:12]
        return f"{system.name}-{profile}-{checkout}"

    def _manifest(self, system: System, profile: str) -> Path:
        return self.directory / "manifests" / f"{self._name(system, profile)}.json"

    @contextmanager
    def _locked(self, system: System, profile: str) -> Iterator[None]:
        import fcntl

        with (self.directory / "locks" / f"{self._name(system, profile)}.lock").open("w") as file:
            with Progress(f"waiting for another build of {system.name}"):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _temporary(self, final: Path) -> Path:
        return final.with_name(f".{final.name}.{os.getpid()}.tmp")

    def _write(self, path: Path, content: bytes) -> None:
        unfinished = self._temporary(path)
        try:
            unfinished.write_bytes(content)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _evict(self, *, keep: Path) -> None:
        """Remove leftovers of killed builds, then the objects used longest ago, down to the limit."""
        now = time.time()
        files = list(_files(self.directory / "objects"))
        for path, status in files:
            if path.suffix == ".tmp" and status.st_mtime < now - _LEFTOVER_SECONDS:
                path.unlink(missing_ok=True)
        total = sum(status.st_size for _, status in files)
        for path, status in sorted(files, key=lambda file: file[1].st_mtime):
            if total <= self._limit:
                break
            if path.suffix == ".elf" and path != keep:
                path.unlink(missing_ok=True)
                total -= status.st_size

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn an error of the file system into one line that says what to do."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise LabError(f"no space left for the build cache {self.directory}; free some, "
                              f"or set MACADAMIA_CACHE to a folder elsewhere") from None
            place = error.filename or self.directory
            raise LabError(f"cannot use the build cache: {place}: {error.strerror}") from None


def copy_out(built: Path, destination: Path) -> None:
    """Copy an object to `destination`, complete or not at all; `LabError` when that cannot be."""
    unfinished = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
    try:
        try:
            shutil.copyfile(built, unfinished)
            unfinished.chmod(0o755)
            unfinished.replace(destination)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise LabError(f"cannot write {destination}: {error.strerror}") from None


def _files(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of `directory`, without those that another process removes meanwhile."""
    for path in directory.iterdir():
        with suppress(FileNotFoundError):
            yield path, path.stat()


def _describe(path: str) -> Source:
    status = os.stat(path)
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    return Source(path, status.st_mtime_ns, status.st_size, digest)


def _refresh(sources: list[Source]) -> list[Source] | None:
    """The same files as they are now, read only when time or size changed; None when one is gone."""
    try:
        return [source if _unchanged(source) else _describe(source.path) for source in sources]
    except OSError:
        return None


def _unchanged(source: Source) -> bool:
    status = os.stat(source.path)
    return (status.st_mtime_ns, status.st_size) == (source.modified_ns, source.size)


def _load(manifest: Path) -> list[Source] | None:
    """The sources that `manifest` lists; None when there is none or it is damaged."""
    try:
        return [Source(str(path), int(modified), int(size), str(digest))
                for path, modified, size, digest in json.loads(manifest.read_bytes())]
    except (OSError, ValueError, TypeError):
        return None


def _tools() -> list[str]:
    """What, besides sources, decides the output: Python, llvmlite and the linker, told by their files."""
    llvmlite = Path(sys.prefix).glob("lib/python3*/site-packages/llvmlite-*")
    tools = [sys.version, *(path.name for path in llvmlite)]
    linker = shutil.which("ld.lld")
    if linker:
        real = os.path.realpath(linker)
        tools.append(f"{real} {os.stat(real).st_mtime_ns} {os.stat(real).st_size}")
    return tools


def _is_whole_elf(path: Path) -> bool:
    """Whether `path` is an ELF64 file that reaches to the end of its section headers.

    It was complete when renamed, but a machine that lost power may have kept the name without the data.
    """
    try:
        with path.open("rb") as file:
            header = file.read(64)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return False
    if len(header) < 64 or header[:4] != b"\x7fELF":
        return False
    (section_headers,) = struct.unpack_from("<Q", header, 40)  # e_shoff
    entry_size, entries = struct.unpack_from("<HH", header, 58)  # e_shentsize, e_shnum
    return bool(section_headers + entry_size * entries <= size)
