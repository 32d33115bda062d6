"""A program for Linux in kernel Python, without a library: what test_link builds, runs and debugs."""

from enum import IntEnum
from typing import NoReturn

from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    asm,
    asm_value,
    bits,
    export,
    fill_bytes,
    i64,
    implements,
    naked,
    noinline,
    panic_handler,
    range,
    static,
    storage,
    text_bytes,
    u8,
    u32,
    u64,
    unreachable,
)
from macadamia.lang.program import Program

WRITE, EXIT = 1, 60  # system calls of Linux on x86-64
STANDARD_OUTPUT = 1
PANIC_STATUS = 101


@storage(u8)
class Mood(IntEnum):
    CALM = 0
    BUSY = 3


class Node(Struct):
    value: u32
    mood: Mood
    low: u8 = bits(3)
    high: u8 = bits(5)
    next: Ptr["Node"] | None
    digits: Array[u8, 4]


nodes = static(Array[Node, 3])
squares = static(Array[u64, 8])


def system_call(number: u64, a: u64, b: Ptr[u8], c: u64) -> i64:
    return asm_value(
        i64, "syscall", "={rax},{rax},{rdi},{rsi},{rdx},~{rcx},~{r11},~{memory}", number, a, b, c
    )


def put_text(text: str) -> None:
    system_call(WRITE, STANDARD_OUTPUT, text_bytes(text), len(text))


def leave(status: u64) -> NoReturn:
    system_call(EXIT, status, text_bytes(""), 0)
    unreachable("exit returned")


@implements(panic_handler)
def stop(message: str, file: str, line: u32) -> NoReturn:
    put_text("panic: ")
    put_text(message)
    put_text("\n")
    put_text(file)
    put_text("\n")
    leave(PANIC_STATUS)


def link_nodes() -> Ptr[Node]:
    for i in range(3):
        node = nodes[i]
        node.value = u32(i) * 100 + 42
        node.mood = Mood.BUSY
        node.low = 5
        node.high = u8(i)
        fill_bytes(node.digits + 0, 7, 4)
        if i != 0:
            node.next = nodes[i - 1]
    return nodes[2]


@noinline
def sum_of(first: Ptr[Node]) -> u32:
    total: u32 = 0
    node: Ptr[Node] | None = first
    while node is not None:
        total += node.value
        node = node.next
    return total


@noinline
def element(arguments: u64) -> u64:
    for i in range(8):
        squares[i] = i * i
    return squares[arguments * 4]


def main(stack: Ptr[u64]) -> NoReturn:
    """`stack` points to the number of arguments (System V ABI, figure 3.9)."""
    put_text("hello from kernel Python\n")
    total = sum_of(link_nodes())
    if element(stack[0]) == 16:
        put_text("one argument\n")
    leave(u64(total - 413))


@naked
@export("_start")
def start() -> NoReturn:
    asm("movq %rsp, %rdi\nxorl %ebp, %ebp\ncallq ${0:P}\nud2", "s", main)


PROGRAM = Program("linux", start, (stop,), target="user")
