"""Which implementation of an operation runs: decided per call, visible in the signature."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from typing import Literal

from torch import Tensor

from polycompress.errors import InputError, MissingExtraError

Impl = Literal["auto", "reference", "triton"]
"""How a caller names an implementation: ``auto`` takes Triton on CUDA and the reference elsewhere."""


def choose_impl(impl: Impl, operation: str, *tensors: Tensor) -> Literal["reference", "triton"]:
    """The implementation that runs for these tensors.

    Args:
        impl: What the caller asks for.
        operation: Name of the operation, for messages.
        tensors: Its tensors; all have to be on one device.

    Returns:
        ``reference`` or ``triton``.

    Raises:
        InputError: The name is unknown, the tensors are on several devices, or Triton is asked for where it cannot run.
        MissingExtraError: Triton is asked for and not installed.
    """
    devices = sorted({str(tensor.device) for tensor in tensors})
    if len(devices) != 1:
        raise InputError(
            f"{operation}: its tensors are on {' and '.join(devices)}; move them to one device first"
        )
    on_cuda = devices[0].startswith("cuda")
    if impl == "auto":
        return "triton" if on_cuda and triton_installed() else "reference"
    if impl == "reference":
        return "reference"
    if impl != "triton":
        raise InputError(f'{operation}: impl={impl!r} is unknown; use "auto", "reference" or "triton"')
    if not triton_installed():
        raise MissingExtraError(f'{operation} with impl="triton"', "gpu")
    if not on_cuda and not interpreting():
        raise InputError(
            f'{operation}: impl="triton" needs CUDA tensors, these are on {devices[0]}; '
            f'use impl="auto", or set TRITON_INTERPRET=1 before Python starts to interpret the kernel'
        )
    return "triton"


@cache
def triton_installed() -> bool:
    """Whether Triton can be imported (it is not imported to find out)."""
    return importlib.util.find_spec("triton") is not None


def interpreting() -> bool:
    """Whether Triton's interpreter runs kernels on the CPU, as tests do."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in {"1", "true", "on", "yes"}
