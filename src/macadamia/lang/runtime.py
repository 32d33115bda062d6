"""The functions that LLVM calls by itself: copying, filling and comparing memory.

In assembly, because a loop that copies bytes, compiled, becomes a call of memcpy. A `rep` iteration counts
as one instruction under QEMU's -icount, so words are moved, not bytes. Symbols are weak: a program may
bring its own.
"""

from __future__ import annotations


def _function(name: str, body: str) -> str:
    """A function in a section of its own, which the linker drops when nothing calls it."""
    return f"""
    .section .text.{name},"ax",@progbits
    .weak {name}
    .type {name},@function
    .p2align 4
{name}:{body}
    .size {name}, . - {name}
"""


_COPY = """
    movq %rdi, %rax
    movq %rdx, %rcx
    shrq $3, %rcx
    rep movsq
    movl %edx, %ecx
    andl $7, %ecx
    rep movsb
    retq"""

# Backwards in a loop: the direction flag of `std` would leak into interrupt handlers.
_MOVE = """
    movq %rdi, %rax
    subq %rsi, %rax
    cmpq %rdx, %rax
    movq %rdi, %rax
    jb 1f
    movq %rdx, %rcx
    shrq $3, %rcx
    rep movsq
    movl %edx, %ecx
    andl $7, %ecx
    rep movsb
    retq
1:  subq $8, %rdx
    jb 2f
    movq (%rsi,%rdx), %rcx
    movq %rcx, (%rdi,%rdx)
    jmp 1b
2:  addq $8, %rdx
    je 4f
3:  movb -1(%rsi,%rdx), %cl
    movb %cl, -1(%rdi,%rdx)
    decq %rdx
    jne 3b
4:  retq"""

_SET = """
    movq %rdi, %r9
    movzbl %sil, %eax
    movabsq $0x0101010101010101, %r8
    imulq %r8, %rax
    movq %rdx, %rcx
    shrq $3, %rcx
    rep stosq
    movl %edx, %ecx
    andl $7, %ecx
    rep stosb
    movq %r9, %rax
    retq"""

_COMPARE = """
1:  cmpq $8, %rdx
    jb 3f
    movq (%rdi), %rax
    movq (%rsi), %rcx
    cmpq %rcx, %rax
    jne 2f
    addq $8, %rdi
    addq $8, %rsi
    subq $8, %rdx
    jmp 1b
2:  bswapq %rax
    bswapq %rcx
    cmpq %rcx, %rax
    sbbl %eax, %eax
    orl $1, %eax
    retq
3:  testq %rdx, %rdx
    je 5f
4:  movzbl (%rdi), %eax
    movzbl (%rsi), %ecx
    subl %ecx, %eax
    jne 6f
    incq %rdi
    incq %rsi
    decq %rdx
    jne 4b
5:  xorl %eax, %eax
6:  retq"""

MEMORY = (
    _function("memcpy", _COPY)
    + _function("memmove", _MOVE)
    + _function("memset", _SET)
    + _function("memcmp", _COMPARE)
    + _function("bcmp", _COMPARE)
    + "    .text\n"
)
