from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.distill.sft import (
    DiffInfo,
    RawTensor,
    SparseDiff,
    apply,
    compose,
    from_float64,
    tensor_difference,
    to_float64,
)
from polycompress.errors import InputError
from tests.distill.sft.tiny_diffs import make_diff, make_state, raws, same


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=4, unique=True), st.integers(0, 36))
def test_the_order_of_naming_does_not_matter(seeds: list[int], k: int) -> None:
    base = make_state()
    diffs = [make_diff(base, seed, k) for seed in seeds]
    results = [apply(base, compose(order)).tensors for order in itertools.permutations(diffs)]
    assert all(same(result, results[0]) for result in results)
    assert {compose(order).digest for order in itertools.permutations(diffs)} == {compose(diffs).digest}


@given(st.data())
def test_any_values_in_any_order(data: st.DataObject) -> None:
    """Wild values, whose sums in another order would be others."""
    old, *news = (data.draw(raws("F32", 6)) for _ in range(4))
    base = RawTensor("F32", old)
    diffs = [
        SparseDiff({"t": tensor_difference("t", base, RawTensor("F32", new), np.arange(6))}, {}, DiffInfo())
        for new in news
    ]
    sums = [compose(order).tensors["t"] for order in itertools.permutations(diffs)]
    assert len({each.values.tobytes() for each in sums}) == 1
    assert all(len(each.pinned) == 0 for each in sums), "every place is touched by all three"


def test_overlap_adds_and_is_rounded_once() -> None:
    base = make_state()
    diffs = [make_diff(base, seed, 30) for seed in (1, 2)]
    together = compose(diffs)
    applied = apply(base, together).tensors
    for name, tensor in base.items():
        total = to_float64(tensor.flat, tensor.dtype)
        first, second = sorted(diffs, key=lambda diff: diff.digest)
        changes = np.zeros(len(total))
        for diff in (first, second):
            changes[diff.tensors[name].indices] += diff.tensors[name].values
        expected = from_float64(total + changes, tensor.dtype)
        assert applied[name].flat.tolist() == expected.tolist()
    assert together.k < 60, "some places are in both"


def test_alone_it_stays_as_it_is() -> None:
    base = make_state()
    diff = make_diff(base, 3)
    assert compose([diff]).digest == diff.digest
    with pytest.raises(InputError, match="No difference was given"):
        compose([])


def test_a_pin_counts_where_no_other_difference_is() -> None:
    base = RawTensor("F32", np.array([1e30, 1e30, 1.0], "<f4"))
    new = RawTensor("F32", np.array([1e-30, 1e-30, 2.0], "<f4"))
    far = SparseDiff({"t": tensor_difference("t", base, new, np.arange(3))}, {}, DiffInfo())
    other = RawTensor("F32", np.array([1e30, 2e30, 1.0], "<f4"))
    near = SparseDiff({"t": tensor_difference("t", base, other, np.array([1]))}, {}, DiffInfo())
    for order in ([far, near], [near, far]):
        (result,) = apply({"t": base}, compose(order)).tensors.values()
        np.testing.assert_array_equal(result.values, np.array([1e-30, 1e30, 2.0], "<f4"))


def test_heads_stand_side_by_side_and_must_agree() -> None:
    base = make_state()
    language, task = make_diff(base, 1, languages=("swh-Latn",)), make_diff(base, 2, head=True, task="ner")
    together = compose([language, task])
    assert (set(together.dense), together.info.task, together.info.languages) == (
        {"head"},
        "ner",
        ("swh-Latn",),
    )
    assert compose([task, make_diff(base, 2, head=True, task="ner")]).dense["head"].shape == (2, 3)
    with pytest.raises(InputError, match="tensor 'head' is held whole by two, and differs"):
        compose([task, make_diff(base, 3, head=True)])
    whole = SparseDiff({}, {"a": base["a"]}, language.info)
    with pytest.raises(InputError, match="tensor 'a' is held whole by one and changed by another"):
        compose([language, whole])


def test_every_disagreement_is_named() -> None:
    one = make_diff(make_state(0), 1, config={"num_labels": 2}, prefix="bert.")
    other = make_diff(make_state(1), 1, config={"num_labels": 3}, prefix="roberta.")
    with pytest.raises(InputError) as caught:
        compose([one, other])
    assert "they are of different base models: 3 tensors differ (a, b, half)" in str(caught.value)
    assert "field 'num_labels' of the configuration is" in str(caught.value)
    assert "they are for models of different classes (bert., roberta.)" in str(caught.value)
