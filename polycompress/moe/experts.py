"""The modules of one layer's experts and of its router."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn

from polycompress.moe.fused import can_fuse, fused_networks
from polycompress.moe.segments import segment_networks
from polycompress.moe.sorting import Groups, combine, gather

PARAMETERS: Final = ("up", "up_bias", "down", "down_bias", "gate")
"""Of experts; some have no biases, some no gate."""


class Router(nn.Module):  # type: ignore[misc]
    """A linear layer without bias over experts that stays in fp32 whatever the model's type becomes.

    Args:
        hidden: d.
        experts: E.
        device: Of the weight.
    """

    def __init__(self, hidden: int, experts: int, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, hidden, device=device, dtype=torch.float32))

    def reset_parameters(self, std: float) -> None:
        """Random normal values."""
        nn.init.normal_(self.weight, std=std)

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits, (T, d) to (T, E), in the weight's type even where an autocast says another."""
        with torch.autocast(hidden.device.type, enabled=False):
            return nn.functional.linear(hidden.to(self.weight.dtype), self.weight)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.weight.shape[1]}, experts={self.weight.shape[0]}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        def wide(tensor: Tensor) -> Tensor:
            changed = fn(tensor)
            narrowed = changed.is_floating_point() and changed.element_size() < 4
            return tensor.to(changed.device) if narrowed else changed

        return super()._apply(wide, recurse)


class Experts(nn.Module):  # type: ignore[misc]
    """E feed-forward networks side by side, each token computed by its own k of them.

    Args:
        experts: E.
        hidden: d.
        inner: f.
        gated: Whether the inner vector is activation(gate) * up.
        bias: Whether both ends have biases.
        activation: Elementwise.
        device: Of the parameters.
        dtype: Of the parameters.
    """

    def __init__(
        self,
        experts: int,
        hidden: int,
        inner: int,
        *,
        gated: bool,
        bias: bool,
        activation: Callable[[Tensor], Tensor],
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self.activation = activation
        self.gate = nn.Parameter(torch.empty(experts, inner, hidden, **options)) if gated else None
        self.up = nn.Parameter(torch.empty(experts, inner, hidden, **options))
        self.up_bias = nn.Parameter(torch.empty(experts, inner, **options)) if bias else None
        self.down = nn.Parameter(torch.empty(experts, hidden, inner, **options))
        self.down_bias = nn.Parameter(torch.empty(experts, hidden, **options)) if bias else None

    @property
    def number(self) -> int:
        """E."""
        return len(self.up)

    def reset_parameters(self, std: float) -> None:
        """Random normal matrices and zero biases."""
        for parameter in (self.gate, self.up, self.down):
            if parameter is not None:
                nn.init.normal_(parameter, std=std)
        for parameter in (self.up_bias, self.down_bias):
            if parameter is not None:
                nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of each token's experts.

        Args:
            hidden: (T, d)
            indices: (T, k), distinct in each row.
            weights: (T, k)

        Returns:
            (T, d), of the type that the products are computed in: autocast's, else the parameters'.
        """
        dtype = _compute_dtype(hidden, self.up.dtype)
        groups = Groups.of(indices, self.number)
        hidden = hidden.to(dtype)
        parameters = {name: each for name in PARAMETERS if (each := getattr(self, name)) is not None}
        if not can_fuse(hidden, self.up):
            return segment_networks(hidden, weights, groups, self.activation, **parameters)
        narrow = {name: each.to(dtype) for name, each in parameters.items()}
        rows = gather(hidden, groups)
        return combine(fused_networks(rows, groups.counts, self.activation, **narrow), weights, groups)

    def extra_repr(self) -> str:
        """Sizes."""
        number, inner, hidden = self.up.shape
        return f"{number}, hidden={hidden}, inner={inner}, gated={self.gate is not None}"


def _compute_dtype(hidden: Tensor, dtype: torch.dtype) -> torch.dtype:
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else dtype
