"""A red-black tree whose links lie in its elements.

After Cormen, Leiserson, Rivest and Stein, Introduction to Algorithms, chapter 13. The two symmetric
halves of every operation are one here: a side is an index, and `1 - side` is the other.
"""

from macadamia.lang import Array, Ptr, Struct, u64

LEFT = 0
RIGHT = 1


class Node(Struct):
    """An element. Keys to the left are not greater, keys to the right not less."""

    parent: Ptr["Node"]
    children: Array[Ptr["Node"], 2]
    key: u64
    red: bool


class Tree(Struct):
    """`nil` stands for every missing child and for the parent of the root. It is black."""

    nil: Node
    root: Ptr[Node]

    def make_empty(self) -> None:
        self.nil.red = False
        self.root = self.nil

    def find(self, key: u64) -> Ptr[Node] | None:
        """An element with that key."""
        node = self.root
        while node != self.nil:
            if node.key == key:
                return node
            node = node.children[u64(key > node.key)]
        return None

    def insert(self, node: Ptr[Node]) -> None:
        """Add an element whose key is set."""
        parent: Ptr[Node] = self.nil
        place = self.root
        side = u64(LEFT)
        while place != self.nil:
            parent = place
            side = u64(node.key > place.key)
            place = place.children[side]
        node.parent = parent
        node.children[LEFT] = self.nil
        node.children[RIGHT] = self.nil
        node.red = True
        if parent == self.nil:
            self.root = node
        else:
            parent.children[side] = node
        self.mend(node)

    def mend(self, node: Ptr[Node]) -> None:
        """Restore the rule that a red node has a black parent, which only the red `node` may break."""
        while node.parent.red:
            parent = node.parent
            grandparent = parent.parent
            side = u64(parent == grandparent.children[RIGHT])
            uncle = grandparent.children[1 - side]
            if uncle.red:
                parent.red = False
                uncle.red = False
                grandparent.red = True
                node = grandparent
                continue
            if node == parent.children[1 - side]:
                self.rotate(parent, side)
                node, parent = parent, node
            parent.red = False
            grandparent.red = True
            self.rotate(grandparent, 1 - side)
        self.root.red = False

    def rotate(self, node: Ptr[Node], side: u64) -> None:
        """Make `node` the child, on `side`, of its own child on the other side."""
        child = node.children[1 - side]
        inner = child.children[side]
        node.children[1 - side] = inner
        if inner != self.nil:
            inner.parent = node
        child.parent = node.parent
        if node.parent == self.nil:
            self.root = child
        else:
            node.parent.children[u64(node == node.parent.children[RIGHT])] = child
        child.children[side] = node
        node.parent = child
