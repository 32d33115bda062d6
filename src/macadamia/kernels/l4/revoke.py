"""Taking rights from all who have them by one page, and asking what happened there."""

from macadamia.abi.l4.fpages import Rights
from macadamia.kernels.l4.mapping import Cursor, Mapping, Outcome, preemption_point, remove_below
from macadamia.kernels.l4.page_table import permissions
from macadamia.lang import Ptr, Struct, u64


class Revocation(Struct):
    """Rights that go. A page that has none left goes; read comes along with any other right."""

    permissions: u64
    read: bool

    def set(self, rights: Rights) -> None:
        self.permissions = permissions(rights)
        self.read = rights & Rights.READ != Rights(0)

    def removes(self, node: Ptr[Mapping]) -> bool:
        """Whether the page has no right left."""
        return self.read and node.permissions() & ~self.permissions == 0

    def narrow(self, node: Ptr[Mapping]) -> None:
        """Take the rights from one page that keeps some."""
        node.allow(node.permissions() & ~self.permissions)



def revoke_below(revocation: Ptr[Revocation], cursor: Ptr[Cursor]) -> Outcome:
    """Take rights from all pages that the cursor still has to visit, and collect what happened in them."""
    while cursor.at != cursor.root:
        node = cursor.at
        if cursor.leaving:
            cursor.leave()
        else:
            node.collect()
            if not revocation.removes(node):
                revocation.narrow(node)
                cursor.descend()
            elif remove_below(node) == Outcome.DONE:
                cursor.leave()
                node.remove()
        if preemption_point():
            cursor.sleep()
            return Outcome.RESTART
    return Outcome.DONE
