"""Training only some weights: those that a full training moved furthest, as in lottery-ticket sparse fine-tuning.

The others keep their bits: their gradients are zero before the norm of all is taken, so their moments stay zero, and
weight decay passes them by.

Reference: Ansell, Ponti, Korhonen and Vulic, "Composable Sparse Fine-Tuning for Cross-Lingual Transfer" (ACL 2022),
section 3.1. The published code masks gradients only, so that weight decay moves all weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polycompress.distill.sft.mask import choose_mask
from polycompress.errors import InputError
from polycompress.kernels.embedding_gradient import merge_rows
from polycompress.kernels.prepared import sparse_rows

DECAY = "decay_where_free"
"""Key of an optimiser's group: the weight decay of those of its weights that may move."""


def select(before: Mapping[str, Tensor], after: Mapping[str, Tensor], k: int) -> dict[str, NDArray[np.int64]]:
    """The K weights that moved furthest, over all tensors; needs memory for one more copy of them in fp32.

    Args:
        before: Weights by name, each once: those of tied names under one name.
        after: The same after a training of all of them; others are left out.
        k: How many.

    Returns:
        For each name the chosen places, see ``choose_mask``.

    Raises:
        InputError: See ``choose_mask``.
    """
    changes = {
        name: (after[name].detach().float() - old.detach().to(after[name].device).float()).abs().cpu().numpy()
        for name, old in before.items()
    }
    return choose_mask(changes, k)


def bool_masks(
    parameters: Mapping[str, nn.Parameter], chosen: Mapping[str, NDArray[np.int64]]
) -> dict[nn.Parameter, Tensor]:
    """Masks of the parameters' own shapes and devices, True where a weight may move.

    Args:
        parameters: By name.
        chosen: Flat places by name, for some of them.

    Raises:
        InputError: There is no such parameter, or no such place in it.
    """
    strangers = sorted(chosen.keys() - parameters.keys())
    if strangers:
        raise InputError(f"The mask names {', '.join(strangers)}, which the model does not have.")
    masks = {}
    for name, places in chosen.items():
        parameter = parameters[name]
        if len(places) and not 0 <= int(places.min()) <= int(places.max()) < parameter.numel():
            raise InputError(
                f"The mask of {name} lies outside of its {parameter.numel()} weights: it is of another model."
            )
        mask = torch.zeros(parameter.numel(), dtype=torch.bool)
        mask[torch.from_numpy(places)] = True
        masks[parameter] = mask.view(parameter.shape).to(parameter.device)
    return masks


def masked_groups(
    groups: Sequence[Mapping[str, Any]], masks: Mapping[nn.Parameter, Tensor]
) -> list[dict[str, Any]]:
    """Split an optimiser's groups so that masked parameters decay only where they may move.

    Args:
        groups: As ``optimisers.param_groups`` and ``at_rates`` give them.
        masks: See ``bool_masks``.

    Returns:
        Groups, of which those of masked parameters have a ``weight_decay`` of 0; ``SparseTuning`` does it for them.
    """
    split = []
    for group in groups:
        masked = [parameter for parameter in group["params"] if parameter in masks]
        others = [parameter for parameter in group["params"] if parameter not in masks]
        if masked:
            split.append({**group, "params": masked, "weight_decay": 0.0, DECAY: group["weight_decay"]})
        if others:
            split.append({**group, "params": others})
    return split


def l1_term(parameters: Sequence[Tensor], originals: Sequence[Tensor], strength: float, total: int) -> Tensor:
    """How far weights are from where they began: strength / N * sum |theta - theta_0|.

    Args:
        parameters: Those that are trained.
        originals: What they were, in the same order and of the same shapes.
        strength: The weight of the term, lambda.
        total: N, how many weights the whole model has, frozen ones among them.

    Returns:
        A scalar, at least fp32; its gradient is 0 where nothing moved.
    """
    parts = [(now - then).abs().float().sum() for now, then in zip(parameters, originals, strict=True)]
    return torch.stack(parts).sum() * (strength / total) if parts else torch.zeros(())


@dataclass(frozen=True, kw_only=True, slots=True)
class L1:
    """The gradient of ``l1_term``, added once in an optimiser step, however many batches it has.

    The loss that is reported does not contain the term. Of a table whose gradient is sparse by rows only the rows that
    a step touched are drawn back, which departs from the equation.
    """

    strength: float
    total: int
    """N of ``l1_term``."""
    originals: Mapping[nn.Parameter, Tensor]
    """What the parameters were, on their devices."""

    def gradient(self, now: Tensor, then: Tensor) -> Tensor:
        """By weights that are at ``now`` and were at ``then``."""
        return torch.sign(now.detach() - then).mul_(self.strength / self.total)


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseTuning:
    """Keeps the weights outside of masks where they are: set it as an optimiser's ``restriction``.

    The optimiser's groups have to come from ``masked_groups``. With one second moment for a row of a table, that moment
    is of the row's free weights; the first moments of the others stay zero all the same.
    """

    masks: Mapping[nn.Parameter, Tensor] = field(default_factory=dict)
    """See ``bool_masks``; parameters without one are trained whole."""
    l1: L1 | None = None

    def __post_init__(self) -> None:
        """Check the masks.

        Raises:
            InputError: A mask is of another shape or type than its parameter needs, or parameters are cut into pieces.
        """
        for parameter, mask in self.masks.items():
            if hasattr(parameter, "device_mesh"):
                raise InputError("Parameters cut into pieces (FSDP) cannot be trained sparsely: use ddp.")
            if mask.shape != parameter.shape or mask.dtype is not torch.bool:
                raise InputError(
                    f"a mask is {tuple(mask.shape)} {mask.dtype}, its parameter {tuple(parameter.shape)}: give bool of "
                    "the same shape"
                )

    def restrict_gradients_(self) -> None:
        """Draw weights back to where they began, then zero all gradients outside of the masks."""
        for parameter, original in self.l1.originals.items() if self.l1 is not None else ():
            self._draw_back_(parameter, original)
        for parameter, mask in self.masks.items():
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                parameter.grad = _masked_rows(parameter.grad, mask)
            else:
                parameter.grad.masked_fill_(~mask, 0.0)

    def decay_(self, groups: Sequence[Mapping[str, Any]]) -> None:
        """Decay the free weights of masked parameters that have a gradient."""
        for group in groups:
            factor = 1.0 - group["lr"] * group.get(DECAY, 0.0)
            if factor == 1.0:
                continue
            for parameter in group["params"]:
                if parameter.grad is not None:
                    with torch.no_grad():
                        parameter.mul_(torch.where(self.masks[parameter], factor, 1.0).to(parameter.dtype))

    def _draw_back_(self, parameter: nn.Parameter, original: Tensor) -> None:
        gradient = parameter.grad
        assert self.l1 is not None
        if gradient is None:
            return
        if not gradient.is_sparse:
            gradient.add_(self.l1.gradient(parameter, original))
            return
        rows, values = merge_rows(gradient)
        values = values + self.l1.gradient(parameter[rows], original[rows])
        parameter.grad = sparse_rows(rows, values.to(gradient.dtype), tuple(gradient.shape))


def _masked_rows(gradient: Tensor, mask: Tensor) -> Tensor:
    """A sparse gradient without what must not move: rows that have no free weight are left out, and so not stepped."""
    rows, values = merge_rows(gradient)
    free = mask[rows]  # (R, d)
    some = free.any(1)
    values = values[some].masked_fill(~free[some], 0.0)
    return sparse_rows(rows[some], values.to(gradient.dtype), tuple(gradient.shape))
