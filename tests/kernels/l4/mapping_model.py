"""What map, grant and unmap mean: spaces as dictionaries of 4 KiB pages, without page sizes, trees or a TLB.

Only sigma0's pages have a trace of sizes: they appear 2 MiB at a time where that is possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

PAGE = 4096
LARGE_PAGE = 1 << 21
USER_END = 0x7FFF_FFFF_F000
READ, WRITE, EXECUTE = 4, 2, 1
ACCESSED, DIRTY = 1, 2


@dataclass(eq=False)
class Page:
    """One page in one space. `rights` are W and X; whoever has a page can read it."""

    space: Space
    address: int
    frame: int
    rights: int
    parent: Page | None = None
    children: list[Page] = field(default_factory=list)
    status: int = 0

    def __post_init__(self) -> None:
        if self.parent is not None:
            self.parent.children.append(self)

    def touch(self, marks: int) -> None:
        """Its space and all above it can tell."""
        page: Page | None = self
        while page is not None:
            page.status |= marks
            page = page.parent

    def remove(self) -> None:
        """Unmap it from here and from all who have it from here."""
        for child in list(self.children):
            child.remove()
        if self.parent is not None:
            self.parent.children.remove(self)
        del self.space.pages[self.address]

    def revoke(self, rights: int) -> None:
        """Take rights from it and all below; what has none left goes."""
        for child in list(self.children):
            child.revoke(rights)
        if rights & READ and self.rights & ~rights == 0:
            self.remove()
        else:
            self.rights &= ~rights


@dataclass(eq=False)
class Space:
    sigma0: bool = False
    pages: dict[int, Page] = field(default_factory=dict)
    areas: list[tuple[int, int]] = field(default_factory=list)  # of the kernel: start, end

    def skips(self, address: int, size: int = PAGE) -> bool:
        return any(address < end and start < address + size for start, end in self.areas)


@dataclass
class Model:
    """The rules. Sizes of 2 MiB pages are used for sigma0 if `large`."""

    large: bool
    kernel: tuple[int, int]  # physical memory that sigma0 cannot have
    physical_end: int

    def source_page(self, space: Space, address: int) -> Page | None:
        """The page, which sigma0 gets if it has none."""
        if space.sigma0 and address not in space.pages:
            self.make_identity(space, address)
        return space.pages.get(address)

    def make_identity(self, space: Space, address: int) -> None:
        start, size = address & -LARGE_PAGE, LARGE_PAGE
        empty = not any(page in space.pages for page in range(start, start + size, PAGE))
        if not (self.large and empty and self.allowed(space, start, size)):
            start, size = address, PAGE
        if self.allowed(space, start, size):
            for page in range(start, start + size, PAGE):
                space.pages[page] = Page(space, page, page, WRITE | EXECUTE)

    def allowed(self, space: Space, start: int, size: int) -> bool:
        end = start + size
        in_kernel = start < self.kernel[1] and self.kernel[0] < end
        return not in_kernel and not space.skips(start, size) and end <= min(USER_END, self.physical_end)

    def map(self, sender: Space, receiver: Space, source: int, target: int, size: int, rights: int) -> None:
        for offset in range(0, size, PAGE):
            place = target + offset
            page = self.transferable(sender, receiver, source + offset, place)
            if page is None:
                continue
            given = page.rights & rights
            there = receiver.pages.get(place)
            if there is not None and there.frame == page.frame:
                if given & ~there.rights == 0:
                    continue
                if there.parent is page:
                    there.rights |= given
                    continue
            if there is not None:
                there.remove()
            receiver.pages[place] = Page(receiver, place, page.frame, given, page)

    def grant(self, sender: Space, receiver: Space, source: int, target: int, size: int, rights: int) -> None:
        if sender is receiver and source == target:
            return
        for offset in range(0, size, PAGE):
            place = target + offset
            if self.transferable(sender, receiver, source + offset, place) is None:
                continue
            if place in receiver.pages:
                receiver.pages[place].remove()
            page = self.transferable(sender, receiver, source + offset, place)
            if page is None:
                continue  # what was removed is what it came from
            if page.rights & ~rights:
                for child in list(page.children):
                    child.remove()
            del sender.pages[page.address]
            page.space, page.address = receiver, place
            page.rights &= rights
            receiver.pages[place] = page

    def transferable(self, sender: Space, receiver: Space, source: int, target: int) -> Page | None:
        if max(source, target) >= USER_END:
            return None
        page = self.source_page(sender, source)
        return None if receiver.skips(target) else page

    def unmap(self, space: Space, start: int, size: int, rights: int, *, flush: bool) -> int:
        """The status bits of the region."""
        status = 0
        for page in self.region(space, start, size):
            status |= page.status
            page.status = 0
            for child in list(page.children):
                child.revoke(rights)
            if flush:
                page.revoke(rights)
        return status

    def region(self, space: Space, start: int, size: int) -> Iterator[Page]:
        for address in range(start, start + size, PAGE):
            page = space.pages.get(address)
            if page is not None:
                yield page

    def delete(self, space: Space) -> None:
        for page in list(space.pages.values()):
            if page.address in space.pages:
                page.remove()
