"""The bases of FS and GS in user mode: thread-local storage of user programs.

User mode cannot set them itself (CR4.FSGSBASE stays off), so that a GS base in the last 4 GiB of the address
space always means the kernel's, which the entry of NMIs relies on. While the kernel runs, the user's GS base
waits in KERNEL_GS_BASE.
"""

from macadamia.lang import implements, inline, u64
from macadamia.machine import interface
from macadamia.machine.x86_64 import control
from macadamia.machine.x86_64.instructions import write_msr
from macadamia.machine.x86_64.layout import KERNEL_BASE, USER_END


@implements(interface.set_user_bases)
def set_user_bases(fs: u64, gs: u64) -> None:
    write_msr(control.MSR_FS_BASE, fs if fs < USER_END else u64(0))
    write_msr(control.MSR_KERNEL_GS_BASE, gs if gs < USER_END else u64(0))


@inline
@implements(interface.set_user_gs_base)
def set_user_gs_base(gs: u64) -> None:
    assert gs < USER_END or (gs & 1 << 63 and gs < KERNEL_BASE), "a GS base that the kernel must not give"
    write_msr(control.MSR_KERNEL_GS_BASE, gs)
