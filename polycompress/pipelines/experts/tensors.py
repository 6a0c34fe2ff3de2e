"""Tensors of experts: copies of plain networks with some noise, routers, slices, and means of several models."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.distill.sft.values import FLOATS, from_float64, to_float64
from polycompress.errors import InputError
from polycompress.modeldir.header import TensorInfo
from polycompress.modeldir.rewriting import Entry, as_it_is
from polycompress.modeldir.tensors import Checkpoint
from polycompress.modeldir.writing import BytesLike

NOISE: Final = 0.01
"""Of each expert's weights unless asked otherwise, as a share of their own standard deviation.

Experts that are bit for bit the same, with weights that sum to 1, give the router a gradient of exactly 0: whatever it
chooses, the output is the same. A hundredth breaks the tie, and the last states of multilingual-e5-small keep a cosine
of at least 0.9999 with the plain model's (two layers of four experts; a tenth leaves 0.9986).
"""
ROUTER_STD: Final = 0.02
"""Of a router's first weights, as in Apollo-MoE."""
_ROUTER: Final = 1 << 16
"""Among the numbers that seed a draw: no place of a tensor in its network."""

Stored = tuple[Checkpoint, TensorInfo]
"""A tensor and where it lies."""
Floats = NDArray[np.float64]


def check_floats(tensors: Sequence[Stored], reason: str) -> None:
    """Refuse tensors that cannot be computed with.

    Args:
        tensors: Of any type.
        reason: Why they are computed with, for the message.

    Raises:
        InputError: Some are of a type that is no plain float; they are named.
    """
    odd = [f"{info.name} ({info.dtype})" for _, info in tensors if info.dtype not in FLOATS]
    if odd:
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        raise InputError(
            f"{reason}, but these tensors are of no type that is computed with ({', '.join(FLOATS)}): "
            f"{', '.join(odd[:5])}{more}. Take a checkpoint of such a type."
        )


def expert_entry(sources: Sequence[Stored], *, noise: float, seed: Sequence[int]) -> Entry:
    """One tensor of all experts, each a copy of a plain tensor.

    Args:
        sources: Of each expert, its plain tensor; all of one type and shape, and of a type of ``FLOATS`` where there is
            noise.
        noise: Standard deviation of what is added, as a share of that of the plain tensor; 0: bit copies.
        seed: Numbers that the draws depend on, together with the expert's.

    Returns:
        [E, ...]; read, drawn and rounded to the plain tensor's type when it is asked for, a megabyte at a time.

    Raises:
        InputError: While it is read: a sum is larger than the type holds.
    """
    dtype, shape = sources[0][1].dtype, sources[0][1].shape

    def blocks() -> Iterator[BytesLike]:
        scale, known = 0.0, None
        for expert, (checkpoint, info) in enumerate(sources):
            if not noise:
                yield from _raw(checkpoint, info)
                continue
            if known != info:
                scale, known = noise * _deviation(checkpoint, info), info
            draws = np.random.default_rng([*seed, expert])
            for block in _values(checkpoint, info):
                yield _rounded(block + scale * draws.standard_normal(block.shape, np.float32), info)

    return dtype, (len(sources), *shape), blocks()


def router_entry(experts: int, hidden: int, *, seed: Sequence[int]) -> Entry:
    """A router's first weights, [E, d] float32: drawn, with ``ROUTER_STD``.

    Args:
        experts: E.
        hidden: d.
        seed: Numbers that the draw depends on.
    """
    draws = np.random.default_rng([*seed, _ROUTER])
    weight = np.float32(ROUTER_STD) * draws.standard_normal((experts, hidden), np.float32)
    return "F32", weight.shape, weight.astype("<f4", copy=False)


def expert_slice(info: TensorInfo, name: str, expert: int) -> TensorInfo:
    """Where one expert's part of a tensor [E, ...] lies, as a tensor of its own.

    Args:
        info: Of all experts.
        name: Of the part.
        expert: Counted from 0.
    """
    step = info.nbytes // info.shape[0]
    begin = info.begin + expert * step
    return replace(info, name=name, shape=info.shape[1:], begin=begin, end=begin + step)


def mean_entry(sources: Sequence[Stored]) -> Entry:
    """The mean of one tensor of several models; where all have the same bits, these.

    Sums are taken in float64 and rounded once.

    Args:
        sources: All of one type and shape.

    Returns:
        Of the same type and shape, read when it is asked for.

    Raises:
        InputError: While it is read: models differ in a tensor that is none of floats.
    """
    info = sources[0][1]

    def blocks() -> Iterator[BytesLike]:
        for parts in zip(*itertools.starmap(_raw, sources), strict=True):
            raw = [bytes(part) for part in parts]
            if all(part == raw[0] for part in raw[1:]):
                yield raw[0]
                continue
            check_floats([sources[0]], "Tensors that differ between the models are averaged")
            total = sum(_decoded(part, info) for part in raw)
            yield _rounded(np.asarray(total) / len(raw), info)

    return info.dtype, info.shape, blocks()


def _raw(checkpoint: Checkpoint, info: TensorInfo) -> Iterator[Any]:
    return iter(as_it_is(checkpoint, info)[2])


def _values(checkpoint: Checkpoint, info: TensorInfo) -> Iterator[Floats]:
    for block in _raw(checkpoint, info):
        yield _decoded(block, info)


def _decoded(block: bytes, info: TensorInfo) -> Floats:
    return to_float64(np.frombuffer(block, FLOATS[info.dtype]), info.dtype)


def _rounded(values: Floats, info: TensorInfo) -> NDArray[Any]:
    found = from_float64(values, info.dtype)
    if not np.isfinite(to_float64(found, info.dtype)).all():
        raise InputError(
            f"tensor '{info.name}': a value is larger than the type {info.dtype} holds, or none. Take a checkpoint of "
            "a wider type, or one whose values are finite."
        )
    return found


def _deviation(checkpoint: Checkpoint, info: TensorInfo) -> float:
    """Standard deviation of all values of a tensor."""
    count = math.prod(info.shape)
    mean = math.fsum(float(block.sum()) for block in _values(checkpoint, info)) / max(1, count)
    squares = math.fsum(float(((block - mean) ** 2).sum()) for block in _values(checkpoint, info))
    return math.sqrt(squares / max(1, count))
