"""The kernel interface page (X.2 manual, section 1.1; offsets in the fact sheet, section 3)."""

from macadamia.lang import Struct, u64
from macadamia.machine.addresses import PhysAddr


class KernelInterface(Struct):
    """Where the page is."""

    frame: PhysAddr
    version: u64


kernel_interface = KernelInterface()


def kernel_interface_page() -> PhysAddr:
    """The frame that is mapped into every space."""
    return kernel_interface.frame
