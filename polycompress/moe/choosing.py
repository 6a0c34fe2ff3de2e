"""Which layers get experts, and how many of them a token goes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from polycompress.errors import InputError

LAYERS: Final = 2
"""The last so many have experts, unless others are asked for: the choice of Apollo-MoE for models of any depth."""
TOP_K: Final = 2
"""Experts of a token, unless others are asked for."""


def choose_layers(total: int, *, last: int | None = None, named: Sequence[int] = ()) -> tuple[int, ...]:
    """The layers that get experts.

    Args:
        total: Layers of the model.
        last: How many, from the top; None: ``LAYERS``, or all where there are fewer.
        named: Instead, each by its number, counted from 0.

    Returns:
        Their numbers, ascending.

    Raises:
        InputError: Both were given, one comes twice, or the model has no such layer.

    Example:
        >>> choose_layers(12)
        (10, 11)
    """
    if named:
        if last is not None:
            raise InputError("--layers and --layer-list cannot be combined: give one of them.")
        twice = sorted({layer for layer in named if list(named).count(layer) > 1})
        if twice:
            raise InputError(f"--layer-list names layer {twice[0]} twice: name each once.")
        outside = sorted(layer for layer in named if not 0 <= layer < total)
        if outside:
            shown = ", ".join(map(str, outside))
            raise InputError(
                f"--layer-list names layer {shown}, outside the model: it has the layers 0 to {total - 1}."
            )
        return tuple(sorted(named))
    count = min(LAYERS, total) if last is None else last
    if not 1 <= count <= total:
        raise InputError(f"--layers {count}: the model has {total} layers. Give a number from 1 to {total}.")
    return tuple(range(total - count, total))


def choose_top_k(experts: int, top_k: int | None = None) -> int:
    """How many experts a token goes to.

    Args:
        experts: How many there are.
        top_k: As asked; None: ``TOP_K``, or all where there are fewer.

    Raises:
        InputError: There are not so many, or the number is below 1.
    """
    if top_k is None:
        return min(TOP_K, experts)
    if not 1 <= top_k <= experts:
        raise InputError(
            f"--top-k {top_k}: there {'is 1 expert' if experts == 1 else f'are {experts} experts'}. Give a number from "
            f"1 to {experts}, or more experts."
        )
    return top_k
