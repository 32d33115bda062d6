"""The measured algorithms do what they say, in CPython and compiled; and the C side agrees with them."""

import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from macadamia.examples import bit_scan, crc32, hash_table, list_walk, page_walk, red_black_tree, sort
from macadamia.lab.measure import against_c
from macadamia.lang import Array, Ptr, cast, static, u8, u32, u64
from macadamia.lang import range as kernel_range
from macadamia.lang.memory import memory
from tests.lang.three_ways import run_three_ways

values = static(Array[u32, 100])
data = static(Array[u8, 300])
table = static(hash_table.HashTable)
tree = static(red_black_tree.Tree)
nodes = static(Array[red_black_tree.Node, 64])
bitmap = static(bit_scan.Bitmap)
head = static(list_walk.Thread)
threads = static(Array[list_walk.Thread, 8])
physical = static(page_walk.PhysicalMemory)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 100])
def test_sort(count: int) -> None:
    numbers = random.Random(count).choices(range(50), k=count)
    memory.write(values.kernel_address, b"".join(number.to_bytes(4, "little") for number in numbers))
    run_three_ways(sort.heap_sort, cast(u32, values), u64(count))
    assert [int(values[i]) for i in range(count)] == sorted(numbers)


def test_crc32_is_that_of_zlib() -> None:
    content = random.Random(1).randbytes(300)
    memory.write(data.kernel_address, content)
    for count in (0, 1, 7, 300):
        assert run_three_ways(crc32.crc32, cast(u8, data), u64(count)) == zlib.crc32(content[:count])


def insert(key: u64, value: u64) -> bool:
    return table.insert(key, value)


def remove(key: u64) -> bool:
    return table.remove(key)


def lookup(key: u64) -> u64:
    slot = table.find(key)
    return slot.value if slot is not None else u64(0)


def test_hash_table_is_a_dictionary() -> None:
    """Keys whose homes collide, so that removal has entries to move back."""
    model: dict[int, int] = {}
    steps = random.Random(2)
    keys = [key for key in range(1, 40_000) if hash_table.home_of(u64(key)) % 1024 < 4][:40]
    for step in range(1, 300):
        key = steps.choice(keys)
        if steps.random() < 0.6:
            assert run_three_ways(insert, u64(key), u64(step)) is True
            model[key] = step
        else:
            assert run_three_ways(remove, u64(key)) is (model.pop(key, None) is not None)
        probe = steps.choice(keys)
        assert run_three_ways(lookup, u64(probe)) == model.get(probe, 0)
    assert table.count == len(model)


def build_tree(count: u64) -> None:
    tree.make_empty()
    for i in kernel_range(count):
        tree.insert(nodes[i])


def black_height(node: Any) -> int:
    """Checks a subtree's order and colours; the number of black nodes on each of its branches."""
    if node == tree.nil:
        return 1
    left, right = node.children[0], node.children[1]
    assert left == tree.nil or left.key <= node.key
    assert right == tree.nil or right.key >= node.key
    assert not (node.red and (left.red or right.red))
    heights = {black_height(left), black_height(right)}
    assert len(heights) == 1
    return heights.pop() + (not node.red)


def in_order(node: Any) -> list[int]:
    if node == tree.nil:
        return []
    return [*in_order(node.children[0]), int(node.key), *in_order(node.children[1])]


def test_red_black_tree_keeps_its_rules() -> None:
    keys = random.Random(3).choices(range(40), k=64)
    for i, key in enumerate(keys):
        nodes[i].key = u64(key)
    for count in (1, 2, 3, 10, 64):
        run_three_ways(build_tree, u64(count))
        black_height(tree.root)
        assert in_order(tree.root) == sorted(keys[:count])


def allocate() -> u64:
    return bitmap.allocate()


def test_bitmap_gives_the_lowest() -> None:
    for identifier in (700, 3, 64, 4095):
        bitmap.release(u64(identifier))
    assert [int(run_three_ways(allocate)) for _ in range(5)] == [3, 64, 700, 4095, bit_scan.NONE_FREE]


def enqueue_all(order: Ptr[u64], count: u64) -> None:
    head.make_head()
    for i in kernel_range(count):
        list_walk.enqueue(head, threads[order[i]])


def test_list_is_in_order_of_priority_and_arrival() -> None:
    order = static(Array[u64, 8], [5, 2, 7, 0, 1, 6, 3, 4])
    for i in range(8):
        threads[i].identifier = u64(i)
        threads[i].priority = u32(i % 3)
    run_three_ways(enqueue_all, cast(u64, order), u64(8))
    found, thread = [], head.next
    while thread != head:
        found.append(int(thread.identifier))
        thread = thread.next
    assert found == sorted([5, 2, 7, 0, 1, 6, 3, 4], key=lambda i: -(i % 3))


def map_and_translate(address: u64, frame: u64, level: u64, probe: u64) -> u64:
    physical.clear()
    if not page_walk.map_page(physical, address, frame, level):
        return 1
    return page_walk.translate(physical, probe)


def test_page_walk() -> None:
    walk: Callable[..., Any] = map_and_translate
    small = (u64(0x7F12_3456_7000), u64(0xABC_D000), u64(1))
    assert run_three_ways(walk, *small, u64(0x7F12_3456_7FFF)) == 0xABC_DFFF
    assert run_three_ways(walk, *small, u64(0x7F12_3456_8000)) == page_walk.NOT_MAPPED
    large = (u64(0x4000_0000), u64(0x120_0000), u64(2))
    assert run_three_ways(walk, *large, u64(0x4012_3456)) == 0x120_0000 + 0x12_3456
    assert run_three_ways(walk, *large, u64(0x4020_0000)) == page_walk.NOT_MAPPED


def test_c_agrees_and_is_no_cheaper_than_allowed(tmp_path: Path) -> None:
    """The figures to reach are checked here too: instruction counts do not vary."""
    from macadamia.lab.bench_lang import MEAN_RATIO, WORST_RATIO
    from macadamia.lab.measure.rows import geometric_mean

    measured = against_c.instructions(tmp_path, "release")
    ratios = {c.case: python.cost / c.cost for c, python in zip(measured[::2], measured[1::2], strict=True)}
    assert max(ratios.values()) <= WORST_RATIO, ratios
    assert geometric_mean([*ratios.values()]) <= MEAN_RATIO, ratios
