"""Kernels are compiled into a cache of the test run, and unwritten memory is poisoned where a test asks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kernels.triton_tools import poisoned_memory


@pytest.fixture(scope="session", autouse=True)
def own_triton_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep Triton's compiled kernels out of the home directory, and never take old ones from there."""
    with pytest.MonkeyPatch.context() as patch:
        if "TRITON_CACHE_DIR" not in os.environ:
            patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        if "TRITON_DEFAULT_FP_FUSION" not in os.environ:
            # Unset, Triton 3.9 warns that its default will change.
            patch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
        yield


@pytest.fixture
def poisoned() -> Iterator[None]:
    """``torch.empty`` gives NaN."""
    with poisoned_memory():
        yield
