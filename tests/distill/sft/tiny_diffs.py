"""Small states of a model with values of every kind, and differences between them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polycompress.distill.sft import (
    FLOATS,
    BaseTensor,
    DiffInfo,
    RawTensor,
    SparseDiff,
    difference,
    to_float64,
)
from polycompress.distill.sft.values import bits_of

State = dict[str, RawTensor]
LIMIT = 8e307
"""Of F64, so that differences of two stay finite."""


def raws(dtype: str, size: int) -> st.SearchStrategy[np.ndarray]:
    """Any finite bits, subnormals and both zeros among them, and values near each other."""
    width = FLOATS[dtype].itemsize
    bits = st.one_of(
        st.integers(0, 2 ** (8 * width) - 1),
        st.sampled_from([0, 1, 2 ** (8 * width - 1)]),
        st.integers(0x3C00, 0x3C05),
    )
    raw = arrays(f"<u{width}", size, elements=bits).map(lambda found: found.view(FLOATS[dtype]))
    return raw.filter(lambda found: bool((np.abs(to_float64(found, dtype)) < LIMIT).all()))


def same(one: Mapping[str, RawTensor], other: Mapping[str, RawTensor]) -> bool:
    """Whether two states are equal bit by bit."""
    return one.keys() == other.keys() and all(
        (one[name].dtype, one[name].shape) == (other[name].dtype, other[name].shape)
        and np.array_equal(bits_of(one[name].flat), bits_of(other[name].flat))
        for name in one
    )


def described(state: State) -> dict[str, BaseTensor]:
    return {
        name: BaseTensor(each.dtype, each.shape, hashlib.sha256(each.flat.tobytes()).hexdigest())
        for name, each in state.items()
    }


def make_state(seed: int = 0) -> State:
    """Two tensors of fp32, one of bf16."""
    random = np.random.default_rng(seed)
    return {
        "a": RawTensor("F32", random.normal(size=(4, 5)).astype("<f4")),
        "b": RawTensor("F32", random.normal(size=7).astype("<f4")),
        "half": RawTensor("BF16", random.integers(0x3F00, 0x4000, (3, 3)).astype("<u2")),
    }


def make_diff(base: State, seed: int, k: int = 12, *, head: bool = False, **info: object) -> SparseDiff:
    """A random difference of exactly k entries."""
    random = np.random.default_rng(seed)
    sizes = {name: each.flat.size for name, each in base.items()}
    names = [name for name, size in sizes.items() for _ in range(size)]
    chosen = np.sort(random.permutation(len(names))[:k])
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
    mask = {
        name: np.array([place - starts[name] for place in chosen if names[place] == name], np.int64)
        for name in sizes
    }
    after = dict(base)
    for name, places in mask.items():
        flat = base[name].flat.copy()
        if base[name].dtype == "BF16":
            flat[places] = random.integers(0x3F00, 0x4000, len(places))
        else:
            flat[places] += random.normal(size=len(places)).astype("<f4")
        after[name] = RawTensor(base[name].dtype, flat.reshape(base[name].shape))
    if head:
        after["head"] = RawTensor("F32", random.normal(size=(2, 3)).astype("<f4"))
    return difference(
        base,
        after,
        mask,
        dense=["head"] if head else [],
        info=DiffInfo(base=described(base), **info),  # type: ignore[arg-type]
    )
