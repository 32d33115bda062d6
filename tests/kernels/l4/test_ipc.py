"""Ipc: phases, waits, timeouts, errors."""

from typing import Any

import pytest

from macadamia.abi.l4.errors import IpcError
from macadamia.kernels.l4.thread import ThreadState
from tests.kernels.l4.harness import ANY, ANY_LOCAL, NIL, ZERO, Kernel, gid, lid


@pytest.fixture(params=["checked", "release"])
def kernel(request: Any) -> Kernel:
    return Kernel(request.param)


def test_boot(kernel: Kernel) -> None:
    kernel.check()
    assert kernel.root.state == ThreadState.READY


def test_send_to_a_waiting_thread(kernel: Kernel) -> None:
    one, two = kernel.spawn_space(51), kernel.spawn_space(52)
    assert kernel.ipc(two, NIL, int(one.id)) is None
    sent = kernel.ipc(one, int(two.id), NIL, *range(100, 120), label=7)
    assert sent is not None
    assert not sent.failed
    got = kernel.result(two)
    assert got.from_ == one.id
    assert got.tag == 7 << 16 | 20
    assert got.words[:20] == tuple(range(100, 120))
    kernel.check()
