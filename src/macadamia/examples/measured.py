"""What `mac bench lang` runs: each algorithm on data made the same way in C (bench/lang/*.c).

A case is three functions: `_setup` prepares the data, `_run` is measured, `_result` gives one number that
depends on all of what `_run` has done. Only `_run` counts.
"""

from macadamia.examples.bit_scan import NONE_FREE, Bitmap
from macadamia.examples.copy import copy_words
from macadamia.examples.crc32 import crc32
from macadamia.examples.hash_table import HashTable
from macadamia.examples.list_walk import Thread, enqueue, find, total_ticks
from macadamia.examples.page_walk import PhysicalMemory, map_page, translate
from macadamia.examples.red_black_tree import Node, Tree
from macadamia.examples.sort import heap_sort
from macadamia.lang import Array, Struct, export, pointer_to, range, static, u8, u32, u64

SEED = 0x2545_F491_4F6C_DD1D


class Random(Struct):
    """xorshift64 (Marsaglia, 2003)."""

    state: u64

    def next(self) -> u64:
        self.state ^= self.state << 13
        self.state ^= self.state >> 7
        self.state ^= self.state << 17
        return self.state


random = static(Random)
outcome = static(u64)  # what the last `_run` computed, when that is one number


def mix(digest: u64, value: u64) -> u64:
    """Fold one value into a digest that depends on the order."""
    return (digest ^ value) * 0x0000_0100_0000_01B3


# Sort

SORT_COUNT = 10_000
sort_values = static(Array[u32, SORT_COUNT])


@export("python_sort_setup")
def sort_setup() -> None:
    random.state = SEED
    for i in range(SORT_COUNT):
        sort_values[i] = u32.wrap(random.next())


@export("python_sort_run")
def sort_run() -> None:
    heap_sort(pointer_to(sort_values[0]), SORT_COUNT)


@export("python_sort_result")
def sort_result() -> u64:
    digest = u64(0)
    for i in range(SORT_COUNT):
        digest = mix(digest, sort_values[i])
    return digest


# CRC-32

CRC_BYTES = 65_536
crc_data = static(Array[u8, CRC_BYTES])


@export("python_crc32_setup")
def crc32_setup() -> None:
    random.state = SEED
    for i in range(CRC_BYTES):
        crc_data[i] = u8.wrap(random.next())


@export("python_crc32_run")
def crc32_run() -> None:
    outcome[0] = crc32(pointer_to(crc_data[0]), CRC_BYTES)


@export("python_crc32_result")
def crc32_result() -> u64:
    return outcome[0]


# Hash table

HASH_KEYS = 3_000
hash_table = static(HashTable)
hash_keys = static(Array[u64, HASH_KEYS])


@export("python_hash_table_setup")
def hash_table_setup() -> None:
    random.state = SEED
    hash_table.clear()
    for i in range(HASH_KEYS):
        hash_keys[i] = random.next()


@export("python_hash_table_run")
def hash_table_run() -> None:
    """Insert all keys, remove every third, look for all."""
    for i in range(HASH_KEYS):
        hash_table.insert(hash_keys[i], i)
    for i in range(0, HASH_KEYS, 3):
        hash_table.remove(hash_keys[i])
    total = u64(0)
    for i in range(HASH_KEYS):
        slot = hash_table.find(hash_keys[i])
        if slot is not None:
            total += slot.value
    outcome[0] = total


@export("python_hash_table_result")
def hash_table_result() -> u64:
    return mix(outcome[0], hash_table.count)


# Red-black tree

TREE_NODES = 4_000
tree = static(Tree)
tree_nodes = static(Array[Node, TREE_NODES])


@export("python_red_black_tree_setup")
def red_black_tree_setup() -> None:
    random.state = SEED
    tree.make_empty()
    for i in range(TREE_NODES):
        tree_nodes[i].key = random.next() % (2 * TREE_NODES)


@export("python_red_black_tree_run")
def red_black_tree_run() -> None:
    """Insert all nodes, look for twice as many keys."""
    for i in range(TREE_NODES):
        tree.insert(tree_nodes[i])
    found = u64(0)
    for key in range(2 * TREE_NODES):
        if tree.find(key):
            found += 1
    outcome[0] = found


