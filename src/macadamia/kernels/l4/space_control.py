"""What SpaceControl and the end of a space's last thread do to a space, beyond single pages."""

from macadamia.abi.l4.fpages import ALL_RIGHTS, Fpage, Rights
from macadamia.kernels.l4.mapping import Outcome
from macadamia.kernels.l4.space import Space, free_space
from macadamia.kernels.l4.unmap import UnmapOperation
from macadamia.lang import Ptr, local, u64
from macadamia.machine.addresses import PhysAddr, VirtAddr
from macadamia.machine.x86_64.layout import USER_END


def set_areas(space: Ptr[Space], kip_area: Fpage, utcb_area: Fpage, kip: PhysAddr) -> Outcome:
    """Give a space without active threads its areas, which `area_error` found good, and show it the KIP.

    What is mapped where the areas come to lie is unmapped. On RESTART call it again; unless it ends in DONE,
    the space has no areas or its old UTCB area only.
    """
    assert space.active_threads == 0, "UTCBs in the old area are in use"
    remove_kip(space)
    outcome = unmap_area(space, utcb_area)
    if outcome == Outcome.DONE:
        outcome = unmap_area(space, kip_area)
    if outcome != Outcome.DONE:
        return outcome
    if not space.map_kernel_page(VirtAddr(kip_area.address()), kip, Rights.READ | Rights.EXECUTE):
        return Outcome.OUT_OF_MEMORY
    space.kip_area.set(kip_area)
    space.utcb_area.set(utcb_area)
    return Outcome.DONE


def remove_kip(space: Ptr[Space]) -> None:
    """Take the KIP page away, if there is one."""
    if space.kip_area.end != 0:
        space.unmap_kernel_page(VirtAddr(space.kip_area.start))
        space.kip_area.clear()


def unmap_area(space: Ptr[Space], region: Fpage) -> Outcome:
    """Make room for an area."""
    return unmap_range(space, region.address(), region.address() + (u64(1) << region.size_log2()))


def unmap_range(space: Ptr[Space], start: u64, end: u64) -> Outcome:
    """Unmap everything in a range, from this space and from all who have it from here."""
    operation = local(UnmapOperation)
    operation.prepare_range(space, start, end, ALL_RIGHTS, True)
    return operation.run()


def delete_space(space: Ptr[Space]) -> Outcome:
    """End a space that is not current and has no threads: DONE, or RESTART to be called again.

    All that others have from it is unmapped, and its memory returns to the kernel's pool. UTCBs were
    dropped and pages of the kernel other than the KIP were unmapped before.
    """
    outcome = unmap_range(space, 0, USER_END)
    if outcome == Outcome.DONE:
        remove_kip(space)
        free_space(space)
    return outcome
