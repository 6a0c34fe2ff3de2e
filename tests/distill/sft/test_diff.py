from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.distill.sft import (
    DiffInfo,
    RawTensor,
    SparseDiff,
    apply,
    changed_places,
    difference,
    revert,
    tensor_difference,
)
from polycompress.errors import InputError
from tests.distill.sft.tiny_diffs import described, make_diff, make_state, raws, same

DTYPES = ("F64", "F32", "F16", "BF16")


def pairs(dtype: str) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    return st.integers(0, 20).flatmap(lambda size: st.tuples(raws(dtype, size), raws(dtype, size)))


@pytest.mark.parametrize("dtype", DTYPES)
@given(st.data())
def test_added_to_the_one_it_gives_the_other_bit_by_bit(dtype: str, data: st.DataObject) -> None:
    """Whatever finite values they hold; and taken back it gives the one."""
    old, new = data.draw(pairs(dtype))
    before, after = {"t": RawTensor(dtype, old)}, {"t": RawTensor(dtype, new)}
    places = changed_places(before["t"], after["t"])
    if data.draw(st.booleans()):
        places = np.arange(len(old))  # also where nothing changes
    diff = SparseDiff({"t": tensor_difference("t", before["t"], after["t"], places)}, {}, DiffInfo())
    kept = old.tobytes()
    applied = apply(before, diff)
    assert same(applied.tensors, after)
    assert same(revert(applied), before)
    assert before["t"].values.tobytes() == kept
    assert diff.k == len(places)


def test_only_what_a_sum_cannot_reach_is_pinned() -> None:
    old = np.array([1.0, 1.0, 0.25, 1e30, -0.0, 0.0, -0.0, 3.0], "<f4")
    new = np.array([2.0, -0.0, 0.25, 1e-30, 0.0, -0.0, -0.0, 1e-20], "<f4")
    before, after = RawTensor("F32", old), RawTensor("F32", new)
    entries = tensor_difference("t", before, after, np.arange(8))
    assert entries.pinned.tolist() == [1, 3, 5, 7]
    assert entries.results.tolist() == new[[1, 3, 5, 7]].tolist()
    assert np.signbit(entries.values[[2, 6]]).all(), "-0.0 is added where nothing changes"


def test_differences_of_trained_weights_need_no_pins() -> None:
    random = np.random.default_rng(0)
    old = random.normal(size=100_000).astype("<f4") * np.float32(0.02)
    new = old + random.normal(size=100_000).astype("<f4") * np.float32(1e-4)
    assert (
        len(tensor_difference("t", RawTensor("F32", old), RawTensor("F32", new), np.arange(100_000)).pinned)
        == 0
    )
    # What keeping the originals is for: (a + d) - d is not a.
    step = (new - old).astype("<f4")
    assert ((old + step) - step != old).any()


def test_exactly_the_places_of_the_mask_zeros_among_them() -> None:
    base = make_state()
    flat = base["a"].flat.copy()
    flat[3] += 1
    after = {
        **base,
        "a": RawTensor("F32", flat.reshape(4, 5)),
        "head": RawTensor("F32", np.ones((2, 2), "<f4")),
    }
    mask = {"a": np.array([1, 3, 9]), "b": np.array([0]), "half": np.zeros(0, np.int64)}
    diff = difference(base, after, mask, dense=["head"], info=DiffInfo(base=described(base)))
    assert diff.k == 4
    assert diff.density == pytest.approx(4 / 36)
    assert {name: entries.indices.tolist() for name, entries in diff.tensors.items()} == {
        "a": [1, 3, 9],
        "b": [0],
    }
    assert diff.tensors["a"].values.tolist() == [0.0, float(flat[3]) - float(base["a"].flat[3]), 0.0]
    assert set(diff.dense) == {"head"}
    applied = apply(base, diff)
    assert same(applied.tensors, after)
    assert applied.tensors["half"] is base["half"]
    assert same(revert(applied), base)


def test_a_head_that_the_base_has_is_replaced_and_put_back() -> None:
    base = {**make_state(), "head": RawTensor("F32", np.zeros((2, 2), "<f4"))}
    after = {**base, "head": RawTensor("F32", np.ones((3, 2), "<f4"))}
    diff = difference(base, after, {}, dense=["head"])
    applied = apply(base, diff)
    assert same(applied.tensors, after)
    assert same(revert(applied), base)


def test_every_fault_is_named() -> None:
    base = make_state()
    after = {name: each for name, each in base.items() if name != "b"}
    after["half"] = RawTensor("BF16", np.zeros((2, 3), "<u2"))
    after["more"] = RawTensor("F32", np.zeros(1, "<f4"))
    with pytest.raises(InputError) as caught:
        difference(base, after, {}, dense=["gone"])
    for part in (
        "tensor 'gone' is to be kept whole, but is not there",
        "tensor 'b' is in one of them only",
        "tensor 'more' is in one of them only",
        "tensor 'half' is BF16 (3, 3) in one, BF16 (2, 3) in the other",
    ):
        assert part in str(caught.value)


def test_what_changed_outside_of_the_mask_is_refused() -> None:
    base = make_state()
    flat = base["a"].flat.copy()
    flat[[2, 7]] = 0
    after = {**base, "a": RawTensor("F32", flat.reshape(4, 5))}
    with pytest.raises(InputError, match="tensor 'a': 1 values outside of the mask changed, first 7"):
        difference(base, after, {"a": np.array([2])})


def test_types_without_differences_must_not_change() -> None:
    base = {"ids": RawTensor("I64", np.arange(3))}
    assert difference(base, dict(base), {}).k == 0
    with pytest.raises(InputError, match="tensor 'ids' of type I64 changed: keep it whole"):
        difference(base, {"ids": RawTensor("I64", np.arange(3) + 1)}, {})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    before, after = RawTensor("F32", np.ones(2, "<f4")), RawTensor("F32", np.array([1, bad], "<f4"))
    with pytest.raises(InputError, match="tensor 't': value 1 or its change is no finite number"):
        tensor_difference("t", before, after, np.array([1]))


def test_a_sum_too_large_is_refused() -> None:
    one, much = RawTensor("F16", np.ones(1, "<f2")), RawTensor("F16", np.full(1, 60000, "<f2"))
    diff = SparseDiff({"t": tensor_difference("t", one, much, np.array([0]))}, {}, DiffInfo())
    with pytest.raises(InputError, match="tensor 't': the sum at value 0 is larger than F16 holds"):
        apply({"t": much}, diff)
    with pytest.raises(InputError, match="The model has no tensor t"):
        apply({}, diff)


def test_the_digest_is_of_what_it_does() -> None:
    base = make_state()
    assert make_diff(base, 1).digest == make_diff(base, 1, notes=("other",), task="ner").digest
    others = {make_diff(base, 1).digest, make_diff(base, 2).digest, make_diff(base, 1, head=True).digest}
    assert len(others) == 3