@export("python_red_black_tree_result")
def red_black_tree_result() -> u64:
    """The number of keys found, and the colours and parents of all nodes."""
    digest = outcome[0]
    for i in range(TREE_NODES):
        node = tree_nodes[i]
        digest = mix(digest, node.parent.key)
        digest = mix(digest, u64(node.red))
    return digest


# Page-table walk

WALK_REGIONS = 8
WALK_PAGES = 512  # per region
WALK_LOOKUPS = 20_000
WALK_REGION_SHIFT = 36
physical_memory = static(PhysicalMemory)


@export("python_page_walk_setup")
def page_walk_setup() -> None:
    """Eight sparse regions; every fourth begins with a large page."""
    random.state = SEED
    physical_memory.clear()
    for region in range(WALK_REGIONS):
        start = region << WALK_REGION_SHIFT
        first_page = u64(0)
        if region % 4 == 0:
            map_page(physical_memory, start, region << 21, 2)
            first_page = 512
        for page in range(first_page, first_page + WALK_PAGES):
            map_page(physical_memory, start + (page << 12), random.next() & 0xF_FFFF_F000, 1)


@export("python_page_walk_run")
def page_walk_run() -> None:
    """Translate addresses in pages that are mapped, and in as many that are not."""
    address_of_region = u64(0)
    digest = u64(0)
    for i in range(WALK_LOOKUPS):
        page = i * 7 % (2 * WALK_PAGES)
        digest += translate(physical_memory, address_of_region + (page << 12) + i % 4096)
        address_of_region = (address_of_region + (1 << WALK_REGION_SHIFT)) % (
            WALK_REGIONS << WALK_REGION_SHIFT
        )
    outcome[0] = digest


@export("python_page_walk_result")
def page_walk_result() -> u64:
    return outcome[0]


# Copy

COPY_WORDS = 8_192
copy_source = static(Array[u64, COPY_WORDS])
copy_target = static(Array[u64, COPY_WORDS])


@export("python_copy_setup")
def copy_setup() -> None:
    random.state = SEED
    for i in range(COPY_WORDS):
        copy_source[i] = random.next()
        copy_target[i] = 0


@export("python_copy_run")
def copy_run() -> None:
    copy_words(pointer_to(copy_target[0]), pointer_to(copy_source[0]), COPY_WORDS)


@export("python_copy_result")
def copy_result() -> u64:
    digest = u64(0)
    for i in range(COPY_WORDS):
        digest = mix(digest, copy_target[i])
    return digest


# Bit scan

SCAN_ROUNDS = 20
bitmap = static(Bitmap)


@export("python_bit_scan_setup")
def bit_scan_setup() -> None:
    random.state = SEED
    bitmap.fill()


@export("python_bit_scan_run")
def bit_scan_run() -> None:
    """Take all identifiers, then let a few go and take them again, several times."""
    digest = u64(0)
    while True:
        identifier = bitmap.allocate()
        if identifier == NONE_FREE:
            break
        digest += identifier
    for turn in range(SCAN_ROUNDS):
        for i in range(64):
            bitmap.release((i * i + turn * 61) % NONE_FREE)
        for _ in range(64):
            digest = mix(digest, bitmap.allocate())
    outcome[0] = digest


@export("python_bit_scan_result")
def bit_scan_result() -> u64:
    return outcome[0]


# List walk

LIST_THREADS = 200
list_head = static(Thread)
list_threads = static(Array[Thread, LIST_THREADS])


@export("python_list_walk_setup")
def list_walk_setup() -> None:
    random.state = SEED
    list_head.make_head()
    for i in range(LIST_THREADS):
        thread = list_threads[i]
        thread.identifier = i
        thread.priority = u32(random.next() % 32)
        thread.ticks = u32(random.next() % 1000)


@export("python_list_walk_run")
def list_walk_run() -> None:
    """Enqueue all, find each, unlink every other, sum up."""
    for i in range(LIST_THREADS):
        enqueue(list_head, list_threads[i])
    for i in range(0, LIST_THREADS, 2):
        thread = find(list_head, i)
        if thread is not None:
            thread.unlink()
    total = u64(0)
    for _ in range(20):
        total += total_ticks(list_head)
    outcome[0] = total


@export("python_list_walk_result")
def list_walk_result() -> u64:
    return mix(outcome[0], list_head.next.identifier)


CASES = ("sort", "crc32", "hash_table", "red_black_tree", "page_walk", "copy", "bit_scan", "list_walk")
STAGES = ("setup", "run", "result")
