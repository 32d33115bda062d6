"""A fresh simulated kernel for each test, in both profiles."""

from typing import Any

import pytest

from tests.kernels.l4.harness import Kernel


@pytest.fixture(params=["checked", "release"])
def kernel(request: Any) -> Kernel:
    """sigma0 and the root task are ready."""
    return Kernel(request.param)


@pytest.fixture
def pair(kernel: Kernel) -> tuple[Any, Any]:
    """Two ready threads in different spaces."""
    return kernel.spawn_space(51), kernel.spawn_space(52)
