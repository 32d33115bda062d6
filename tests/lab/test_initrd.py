"""The initrd archive: read back by the rules of cpio(5)."""

from pathlib import Path

import pytest

from macadamia.lab.errors import LabError
from macadamia.lab.initrd import Module, build_initrd, write_cpio


def read_cpio(archive: bytes) -> list[tuple[str, bytes]]:
    """The members of a newc archive, by cpio(5)."""
    members, at = [], 0
    while True:
        assert archive[at:at + 6] == b"070701"
        size, name_size = (int(archive[at + 6 + 8 * field:at + 14 + 8 * field], 16) for field in (6, 11))
        name = archive[at + 110:at + 110 + name_size - 1].decode()
        start = (at + 110 + name_size + 3) & ~3
        at = (start + size + 3) & ~3
        if name == "TRAILER!!!":
            assert at == len(archive)
            return members
        members.append((name, archive[start:start + size]))


def test_members_come_back():
    members = [("a", b""), ("bb", b"1"), ("ccc", b"12345"), ("d" * 100, bytes(range(256)) * 17)]
    assert read_cpio(write_cpio(members)) == members


def test_equal_input_gives_equal_bytes():
    assert write_cpio([("a", b"x")]) == write_cpio([("a", b"x")])


def test_the_command_line_comes_first_and_modules_carry_theirs(tmp_path: Path):
    (tmp_path / "server").write_bytes(b"ELF")
    archive = build_initrd(["cat", "", "a b\udcff"], [Module(tmp_path / "server", ("-v", "x"))])
    assert read_cpio(archive) == [("cmdline", b"cat\0\0a b\xff\0"), ("server", b"ELF"),
                                  ("server.cmdline", b"-v\0x\0")]


def test_two_modules_of_one_name_are_refused(tmp_path: Path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m").write_bytes(b"")
    with pytest.raises(LabError, match="two boot modules are called m"):
        build_initrd([], [Module(tmp_path / "x" / "m"), Module(tmp_path / "y" / "m")])


def test_names_of_modules(tmp_path: Path) -> None:
    assert Module.parse("a/sigma0").known_as() == "sigma0"
    assert Module.parse("root=a/l4test") == Module(Path("a/l4test"), name="root")
    assert Module.parse("root=a/l4test").known_as() == "root"
    assert Module.parse("a=b/c=d").path == Path("b/c=d")
    assert Module.parse("a/b=c").path == Path("a/b=c")
