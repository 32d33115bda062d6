"""Symbols, explanations and panic reports, on a small C program: what DWARF says does not depend on us."""

import subprocess
from pathlib import Path

import pytest

from macadamia.lab.errors import LabError
from macadamia.lab.explain import disassemble, explain
from macadamia.lab.report import Panic, describe, parse_panic
from macadamia.lab.runner import Ending, How
from macadamia.lab.symbols import Place, Symbols

SOURCE = """\
static inline __attribute__((always_inline)) int inner(int x) {
    return *(volatile int *)0 / x;
}
int touched;
__attribute__((noinline)) int outer(int x) {
    touched = x;
    int y = inner(x + 1);
    return y ^ 5;
}
void _start(void) {
    volatile int a = outer(4);
    while (a) { }
}
"""
BASE = 0xFFFF_FFFF_8010_0000


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    (folder / "sample.c").write_text(SOURCE)
    subprocess.run(["gcc", "-gdwarf-5", "-O1", "-ffreestanding", "-fno-pic", "-mcmodel=kernel", "-c",
                    "-fcf-protection=none", str(folder / "sample.c"), "-o", str(folder / "sample.o")],
                   check=True, cwd=folder)
    subprocess.run(["ld.lld", "-o", "sample.elf", "sample.o", f"-Ttext={BASE:#x}"], check=True, cwd=folder)
    return folder / "sample.elf"


@pytest.fixture(scope="module")
def symbols(program: Path) -> Symbols:
    return Symbols.load(program)


def division(symbols: Symbols) -> int:
    """The address of the division, which is in `inner`, inlined into `outer`."""
    outer = next(function for function in symbols.functions if function.name == "outer")
    return next(each.address for each in disassemble(outer, symbols) if each.text.startswith("idiv"))


def test_functions_and_lines(symbols: Symbols):
    assert [function.name for function in symbols.functions] == ["outer", "_start"]
    outer = symbols.functions[0]
    (place,) = symbols.places(outer.start)
    assert (place.function, Path(place.file).name, place.line) == ("outer", "sample.c", 6)
    assert place.text() == "    touched = x;"


def test_inlined_functions_are_frames(symbols: Symbols):
    places = symbols.places(division(symbols))
    assert [(place.function, place.line) for place in places] == [("inner", 2), ("outer", 7)]


def test_unknown_addresses(symbols: Symbols):
    assert symbols.places(0x1234) == []
    assert symbols.function_at(BASE - 1) is None
    assert symbols.function_at(symbols.functions[-1].end) is None


def test_a_file_that_is_no_elf_is_explained(tmp_path: Path):
    (tmp_path / "x").write_text("not ELF at all")
    with pytest.raises(LabError, match="is not a readable ELF file"):
        Symbols.load(tmp_path / "x")


def test_explain_a_line(symbols: Symbols, program: Path):
    text = explain("sample.c:8", symbols)
    assert text.splitlines()[:3] == [f"{program.parent}/sample.c:8      return y ^ 5;", "",
                                     "outer: 1 instruction, 3 bytes"]
    assert "xor eax, 5" in text
    assert "idiv" not in text


def test_explain_a_definition_shows_the_whole_function(symbols: Symbols):
    text = explain("sample.c:5", symbols)
    assert "xor eax, 5" in text
    assert "idiv" in text
    assert "instructions  bytes  line" in text


def test_explain_an_inlined_line(symbols: Symbols):
    assert "idiv" in explain("sample.c:2", symbols)


def test_explain_an_address(symbols: Symbols, program: Path):
    address = division(symbols)
    lines = explain(hex(address), symbols).splitlines()
    assert lines[:3] == [f"{address:#x} is at", f"    {program.parent}/sample.c:2 in inner",
                         f"    {program.parent}/sample.c:7 in outer"]
    (marked,) = (line for line in lines if line.startswith("  =>"))
    assert "idiv" in marked


def test_explain_names_called_functions(symbols: Symbols):
    assert f"call {BASE:#x} <outer>" in explain("sample.c:11", symbols)


@pytest.mark.parametrize(("where", "complaint"), [
    ("sample.c:3", "became no machine code; the nearest lines that did: 2 and 6"),
    ("sample.c:900", "became no machine code; the nearest lines that did: 13$"),
    ("other.c:1", "other.c is no source of sample.elf"),
    ("0x1234", "0x1234 is in no function of sample.elf"),
    ("sample.c", "sample.c: give FILE:LINE or an address"),
    ("sample.c:", "give FILE:LINE or an address"),
    (":3", "give FILE:LINE or an address"),
    ("", "give FILE:LINE or an address"),
])
def test_explaining_nonsense(symbols: Symbols, where: str, complaint: str):
    with pytest.raises(LabError, match=complaint) as raised:
        explain(where, symbols)
    assert "\n" not in str(raised.value)


def test_panic_lines():
    log = ("booting\npanic: bad frame\r\npanic: at a.py:3\npanic: register rax 0x10\n"
           "panic: return 0xffff\npanic: return zz\npanic: register rb")
    panic = parse_panic(log)
    assert panic == Panic(["bad frame", "return zz", "register rb"], "a.py:3", {"rax": 16}, [0xFFFF])
    assert parse_panic("all quiet\nno panic: here\n") is None


def test_a_panic_report_names_functions_and_quotes_lines(symbols: Symbols, program: Path, tmp_path: Path):
    address = division(symbols)
    log = tmp_path / "log"
    # The return address lies behind the call in _start; the report must show the line of the call.
    call = next(each for each in disassemble(symbols.functions[1], symbols) if each.text.startswith("call"))
    log.write_text(f"one\npanic: divide error\npanic: register rip {address:#x}\n"
                   f"panic: return {call.address + len(call.code):#x}\n")
    report = describe(Ending(How.PANICKED, 125, "the kernel panicked"), log, program).splitlines()
    folder = program.parent
    assert report[:8] == [
        "mac: the kernel panicked", "kernel panic: divide error", "backtrace, innermost first:",
        f"               inlined  inner  {folder}/sample.c:2",
        "                            return *(volatile int *)0 / x;",
        f"    {address:#018x}  outer  {folder}/sample.c:7",
        "                            int y = inner(x + 1);",
        f"    {call.address + len(call.code):#018x}  _start  {folder}/sample.c:11"]
    assert report[-3:] == ["last lines of the kernel log:", "    one", f"kernel log: {log}"]


def test_places_without_debug_information():
    assert Place("f").short() == ""
    assert Place("f").text() == ""
