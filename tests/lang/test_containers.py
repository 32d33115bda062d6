"""The containers, three ways: against Python's own lists, sets, dicts and sorting, by random operations."""

from builtins import range as builtin_range
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from macadamia.lang import Array, Ptr, Struct, cast, memory, range, static, u16, u32, u64
from macadamia.lang.containers import Bitmap, Heap, LinkedList, Links, RadixTree
from tests.lang.three_ways import TrapKind, run_three_ways, trap_three_ways

COUNT = 12


class Thread(Struct):
    number: u64
    deadline: u32
    heap_index: u64
    ready: "Links[Thread]"
    waiting: "Links[Thread]"


class ReadyList(LinkedList[Thread]):
    def links(self, item: Ptr[Thread]) -> Ptr[Links[Thread]]:
        return item.ready


class WaitingList(LinkedList[Thread]):
    def links(self, item: Ptr[Thread]) -> Ptr[Links[Thread]]:
        return item.waiting


class Timeouts(Heap[Ptr[Thread]], capacity=COUNT):
    def before(self, left: Ptr[Thread], right: Ptr[Thread]) -> bool:
        return left.deadline < right.deadline

    def placed(self, item: Ptr[Thread], index: u64) -> None:
        item.heap_index = index


class Numbers(Heap[u16], capacity=COUNT):
    def before(self, left: u16, right: u16) -> bool:
        return left > right


class Frames(Bitmap, size=150):
    pass


class Table(RadixTree[Thread], key_bits=16, nodes=5):
    pass


threads = static(Array[Thread, COUNT])
for position in range(COUNT):
    threads[position].number = position
ready = static(ReadyList)
waiting = static(WaitingList)
timeouts = static(Timeouts)
numbers = static(Numbers)
frames = static(Frames)
table = static(Table)
order = static(Array[u64, COUNT])


@pytest.fixture(autouse=True)
def same_memory() -> Any:
    before = memory.save()
    yield
    memory.restore(before)


# Linked lists


def list_append(number: u64) -> None:
    ready.append(threads[number])
    waiting.prepend(threads[number])


def list_insert(number: u64, following: u64) -> None:
    ready.insert(threads[number], threads[following])
    waiting.append(threads[number])


def list_remove(number: u64) -> None:
    ready.remove(threads[number])
    waiting.remove(threads[number])


def list_take() -> bool:
    item = ready.take_first()
    if item is None:
        return False
    waiting.remove(item)
    return True


def list_order() -> u64:
    """Number of items; their numbers go into `order`."""
    count = u64(0)
    item = ready.first
    while item is not None:
        order[count] = item.number
        count += 1
        item = ready.links(item).next
    assert count == ready.count
    assert count == waiting.count
    assert ready.is_empty() == (count == 0)
    return count


def backwards() -> u64:
    """As `list_order`, from the end."""
    count = u64(0)
    item = ready.last
    while item is not None:
        order[count] = item.number
        count += 1
        item = ready.links(item).previous
    return count


def in_order(function: Any) -> list[int]:
    count = int(run_three_ways(function))
    return [int(number) for number in order][:count]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("airt"), st.integers(0, COUNT - 1), st.integers(0, COUNT - 1))))
def test_linked_list(operations: list[tuple[str, int, int]]) -> None:
    before, model = memory.save(), list[int]()
    for name, number, other in operations:
        if name == "a" and number not in model:
            run_three_ways(list_append, u64(number))
            model.append(number)
        elif name == "i" and number not in model and other in model:
            run_three_ways(list_insert, u64(number), u64(other))
            model.insert(model.index(other), number)
        elif name == "r" and number in model:
            run_three_ways(list_remove, u64(number))
            model.remove(number)
        elif name == "t":
            assert run_three_ways(list_take) == bool(model)
            model[:1] = []
    assert in_order(list_order) == model
    assert in_order(backwards) == model[::-1]
    memory.restore(before)


def test_linked_list_refuses_what_it_has() -> None:
    run_three_ways(list_append, u64(3))
    assert trap_three_ways(list_append, u64(3)) == TrapKind.ASSERT


# Heaps


def heap_add(number: u64, deadline: u32) -> None:
    threads[number].deadline = deadline
    timeouts.add(threads[number])


def heap_take() -> u32:
    return timeouts.take().deadline


def heap_remove(number: u64) -> u32:
    thread = threads[number]
    timeouts.remove(thread.heap_index)
    return thread.deadline


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("aatr"), st.integers(0, COUNT - 1), st.integers(0, 20))))
def test_heap_of_pointers(operations: list[tuple[str, int, int]]) -> None:
    before, model = memory.save(), dict[int, int]()
    for name, number, deadline in operations:
        if name == "a" and number not in model:
            run_three_ways(heap_add, u64(number), u32(deadline))
            model[number] = deadline
        elif name == "r" and number in model:
            assert run_three_ways(heap_remove, u64(number)) == model.pop(number)
        elif name == "t" and model:
            least = timeouts.items[0].number
            assert run_three_ways(heap_take) == min(model.values())
            model.pop(int(least))
    assert timeouts.count == len(model)
    memory.restore(before)


