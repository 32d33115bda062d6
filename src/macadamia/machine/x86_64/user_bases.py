"""The bases of FS and GS in user mode: thread-local storage of user programs.

User mode cannot set them itself (CR4.FSGSBASE stays off), so that a negative GS base always means the
kernel's, which the entry of NMIs relies on. While the kernel runs, the user's GS base waits in
KERNEL_GS_BASE.
"""

from macadamia.lang import implements, u64
from macadamia.machine import interface
from macadamia.machine.x86_64 import control
from macadamia.machine.x86_64.instructions import write_msr
from macadamia.machine.x86_64.layout import USER_END


@implements(interface.set_user_bases)
def set_user_bases(fs: u64, gs: u64) -> None:
    write_msr(control.MSR_FS_BASE, fs if fs < USER_END else u64(0))
    write_msr(control.MSR_KERNEL_GS_BASE, gs if gs < USER_END else u64(0))
