"""The initrd: one cpio archive that carries the boot modules and the command line to a guest kernel.

Members, in order: `cmdline`, the command's arguments, each ended by a zero byte; then for every
module its file, by its name, followed by `NAME.cmdline` with the module's own arguments
in the same form. The format is "newc" (cpio(5), SVR4 without CRC), which Linux and the
multiboot loaders also use.
"""

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from macadamia.lab.errors import LabError, Status

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_ALIGNMENT = 4
_LARGEST_FILE = 0xFFFF_FFFF  # a size is eight hexadecimal digits


@dataclass(frozen=True)
class Module:
    """A file that the kernel finds in its initrd, and the arguments it is given."""

    path: Path
    arguments: tuple[str, ...] = ()
    name: str = ""
    """What the kernel knows it by; empty: the file's base name."""

    @classmethod
    def parse(cls, text: str) -> "Module":
        """The module that `PATH` or `NAME=PATH` on the command line means."""
        name, equals, path = text.partition("=")
        return cls(Path(path), name=name) if equals and "/" not in name else cls(Path(text))

    def known_as(self) -> str:
        return self.name or self.path.name


def build_initrd(command: Sequence[str], modules: Sequence[Module]) -> bytes:
    """The archive for `command` and `modules`; `LabError` when a module cannot be read."""
    members = [("cmdline", _arguments(command))]
    names = [module.known_as() for module in modules]
    for name, module in zip(names, modules, strict=True):
        if names.count(name) > 1:
            raise LabError(f"two boot modules are called {name}", Status.USAGE)
        members += [(name, _contents(module.path)), (f"{name}.cmdline", _arguments(module.arguments))]
    return write_cpio(members)


def write_cpio(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A newc archive of regular files. Times and owners are zero, so equal input gives equal bytes."""
    archive = bytearray()
    for inode, (name, content) in enumerate(members, start=1):
        _append(archive, name, content, inode=inode, mode=stat.S_IFREG | 0o644)
    _append(archive, _TRAILER, b"", inode=0, mode=0)
    return bytes(archive)


def _append(archive: bytearray, name: str, content: bytes, *, inode: int, mode: int) -> None:
    encoded = name.encode() + b"\0"
    # inode, mode, uid, gid, nlink, mtime, filesize, device and rdevice (major, minor), namesize, check
    header = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    archive += _MAGIC + b"".join(b"%08x" % field for field in header) + encoded
    _pad(archive)
    archive += content
    _pad(archive)


def _pad(archive: bytearray) -> None:
    archive += bytes(-len(archive) % _ALIGNMENT)


def _arguments(arguments: Sequence[str]) -> bytes:
    return b"".join(argument.encode(errors="surrogateescape") + b"\0" for argument in arguments)


def _contents(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LabError(f"cannot read boot module {path}: {error.strerror}", Status.USAGE) from None
    if len(content) > _LARGEST_FILE:
        raise LabError(f"boot module {path} is larger than 4 GiB", Status.USAGE)
    return content
