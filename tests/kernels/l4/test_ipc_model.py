"""The kernel's IPC against a plain model: random sequences of steps, and all short ones.

`--hypothesis-profile=long` looks for bugs until it is stopped. L4_DEPTH=n (4 takes a minute or so) makes the
exhaustive exploration deeper.
"""

import copy
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from macadamia.kernels.l4.timeouts import heap
from macadamia.lang import memory
from tests.kernels.l4.harness import SIZES, Kernel
from tests.kernels.l4.ipc_model import LINE, NAMES, Model, Step, begin, compare, perform

DEPTH = int(os.environ.get("L4_DEPTH", "3"))


def steps(names: str) -> st.SearchStrategy[Step]:
    """Any one step of these threads."""
    one = st.sampled_from(names)
    timeout = st.sampled_from(("never", "zero", "finite"))
    ipc = st.tuples(
        *(
            st.just("ipc"),
            one,
            st.sampled_from(("", *names, LINE)),
            st.sampled_from(("", "any", *names, LINE)),
        ),
        *(st.integers(1, 1 << 60), timeout, timeout),
    )
    return st.one_of(
        *(ipc, ipc, ipc, ipc),
        st.tuples(st.just("cancel"), one, st.sampled_from(("send", "receive"))),
        st.tuples(st.sampled_from(("halt", "resume", "resume", "delete", "create", "create")), one),
        st.tuples(st.just("pass_time"), st.sampled_from((1, 7, 19, 20, 21))),
        st.tuples(st.just("fire")),
    )


@given(count=st.integers(2, 4), data=st.data(), profile=st.sampled_from(("checked", "release")))
@settings(deadline=None)
def test_random_steps(count: int, data: st.DataObject, profile: str) -> None:
    kernel, model = begin(count, profile), Model(count)
    for step in data.draw(st.lists(steps(NAMES[:count]), max_size=40)):
        if model.is_possible(step):
            model.apply(step)
            perform(kernel, step)
            compare(kernel, model)


TWO_THREADS: tuple[Step, ...] = (
    *(("ipc", "A", "B", from_, 1, "finite", "finite") for from_ in ("", "A", "B", "any")),
    *(("ipc", "B", "A", from_, 2, "never", "zero") for from_ in ("", "A", "any")),
    ("ipc", "A", "", "any", 3, "never", "finite"),
    ("ipc", "B", "", "A", 4, "never", "never"),
    ("ipc", "A", "A", "B", 5, "never", "never"),
    ("ipc", "A", LINE, LINE, 6, "never", "never"),
    *(("cancel", "A", phase) for phase in ("send", "receive")),
    *((name, thread) for name in ("halt", "resume", "delete") for thread in "AB"),
    ("create", "B"),
    ("pass_time", 20),
    ("fire",),
)


def saved() -> list[tuple[int, bytes]]:
    """All the kernel's state, of this process's memory; the frames of spaces among it."""
    return [(address, memory.bytes_at(address, size)) for address, size in REGIONS.items()]


REGIONS = SIZES | {heap.kernel_address: 1024}


def explore(kernel: Kernel, model: Model, depth: int) -> int:
    """Take every step from here, and every step from there. The number of states seen."""
    seen = 1
    if depth == 0:
        return seen
    before = [*saved(), (kernel.pool_start, memory.bytes_at(kernel.pool_start, kernel.pool_used))]
    for step in TWO_THREADS:
        if not model.is_possible(step):
            continue
        then = copy.deepcopy(model)
        then.apply(step)
        perform(kernel, step)
        compare(kernel, then)
        seen += explore(kernel, then, depth - 1)
        for address, content in before:
            memory.write(address, content)
    return seen


def test_all_short_sequences() -> None:
    kernel, model = begin(2), Model(2)
    assert explore(kernel, model, DEPTH) > 1000
