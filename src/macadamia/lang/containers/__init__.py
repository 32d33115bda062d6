"""Containers for kernels, in kernel Python: no heap, no hidden allocation, specialised when a class is made.

An item is in a container by what it embeds (links) or by a pointer; the memory is the user's.
"""

from macadamia.lang.containers.bitmap import Bitmap
from macadamia.lang.containers.heap import Heap
from macadamia.lang.containers.linked_list import LinkedList, Links
from macadamia.lang.containers.radix_tree import RadixTree

__all__ = ["Bitmap", "Heap", "LinkedList", "Links", "RadixTree"]
