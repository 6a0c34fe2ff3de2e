"""Where a model is evaluated, and in which precision."""

from __future__ import annotations

from typing import Literal

import torch

from polycompress.errors import InputError

Precision = Literal["fp32", "bf16"]

_FAST = ("avx512_bf16", "amx_bf16")


def choose_device(asked: str | torch.device = "auto") -> torch.device:
    """A device; ``auto`` takes a GPU where there is one.

    Raises:
        InputError: There is no such device here.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise InputError(f"device is {asked!r}: give auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device is {str(asked)!r}, but torch finds no GPU here: give auto or cpu.")
    return device


def choose_precision(
    asked: Literal["auto", "fp32", "bf16"] = "auto", device: torch.device | str = "cpu"
) -> Precision:
    """A precision; ``auto`` takes bf16 where the device multiplies in it.

    Raises:
        InputError: No such precision, or a GPU that cannot compute in bf16.
    """
    if asked not in ("auto", "fp32", "bf16"):
        raise InputError(f"precision is {asked!r}: give auto, fp32 or bf16.")
    on_gpu = torch.device(device).type == "cuda"
    if asked == "bf16" and on_gpu and not torch.cuda.is_bf16_supported():
        raise InputError("precision is 'bf16', which this GPU cannot compute in: use fp32.")
    if asked != "auto":
        return asked
    fast = torch.cuda.is_bf16_supported() if on_gpu else cpu_multiplies_bf16()
    return "bf16" if fast else "fp32"


def cpu_multiplies_bf16() -> bool:
    """Whether this processor has AVX512_BF16 or AMX for bf16; without them bf16 is slower than fp32."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is None:  # torch below 2.11
        return bool(torch.cpu._is_avx512_bf16_supported())
    found = capabilities()
    return any(found.get(name) for name in _FAST)
