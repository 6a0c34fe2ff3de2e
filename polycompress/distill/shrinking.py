"""Fewer dimensions for heads, feed-forward layers and layer norms, from what they do on samples. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

_RANK_TOLERANCE = 1e-10
"""Of an eigenvalue against the largest, below which a direction counts as unused."""


def shrink_pair(left: Tensor, right: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Fewer coordinates for two sides whose products count: L R^T is kept as well as that many can.

    With the maps A and B that are returned, (L A)(R B)^T is the best approximation of its rank to L R^T in the
    Frobenius norm, taken from the singular value decomposition of L R^T, which itself is never formed.

    Args:
        left: (n, h), such as a head's queries of n tokens.
        right: (m, h), such as its keys.
        size: h', at most h.

    Returns:
        A and B, (h, h') float64; the identity twice where h' = h.
    """
    width = left.shape[1]
    if size == width:
        same = torch.eye(width, dtype=torch.float64, device=left.device)
        return same, same.clone()
    root, inverse = _root(left)
    other_root, other_inverse = _root(right)
    # L = U_L root with orthonormal columns in U_L, so the decomposition of the small product is that of the large.
    first, values, second = torch.linalg.svd(root @ other_root)
    scale = values[:size].sqrt()
    return inverse @ first[:, :size] * scale, other_inverse @ second[:size].T * scale


def choose_neurons(mean_size: Tensor, output: Tensor, count: int) -> Tensor:
    """Which neurons of a feed-forward layer matter most: mean |activation| times the norm of what they write.

    Args:
        mean_size: (f,) mean of |activation| over samples.
        output: (d, f) weight that the activations are multiplied with.
        count: f', at most f.

    Returns:
        (f',) int64, in their order.
    """
    weight = mean_size.double() * output.double().norm(dim=0)
    return weight.topk(count).indices.sort().values


def fit_norm(values: Tensor, targets: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Gain and bias with which the layer norm of some values comes nearest to targets, unit by unit.

    Args:
        values: (n, d) what the layer norm is given.
        targets: (n, d) what should come out.
        eps: Of the layer norm.

    Returns:
        Gain and bias, (d,) float64: ordinary least squares of each unit; a unit that never varies gets gain 0.
    """
    normed = torch.nn.functional.layer_norm(values.double(), values.shape[1:], eps=eps)
    targets = targets.double()
    mean, target_mean = normed.mean(dim=0), targets.mean(dim=0)
    centred = normed - mean
    spread = centred.square().sum(dim=0)
    gain = (centred * (targets - target_mean)).sum(dim=0) / spread.clamp(min=torch.finfo(torch.float64).tiny)
    return gain, target_mean - gain * mean


def _root(samples: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric root of X^T X, and its pseudo-inverse."""
    wide = samples.double()
    values, vectors = torch.linalg.eigh(wide.T @ wide)
    used = values > _RANK_TOLERANCE * values[-1].clamp(min=0)
    roots = values.clamp(min=0).sqrt()
    inverse = torch.where(used, 1 / roots.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    return vectors * roots @ vectors.T, vectors * inverse @ vectors.T
