"""The build cache: what makes it build, what does not, and that nothing breaks it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from macadamia.lab.cache import BuildCache
from macadamia.lab.catalogue import System
from macadamia.lab.errors import LabError, Status
from macadamia.lab.probe import kernel


def touch(path: Path, seconds_ago: float) -> None:
    when = time.time() - seconds_ago
    os.utime(path, (when, when))


def test_a_second_build_is_a_hit(lab):
    lab.write("hello", "end(status=0)")
    first, second = lab.mac("build", "hello"), lab.mac("build", "hello")
    assert first.stdout == second.stdout
    assert Path(first.stdout.strip()).read_bytes()[:4] == b"\x7fELF"
    assert lab.builds() == 1


def test_each_profile_is_built(lab):
    lab.write("hello", "end(status=0)")
    assert lab.mac("build", "hello").stdout != lab.mac("build", "hello", "--profile", "release").stdout
    assert lab.builds() == 2


def test_a_changed_source_is_built_and_the_old_one_is_remembered(lab):
    path = lab.write("hello", "end(status=0)")
    old = path.read_text()
    first = lab.mac("build", "hello").stdout
    lab.write("hello", "end(status=1)", age=50)
    assert lab.mac("build", "hello").stdout != first
    path.write_text(old)
    touch(path, 40)
    assert lab.mac("build", "hello").stdout == first
    assert lab.builds() == 2


def test_a_saved_but_equal_source_is_a_hit(lab):
    path = lab.write("hello", "end(status=0)")
    lab.mac("build", "hello")
    touch(path, 30)
    lab.mac("build", "hello")
    assert lab.builds() == 1


def test_a_changed_compiler_builds_everything(lab):
    lab.write("hello", "end(status=0)")
    lab.mac("build", "hello")
    lab.compiler.write_text("VERSION = 2\n")
    touch(lab.compiler, 30)
    lab.mac("build", "hello")
    assert lab.builds() == 2


def test_a_source_saved_during_the_build_is_not_trusted(lab):
    lab.write("hello", "end(status=0)", more="import os\nos.utime(__file__)")
    source = lab.systems / "hello.py"
    source.write_text(source.read_text().replace("__file__", repr(str(source))))
    for _ in range(2):
        assert lab.mac("build", "hello").returncode == 0
    assert lab.builds() == 2


def test_a_failed_build_shows_the_diagnostics_and_stores_nothing(lab):
    lab.write("broken", "b''", more="FAILS = 'a.py:1:2: error: no\\n  x\\n  ^'")
    for _ in range(2):
        done = lab.mac("build", "broken")
        assert (done.returncode, done.stdout) == (Status.FAILED, "")
        assert done.stderr == "a.py:1:2: error: no\n  x\n  ^\n"
    assert lab.objects() == []


def test_parallel_builds_compile_once(lab):
    lab.write("slow", "end(status=0)", more="SLEEPS = 0.7")
    running = [lab.start("build", "slow") for _ in range(6)]
    outputs = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0] * 6
    assert len(outputs) == 1
    assert lab.builds() == 1


def test_a_killed_build_is_repaired(lab, wait_until: Callable[..., bool]):
    lab.write("slow", "end(status=0)", more="SLEEPS = 60")
    running = lab.start("build", "slow")
    assert wait_until(lambda: (lab.cache / "objects").exists() and len(lab.objects()) == 1)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    lab.write("slow", "end(status=0)", more="SLEEPS = 0")
    assert lab.mac("build", "slow").returncode == 0
    (leftover,) = (lab.cache / "objects").glob(".*.tmp")
    touch(leftover, 7200)
    lab.write("other", "end(status=0)")
    assert lab.mac("build", "other").returncode == 0
    assert not leftover.exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", "[1]", '[["a", 1, 2]]', "[[]]", '{"a": 1}', "\0"])
def test_a_damaged_manifest_is_only_a_miss(lab, damage: str):
    lab.write("hello", "end(status=0)")
    lab.mac("build", "hello")
    (manifest,) = (lab.cache / "manifests").iterdir()
    manifest.write_text(damage)
    assert lab.mac("build", "hello").returncode == 0
    assert lab.builds() == 2


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", b"garbage" * 100])
def test_a_damaged_object_is_built_again(lab, damage: bytes):
    lab.write("hello", "end(status=0)")
    built = Path(lab.mac("build", "hello").stdout.strip())
    whole = built.read_bytes()
    built.write_bytes(damage)
    assert lab.mac("run", "hello").returncode == 0
    assert built.read_bytes() == whole


def test_a_full_disk_is_one_clear_line(lab):
    lab.write("hello", "end(status=0)")
    lab.mac("systems")
    lab.cache.mkdir()
    (lab.cache / "objects").symlink_to("/dev/full")
    done = lab.mac("build", "hello")
    assert done.returncode == Status.FAILED
    assert done.stderr.startswith("mac: cannot use the build cache: ")
    assert done.stderr.count("\n") == 1


def test_no_space_is_one_clear_line(tmp_path: Path):
    cache = BuildCache(tmp_path / "cache", sources=tmp_path)

    def compile_program(module: str, profile: str, output: Path) -> list[Path]:
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")
        return []

    with pytest.raises(LabError, match=r"^no space left for the build cache .* set MACADAMIA_CACHE"):
        cache.build(System("a", "a", tmp_path / "a.py", ""), "checked", lambda: compile_program)
    assert list((tmp_path / "cache" / "objects").iterdir()) == []


def test_a_cache_that_is_a_file_is_one_clear_line(lab):
    lab.write("hello", "end(status=0)")
    lab.cache.write_text("")
    for command in (["build", "hello"], ["run", "hello"]):
        done = lab.mac(*command)
        assert done.returncode == Status.FAILED
        assert done.stderr.startswith("mac: cannot use the build cache: ")
        assert done.stderr.count("\n") == 1


def test_the_objects_used_longest_ago_are_evicted(tmp_path: Path):
    def compile_program(module: str, profile: str, output: Path) -> list[Path]:
        output.write_bytes(kernel(b"x" * 100_000))
        return [tmp_path / f"{module}.py"]

    cache = BuildCache(tmp_path / "cache", sources=tmp_path, limit_bytes=350_000)
    systems = [System(name, name, tmp_path, "") for name in "abcd"]
    for age, system in enumerate(systems):
        (tmp_path / f"{system.name}.py").write_text("")
        touch(tmp_path / f"{system.name}.py", 100)
        touch(cache.build(system, "checked", lambda: compile_program), 90 - age)
    assert [cache.lookup(system, "checked") is not None for system in systems] == [False, True, True, True]
