"""Heap sort: in place, without recursion, never slower than n log n: what a kernel wants of a sort."""

from macadamia.lang import Ptr, u32, u64


def sift_down(values: Ptr[u32], root: u64, end: u64) -> None:
    """Let values[root] sink in the heap values[0:end] until no child is larger."""
    value = values[root]
    hole = root
    child = 2 * root + 1
    while child < end:
        if child + 1 < end and values[child] < values[child + 1]:
            child += 1
        if values[child] <= value:
            break
        values[hole] = values[child]
        hole = child
        child = 2 * hole + 1
    values[hole] = value


def heap_sort(values: Ptr[u32], count: u64) -> None:
    """Sort values[0:count], smallest first."""
    root = count // 2
    while root > 0:
        root -= 1
        sift_down(values, root, count)
    end = count
    while end > 1:
        end -= 1
        values[0], values[end] = values[end], values[0]
        sift_down(values, 0, end)
