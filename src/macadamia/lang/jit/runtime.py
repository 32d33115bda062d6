"""How control enters and leaves compiled code in this process.

`enter` remembers the stack pointer; `trap`, `unwind` and a processor fault go back to it from any depth, for
compiled frames own nothing that must be released. The remembered value, the floor, is kept on the stack by
each entry, so entries nest through Python callbacks.
"""

from __future__ import annotations

import ctypes
import signal
from functools import cache

import llvmlite.binding as llvm

from macadamia.lang.backend import BackendOptions, compile_object, target_machine
from macadamia.lang.emit.frame import STACK_END, STACK_TOP
from macadamia.lang.emit.jit import FLOOR, TRAP, UNWIND
from macadamia.lang.emit.module import TRIPLES
from macadamia.lang.emit.types import escaped
from macadamia.lang.memory import memory

RETURNED, TRAPPED, RAISED, FAULTED = range(4)  # what `enter` gives


class Record(ctypes.Structure):
    """What compiled code and Python tell each other. The assembly below knows the offsets."""

    _fields_ = (
        ("floor", ctypes.c_uint64),  # 0
        ("stack_top", ctypes.c_uint64),  # 8
        ("stack_end", ctypes.c_uint64),  # 16
        ("kind", ctypes.c_uint64),  # 24
        ("message", ctypes.c_uint64),  # 32
        ("message_length", ctypes.c_uint64),  # 40
        ("file", ctypes.c_uint64),  # 48
        ("file_length", ctypes.c_uint64),  # 56
        ("line", ctypes.c_uint64),  # 64
        ("fault_address", ctypes.c_uint64),  # 72
        ("fault_code", ctypes.c_uint64),  # 80
        ("fault_stack", ctypes.c_uint64),  # 88
        ("old_handler", ctypes.c_uint64),  # 96
    )
    floor: int
    stack_top: int
    stack_end: int
    kind: int
    message: int
    message_length: int
    file: int
    file_length: int
    line: int
    fault_address: int
    fault_code: int
    fault_stack: int
    old_handler: int


record = Record(stack_end=memory.end)

# System V AMD64 ABI: arguments in rdi, rsi, rdx, rcx, r8, r9; rbx, rbp, r12-r15 are the caller's.
# The fault handler gets (signal, siginfo_t *, ucontext_t *): si_code and si_addr lie at 8 and 16 in the
# one, rsp and rip at 160 and 168 in the other (Linux uapi/asm-generic/siginfo.h, asm/sigcontext.h).
_ASSEMBLY = """
    .text
    .globl enter, trap, unwind, handle_fault
enter:                          # (entry, buffer) -> how it ended
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movabsq ${record}, %r11
    pushq (%r11)
    movq %rsp, (%r11)
    movq %rdi, %rax
    movq %rsi, %rdi
    callq *%rax
    xorl %eax, %eax
leave:                          # rsp is at the floor, eax tells how
    movabsq ${record}, %r11
    popq (%r11)
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    retq
trap:                           # (kind, message, file, line)
    movabsq ${record}, %r11
    movl %edi, %edi
    movq %rdi, 24(%r11)
    movq %rsi, 32(%r11)
    movq %rdx, 40(%r11)
    movq %rcx, 48(%r11)
    movq %r8, 56(%r11)
    movl %r9d, %r9d
    movq %r9, 64(%r11)
    movl ${trapped}, %eax
    jmp to_floor
unwind:
    movl ${raised}, %eax
to_floor:
    movabsq ${record}, %r11
    movq (%r11), %rsp
    cld
    jmp leave
faulted:
    movl ${faulted}, %eax
    jmp to_floor
handle_fault:
    movabsq ${record}, %r11
    cmpq $0, (%r11)
    je 1f
    movq 16(%rsi), %rax
    movq %rax, 72(%r11)
    movslq 8(%rsi), %rax
    movq %rax, 80(%r11)
    movq 160(%rdx), %rax
    movq %rax, 88(%r11)
    leaq faulted(%rip), %rax
    movq %rax, 168(%rdx)
    retq
1:  jmpq *96(%r11)
"""


