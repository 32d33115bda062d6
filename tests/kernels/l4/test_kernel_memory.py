"""The pool of frames and the slabs, and how much the mapping database takes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from macadamia.kernels.l4.kernel_memory import kernel_memory
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr
from tests.kernels.l4.simulated import POOL, library, reset

POOL_PAGES = 64


def test_all_pages_can_be_had_once():
    free = reset(POOL_PAGES * PAGE_SIZE)
    pages = []
    while page := library().take_page():
        pages.append(int(page))
    assert len(set(pages)) == len(pages) == free
    assert all(POOL < page < POOL + POOL_PAGES * PAGE_SIZE for page in pages)
    assert library().take_pair() == 0
    assert kernel_memory.free_pages == 0


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 1000)), max_size=200))
def test_pages_and_pairs(steps: list[tuple[bool, bool, int]]):
    """Blocks never overlap, pairs are aligned, and free neighbours are a pair again."""
    free = reset(POOL_PAGES * PAGE_SIZE)
    held: list[tuple[int, int]] = []  # address, pages
    for allocate, pair, choice in steps:
        if allocate:
            block = int((library().take_pair if pair else library().take_page)())
            used = {address + n * PAGE_SIZE for address, count in held for n in range(count)}
            if block:
                pages = {block, block + PAGE_SIZE} if pair else {block}
                assert not pages & used
                assert not pair or block % (2 * PAGE_SIZE) == 0
                held.append((block, len(pages)))
            else:
                everything = range(POOL, POOL + POOL_PAGES * PAGE_SIZE, 2 * PAGE_SIZE)
                whole = [p for p in everything if p in used or p + PAGE_SIZE in used]
                assert len(whole) >= free // 2 if pair else len(used) == free
        elif held:
            address, count = held.pop(choice % len(held))
            (library().give_pair if count == 2 else library().give_page)(PhysAddr(address))
        assert kernel_memory.free_pages == free - sum(count for _, count in held)


def test_a_million_mappings(repository: Path):
    """The figure in the module's text: 81 bytes each, tables included, and all come back."""
    environment = os.environ | {"PYTHONPATH": f"{repository}:{repository / 'src'}"}
    command = [sys.executable, "-m", "tests.kernels.l4.million_mappings"]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 82
