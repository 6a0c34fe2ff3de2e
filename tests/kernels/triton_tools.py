"""What every test of a Triton kernel shares: the interpreter, the compiler without a GPU, poisoned memory.

A test of a kernel is written once, as a module-level function ``body(device)``; it runs

- interpreted: ``run_interpreted(body)`` in a process of its own with TRITON_INTERPRET=1, ``device="cpu"``;
- on a GPU: ``@gpu def test_...: body("cuda")``.

``compile_kernel`` builds a kernel for a named architecture on any machine.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURES = (80, 90)

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="triton is not installed (pip install 'polycompress[gpu]'): kernels neither interpreted nor compiled",
)
_no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


def gpu(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs a CUDA device and Triton."""
    marked: Callable[..., None] = pytest.mark.gpu(_no_gpu(needs_triton(test)))
    return marked


def run_interpreted(*bodies: Callable[[str], None]) -> None:
    """Call ``body("cpu")`` for each body in one fresh process in which Triton interprets its kernels.

    Args:
        bodies: Module-level functions of one test file.
    """
    file = Path(sys.modules[bodies[0].__module__].__file__ or "")
    names = [body.__name__ for body in bodies]
    code = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("interpreted_test", {str(file)!r})
module = importlib.util.module_from_spec(spec)
sys.modules["interpreted_test"] = module
spec.loader.exec_module(module)
for name in {names!r}:
    print("interpreting", name, flush=True)
    getattr(module, name)("cpu")
print("all passed")
"""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith("all passed\n")


def compile_kernel(
    kernel: Any, signature: Mapping[str, str], constants: Mapping[str, Any], architecture: int
) -> Any:
    """Compile a ``@triton.jit`` function for an architecture, without a GPU.

    Args:
        kernel: The function.
        signature: Type of every argument by name, constants left out: ``"*fp32"``, ``"*bf16"``, ``"i64"``, ``"fp64"``.
        constants: Values of the ``tl.constexpr`` arguments.
        architecture: 80 for sm_80, 90 for sm_90.

    Returns:
        Triton's compiled kernel; ``.asm`` holds ``ptx`` and ``cubin``.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("TRITON_INTERPRET=1 is set for this process: kernels are interpreted, not compiled")
    known = set(kernel.arg_names)
    assert set(signature) | set(constants) == known, (
        f"arguments without a type: {sorted(known - set(signature) - set(constants))}"
    )
    source = ASTSource(
        fn=kernel,
        signature={**signature, **dict.fromkeys(constants, "constexpr")},
        constexprs=dict(constants),
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
    assert f"sm_{architecture}" in compiled.asm["ptx"]
    assert len(compiled.asm["cubin"]) > 0
    return compiled


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Fill whatever ``torch.empty`` and its kin give with NaN, integers with the largest: unwritten memory shows."""

    def poison(real: Callable[..., Any]) -> Callable[..., Any]:
        def poisoned(*args: Any, **kwargs: Any) -> Any:
            made = real(*args, **kwargs)
            if made.is_floating_point():
                return made.fill_(float("nan"))
            return made.fill_(True if made.dtype is torch.bool else torch.iinfo(made.dtype).max)

        return poisoned

    with (
        patch.object(torch, "empty", poison(torch.empty)),
        patch.object(torch, "empty_like", poison(torch.empty_like)),
        patch.object(torch.Tensor, "new_empty", poison(torch.Tensor.new_empty)),
    ):
        yield
