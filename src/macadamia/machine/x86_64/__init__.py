"""A PC with one x86-64 processor: boot, traps, paging, time, interrupts, serial lines.

One file per concept. "SDM" in comments is the Intel 64 and IA-32 Architectures Software Developer's Manual.
"""
