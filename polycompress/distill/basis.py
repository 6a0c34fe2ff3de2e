"""Orthonormal bases of hidden states: from a teacher's width to a student's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from polycompress.errors import InputError


def orthonormal_basis(states: Tensor, size: int) -> Tensor:
    """The subspace that holds most of some states: their first right singular vectors, without centring.

    Args:
        states: (n, d) float, n and d at least ``size``.
        size: d'.

    Returns:
        (d, d') float64, its columns orthonormal, those of larger singular values first.

    Raises:
        InputError: There are fewer states than columns are asked for, or more columns than the states are wide.

    Reference:
        Ansell et al., "Distilling Efficient Language-Specific Models for Cross-Lingual Transfer" (Findings of ACL
        2023), where each layer has one.
    """
    count, width = states.shape
    if not 1 <= size <= width:
        raise InputError(f"A basis of {size} columns for states of width {width}: give 1 to {width}.")
    if count < size:
        raise InputError(
            f"{count} states cannot tell {size} directions apart: give at least {size} of them (more text, or longer)."
        )
    wide = states.double()
    # The right singular vectors of X are the eigenvectors of X^T X, which is small however many states there are.
    _, vectors = torch.linalg.eigh(wide.T @ wide)
    return vectors.flip(1)[:, :size].contiguous()


def along_coordinates(basis: Tensor) -> Tensor:
    """The same subspace, its basis turned to lie as close to coordinates as it can.

    Layer norms scale coordinates one by one and take their mean, which no turned basis lets them do exactly; near the
    coordinates they lose least. A basis of the whole space becomes the identity.

    Args:
        basis: (d, d') with orthonormal columns.

    Returns:
        (d, d') with orthonormal columns. Of all turns it is the nearest, in the sense of least squares, to the d'
        coordinates that the subspace covers best, in their order (orthogonal Procrustes).
    """
    size = basis.shape[1]
    covered = basis.square().sum(dim=1)
    chosen = covered.topk(size).indices.sort().values
    left, _, right = torch.linalg.svd(basis[chosen].T)
    return basis @ (left @ right)


def sample_states(
    hidden: Mapping[int, Tensor], mask: Tensor, generator: torch.Generator
) -> dict[int, Tensor]:
    """One token's state of each text and layer, drawn at random among the real ones.

    Args:
        hidden: By layer, (B, n, d).
        mask: (B, n) bool; texts without any token are left out.
        generator: Draws, for each layer anew.

    Returns:
        By layer, (B', d).
    """
    rows = mask.any(dim=1).nonzero().squeeze(1)
    weights = mask[rows].cpu().float()
    found = {}
    for layer in sorted(hidden):
        # An empty batch has nothing to draw from, which the library would refuse.
        drawn = (
            torch.multinomial(weights, 1, generator=generator)
            if len(rows)
            else torch.empty(0, 1, dtype=torch.long)
        )
        found[layer] = hidden[layer][rows, drawn.squeeze(1).to(rows.device)].detach()
    return found


def project_targets(
    batches: Iterable[tuple[Mapping[int, Tensor], Tensor]], size: int, generator: torch.Generator
) -> dict[int, Tensor]:
    """A basis for each layer, onto which a narrow student's targets are projected: H_T Q.

    One real token's state is drawn from each text; the basis of a layer holds the first right singular vectors of its
    states, without centring. A student that starts from one basis of all layers (see ``narrowing``) has its targets in
    that basis instead.

    Args:
        batches: Of each batch the teacher's hidden states by layer, (B, n, d), and the mask, (B, n) bool.
        size: d', the student's hidden size.
        generator: Draws the tokens.

    Returns:
        By layer, Q: (d, d') float32, its columns orthonormal.

    Raises:
        InputError: There are fewer texts than columns.

    Reference:
        Ansell et al., Findings of ACL 2023, as the published code has it.
    """
    drawn: dict[int, list[Tensor]] = {}
    for hidden, mask in batches:
        for layer, states in sample_states(hidden, mask, generator).items():
            drawn.setdefault(layer, []).append(states)
    return {layer: orthonormal_basis(torch.cat(parts), size).float() for layer, parts in drawn.items()}
