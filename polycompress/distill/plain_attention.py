"""Attention by plain products, for training on CPUs in bf16, where torch's fused attention has a slow backward pass.

Fused attention saves the memory of the maps. On CPUs its gradient in bf16 takes four to fifteen times as long as the
products themselves for texts of up to some hundred tokens; forward, and in fp32, it is as fast as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

LONGEST: Final = 256
"""Tokens; for longer texts fused attention takes as little time, and far less memory."""


def plain_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float | None = None
) -> Tensor:
    """softmax(Q K^T scale + mask) V, everything in fp32.

    Args:
        queries: (B, A, n, d)
        keys: (B, A, m, d)
        values: (B, A, m, e)
        mask: Broadcasts to (B, A, n, m): bool, True for keys that are looked at, or numbers to be added to scores.
            A query that looks at nothing looks at all keys evenly.
        scale: None: 1 / sqrt(d).

    Returns:
        (B, A, n, e), of the values' type.

    Reference:
        Vaswani et al., "Attention is all you need" (2017), equation 1.
    """
    with torch.autocast(queries.device.type, enabled=False):
        factor = queries.shape[-1] ** -0.5 if scale is None else scale
        scores = (queries.float() * factor) @ keys.float().transpose(-1, -2)
        if mask is not None and mask.dtype == torch.bool:
            # Added rather than filled in: a sum's gradient costs nothing, and the mask is the same for all heads.
            mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(
                ~mask, torch.finfo(scores.dtype).min
            )
        if mask is not None:
            scores = scores.add_(mask)
        return (torch.softmax(scores, dim=-1) @ values.float()).to(values.dtype)


class PlainAttention(TorchFunctionMode):  # type: ignore[misc]
    """Within it, attention whose gradient would be slow is computed by ``plain_attention``, and all else as always."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do what was called, or its equal."""
        run = _attend if func is functional.scaled_dot_product_attention else func
        return run(*args, **(kwargs or {}))


def plain_where_faster(device: torch.device) -> AbstractContextManager[Any]:
    """``PlainAttention`` where a gradient on a CPU may be wanted, and nothing elsewhere.

    Args:
        device: Of the model's inputs.
    """
    return PlainAttention() if device.type == "cpu" and torch.is_grad_enabled() else nullcontext()


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **others: Any,
) -> Tensor:
    """Torch's function, which the mode does not see from here, or ours."""
    shared = others.get("enable_gqa", False)
    if is_causal or dropout_p or shared or not is_slow(query, key, value):
        fused: Tensor = functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, **others
        )
        return fused
    return plain_attention(query, key, value, attn_mask, others.get("scale"))


def is_slow(queries: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether the gradient of fused attention is wanted, and slower than that of the products."""
    return (
        torch.is_grad_enabled()
        and any(each.requires_grad for each in (queries, keys, values))
        and queries.device.type == "cpu"
        and queries.dtype == torch.bfloat16
        and keys.shape[-2] <= LONGEST
    )