def sorted_by_heap(a: u16, b: u16, c: u16, d: u16) -> tuple[u16, u16, u16, u16]:
    numbers.add(a)
    numbers.add(b)
    numbers.add(c)
    numbers.add(d)
    return numbers.take(), numbers.take(), numbers.take(), numbers.take()


def overfill() -> None:
    for i in range(COUNT + 1):
        numbers.add(u16(i))


def test_heap_of_numbers() -> None:
    assert run_three_ways(sorted_by_heap, u16(3), u16(9), u16(1), u16(9)) == (9, 9, 3, 1)
    assert trap_three_ways(overfill) == TrapKind.ASSERT
    assert trap_three_ways(heap_take) == TrapKind.ASSERT


# Bitmaps


def bitmap_add(number: u64) -> bool:
    frames.add(number)
    return frames.contains(number)


def bitmap_discard(number: u64) -> bool:
    frames.discard(number)
    return frames.contains(number)


def bitmap_search(start: u64) -> tuple[u64, u64, u64]:
    return frames.next_member(start), frames.next_free(start), frames.count()


def bitmap_take() -> u64:
    return frames.take_free()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 149))),
    st.lists(st.integers(0, 160), min_size=1, max_size=5),
)
def test_bitmap(operations: list[tuple[bool, int]], starts: list[int]) -> None:
    before, model = memory.save(), set[int]()
    for add, number in operations:
        assert run_three_ways(bitmap_add if add else bitmap_discard, u64(number)) is add
        (model.add if add else model.discard)(number)
    for start in starts:
        after = builtin_range(start, 150)
        member = next((n for n in after if n in model), 150)
        free = next((n for n in after if n not in model), 150)
        assert run_three_ways(bitmap_search, u64(start)) == (member, free, len(model))
    memory.restore(before)


def test_full_bitmap() -> None:
    taken = [int(frames.take_free()) for _ in builtin_range(150)]
    assert taken == list(builtin_range(150))
    assert run_three_ways(bitmap_take) == 150
    assert run_three_ways(bitmap_search, u64(0)) == (0, 150, 150)
    assert trap_three_ways(bitmap_add, u64(150)) == TrapKind.ASSERT


# Radix trees


def tree_insert(key: u64, number: u64) -> bool:
    return table.insert(key, threads[number])


def tree_find(key: u64) -> u64:
    """The number of the thread, COUNT if there is none."""
    found = table.find(key)
    return found.number if found is not None else COUNT


def tree_remove(key: u64) -> u64:
    found = table.remove(key)
    return found.number if found is not None else COUNT


def nodes_needed(keys: set[int]) -> int:
    return len({(level, key >> level * 6) for key in keys for level in (1, 2, 3)})


KEYS = st.sampled_from([0, 1, 63, 64, 65, 4095, 4096, 4097, 8192, 40000, 65535])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), KEYS, st.integers(0, COUNT - 1)), max_size=30))
def test_radix_tree(operations: list[tuple[bool, int, int]]) -> None:
    before, model = memory.save(), dict[int, int]()
    for insert, key, number in operations:
        if insert and key not in model:
            room = nodes_needed({*model, key}) <= 5
            assert run_three_ways(tree_insert, u64(key), u64(number)) is room
            if room:
                model[key] = number
        elif not insert:
            assert run_three_ways(tree_remove, u64(key)) == model.pop(key, COUNT)
        assert run_three_ways(tree_find, u64(key)) == model.get(key, COUNT)
    assert table.in_use == nodes_needed(set(model))
    memory.restore(before)


def test_radix_tree_refuses() -> None:
    assert run_three_ways(tree_insert, u64(5), u64(1)) is True
    assert trap_three_ways(tree_insert, u64(5), u64(2)) == TrapKind.ASSERT
    assert trap_three_ways(tree_find, u64(1 << 16)) == TrapKind.ASSERT


# What specialisation makes


def test_each_class_has_its_own_layout() -> None:
    assert Frames.WORDS == 3
    assert Table.LEVELS == 3
    assert [
        Timeouts.__kernel_type__.by_name["items"].type,
        Numbers.__kernel_type__.by_name["items"].type,
    ] == [
        Array[Ptr[Thread], COUNT],
        Array[u16, COUNT],
    ]
    assert Heap[u16] is Heap[u16]
    assert Links[Thread].__kernel_type__.size == 16
    assert cast(Thread, threads).ready == threads[0].ready
