"""What this processor can do: CPUID (SDM volume 2), and turning on what protects the kernel."""

from macadamia.lang import Array, Struct, panic, range, static, u32, u64
from macadamia.machine.text import log, log_part
from macadamia.machine.x86_64 import control
from macadamia.machine.x86_64.instructions import cpuid, read_cr0, read_cr4, write_cr0, write_cr4

LEAF_FEATURES = 1
LEAF_STRUCTURED = 7
LEAF_EXTENDED = 0x8000_0001


class Feature:
    """Bits of `Features.bits`: ours, each gathered from the CPUID bit named in `read_features`."""

    PCID = 1 << 0
    XSAVE = 1 << 1
    AVX = 1 << 2
    TSC_DEADLINE = 1 << 3
    SMEP = 1 << 4
    SMAP = 1 << 5
    UMIP = 1 << 6
    GIBIBYTE_PAGES = 1 << 7


class Features(Struct):
    bits: u64


features = static(Features)

FEATURES = {name: bit for name, bit in vars(Feature).items() if not name.startswith("_")}
FEATURE_COUNT = len(FEATURES)
names = static(Array[str, FEATURE_COUNT], list(FEATURES))  # in the order of their bits

REQUIRED_EDX = 1 << 0 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 13 | 1 << 24 | 1 << 25 | 1 << 26
"""Leaf 1: FPU, TSC, MSR, PAE, APIC, PGE, FXSR, SSE, SSE2."""
REQUIRED_EXTENDED_EDX = 1 << 11 | 1 << 20 | 1 << 29
"""Leaf 0x80000001: SYSCALL, NX, long mode."""


def has(feature: u64) -> bool:
    return features.bits & feature != 0


def read_features() -> None:
    """Fill in `features`; panics when the processor lacks what every 64-bit one has."""
    maximum, _, _, _ = cpuid(0, 0)
    _, _, ecx, edx = cpuid(LEAF_FEATURES, 0)
    _, _, _, extended_edx = cpuid(LEAF_EXTENDED, 0)
    if edx & REQUIRED_EDX != REQUIRED_EDX or extended_edx & REQUIRED_EXTENDED_EDX != REQUIRED_EXTENDED_EDX:
        panic("this processor lacks a feature that all 64-bit processors should have")
    bits = choose(ecx, 17, Feature.PCID) | choose(ecx, 26, Feature.XSAVE) | choose(ecx, 28, Feature.AVX)
    bits |= choose(ecx, 24, Feature.TSC_DEADLINE) | choose(extended_edx, 26, Feature.GIBIBYTE_PAGES)
    if maximum >= LEAF_STRUCTURED:
        _, ebx, structured_ecx, _ = cpuid(LEAF_STRUCTURED, 0)
        bits |= choose(ebx, 7, Feature.SMEP) | choose(ebx, 20, Feature.SMAP)
        bits |= choose(structured_ecx, 2, Feature.UMIP)
    features.bits = bits


def choose(register: u32, bit: u32, feature: u64) -> u64:
    """`feature` if the bit is set, else 0."""
    return feature if register >> bit & 1 else 0


def enable_protection() -> None:
    """Turn on the features that protect the kernel from users and from itself.

    Text may no longer be patched.
    """
    cr4 = read_cr4() | control.CR4_GLOBAL_PAGES | control.CR4_MACHINE_CHECK
    cr4 |= enable_if(Feature.SMEP, control.CR4_SMEP)
    cr4 |= enable_if(Feature.SMAP, control.CR4_SMAP)
    cr4 |= enable_if(Feature.UMIP, control.CR4_UMIP)
    cr4 |= enable_if(Feature.PCID, control.CR4_PCID)
    write_cr4(cr4)
    write_cr0(read_cr0() | control.CR0_WRITE_PROTECT | control.CR0_ALIGNMENT_MASK)


def enable_if(feature: u64, cr4_bit: u64) -> u64:
    return cr4_bit if has(feature) else 0


def log_features() -> None:
    log_part("machine: processor features:")
    for i in range(u64(FEATURE_COUNT)):
        if features.bits >> i & 1:
            log_part(f" {names[i]}")
    log("")
