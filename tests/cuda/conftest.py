"""The CUDA device that these tests run on."""

from __future__ import annotations

import pytest

import bp_arrays as bp
from bp_arrays.testing.pytest_plugin import usable_devices


@pytest.fixture
def cuda(request):
    """The last CUDA device that the tests run on: with --device cuda:1, the second one."""
    names = [name for name in usable_devices(request.config) if name.startswith("cuda")]
    if not names:
        pytest.skip("needs a CUDA device, or the emulated one")
    import cupy

    before = cupy.cuda.runtime.getDevice(), cupy.cuda.get_current_stream().ptr
    yield bp.device(names[-1])
    assert before == (cupy.cuda.runtime.getDevice(), cupy.cuda.get_current_stream().ptr)
