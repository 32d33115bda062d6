"""Slabs: small objects of one type, packed into pages of kernel memory.

Allocating and freeing take a few instructions, however many objects there are. A page goes back to kernel
memory with its last object, so that the count of free pages is the same after as before.
"""

from macadamia.kernels.l4.kernel_memory import kernel_memory
from macadamia.lang import Ptr, Struct, address_of, cast, pointer_at, sizeof, u8, u64
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr
from macadamia.machine.interface import physical_pointer


class FreeObject(Struct):
    next: Ptr["FreeObject"] | None


class SlabPage(Struct, align=64):
    """The start of a page of objects. Pages that have room are in the slab's list."""

    next: Ptr["SlabPage"] | None
    previous: Ptr["SlabPage"] | None
    free: Ptr[FreeObject] | None  # objects that were given back
    untouched: u64  # offset of the first object that was never given out
    used: u64  # objects given out
    frame: PhysAddr


class Slab(Struct):
    """Objects of one type. A subclass sets their size. Zeroed memory is an empty slab."""

    OBJECT_SIZE = 64  # a multiple of the type's alignment, at most PAGE_SIZE - sizeof(SlabPage)

    with_room: Ptr[SlabPage] | None
    used: u64  # objects

    def allocate(self) -> Ptr[u8] | None:
        """An object with unknown contents; None when kernel memory is exhausted."""
        page = self.with_room
        if page is None:
            page = self.add_page()
            if page is None:
                return None
        object_ = page.free
        if object_ is not None:
            page.free = object_.next
        else:
            object_ = cast(FreeObject, cast(u8, page) + page.untouched)
            page.untouched += self.OBJECT_SIZE
        page.used += 1
        self.used += 1
        if page.free is None and page.untouched > PAGE_SIZE - self.OBJECT_SIZE:
            self.remove_page(page)
        return cast(u8, object_)

    def free(self, object_: Ptr[u8]) -> None:
        """Give back an object of this slab."""
        page = pointer_at(SlabPage, address_of(object_) & ~(PAGE_SIZE - 1))
        if page.free is None and page.untouched > PAGE_SIZE - self.OBJECT_SIZE:
            self.insert_page(page)
        freed = cast(FreeObject, object_)
        freed.next = page.free
        page.free = freed
        page.used -= 1
        self.used -= 1
        if page.used == 0:
            self.remove_page(page)
            kernel_memory.free_page(page.frame)

    def add_page(self) -> Ptr[SlabPage] | None:
        """A page of objects that were never given out."""
        frame = kernel_memory.allocate_page()
        if frame == PhysAddr(0):
            return None
        page = cast(SlabPage, physical_pointer(frame))
        page.frame = frame
        page.free = None
        page.untouched = sizeof(SlabPage)
        page.used = 0
        self.insert_page(page)
        return page

    def insert_page(self, page: Ptr[SlabPage]) -> None:
        page.previous = None
        page.next = self.with_room
        if page.next is not None:
            page.next.previous = page
        self.with_room = page

    def remove_page(self, page: Ptr[SlabPage]) -> None:
        if page.next is not None:
            page.next.previous = page.previous
        if page.previous is not None:
            page.previous.next = page.next
        else:
            self.with_room = page.next