def _assembly() -> str:
    """The text with its numbers filled in."""
    base = ctypes.addressof(record)
    numbers = {"record": base, "trapped": TRAPPED, "raised": RAISED, "faulted": FAULTED}
    text = _ASSEMBLY
    for name, number in numbers.items():
        text = text.replace("${" + name + "}", f"${number}")
    return text


class _Action(ctypes.Structure):
    """struct sigaction of glibc on x86-64."""

    _fields_ = (
        ("handler", ctypes.c_uint64),
        ("mask", ctypes.c_uint64 * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_uint64),
    )


class _Stack(ctypes.Structure):
    """stack_t of Linux on x86-64."""

    _fields_ = (("base", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


_SS_DISABLE = 2
_SIGNAL_STACK = ctypes.create_string_buffer(64 << 10)
_SA_SIGINFO, _SA_ONSTACK, _SA_RESTART, _SA_NODEFER = 0x4, 0x0800_0000, 0x1000_0000, 0x4000_0000
_FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL)


class Runtime:
    """The entry code, linked once per process, and the linker for libraries."""

    def __init__(self) -> None:
        self._linker = llvm.create_lljit_compiler(target_machine(BackendOptions("jit")), use_jit_link=True)
        module = f'target triple = "{TRIPLES["jit"]}"\nmodule asm "{escaped(_assembly())}"\n'
        builder = llvm.JITLibraryBuilder().add_object_img(compile_object(module, BackendOptions("jit")))
        exported = ("enter", "trap", "unwind", "handle_fault")
        for symbol in exported:
            builder.export_symbol(symbol)
        self._code = builder.link(self._linker, "macadamia")
        base = ctypes.addressof(record)
        self.symbols = {
            _plain(TRAP): self._code["trap"],
            _plain(UNWIND): self._code["unwind"],
            _plain(FLOOR): base + Record.floor.offset,  # type: ignore[attr-defined]
            _plain(STACK_TOP): base + Record.stack_top.offset,  # type: ignore[attr-defined]
            _plain(STACK_END): base + Record.stack_end.offset,  # type: ignore[attr-defined]
        }
        # PYFUNCTYPE keeps the interpreter lock: compiled code and its record belong to one thread at a time.
        self.enter = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p)(self._code["enter"])
        self._count = 0

    def link(self, image: bytes, symbols: dict[str, int], exports: list[str]) -> llvm.ResourceTracker:
        """Load an object; the result gives the addresses of `exports` and keeps the code alive."""
        builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for name, address in (self.symbols | symbols).items():
            builder.import_symbol(name, address)
        for name in exports:
            builder.export_symbol(name)
        self._count += 1
        return builder.link(self._linker, f"library {self._count}")

    def catch_faults(self) -> None:
        """Let faults in compiled code end in `enter`. Others go on to the handler that was there before.

        Called for every library, because others (faulthandler, pytest) install theirs at any time.
        """
        libc = ctypes.CDLL(None)
        stack = _Stack()
        libc.sigaltstack(None, ctypes.byref(stack))
        if stack.flags & _SS_DISABLE:  # a full stack has no room for a handler
            stack = _Stack(ctypes.addressof(_SIGNAL_STACK), 0, len(_SIGNAL_STACK))
            libc.sigaltstack(ctypes.byref(stack), None)
        for number in _FAULTS:
            old = _Action()
            libc.sigaction(int(number), None, ctypes.byref(old))
            ours = self._code["handle_fault"]
            if old.handler == ours:
                continue
            record.old_handler = old.handler or self._default(libc)
            flags = _SA_SIGINFO | _SA_ONSTACK | _SA_RESTART | _SA_NODEFER
            libc.sigaction(int(number), ctypes.byref(_Action(handler=ours, flags=flags)), None)

    @staticmethod
    def _default(libc: ctypes.CDLL) -> int:
        """A handler that dies as if there were none."""
        return ctypes.cast(libc.abort, ctypes.c_void_p).value or 0


def _plain(operand: str) -> str:
    """The symbol behind `@"name"`."""
    return operand.strip('@"')


@cache
def runtime() -> Runtime:
    return Runtime()
