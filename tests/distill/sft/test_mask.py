from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polycompress.distill.sft import choose_mask, mask
from polycompress.errors import InputError

TIES = st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, 2.0**-149, 1e30])
VALUES = st.one_of(TIES, st.floats(-10, 10, width=32))
CHANGES = st.dictionaries(
    st.sampled_from(["b", "a", "layer.10", "layer.9", "z"]),
    st.integers(0, 12).flatmap(lambda size: arrays(np.float32, size, elements=VALUES)),
    max_size=4,
)


def by_sorting(changes: dict[str, np.ndarray], k: int) -> set[tuple[str, int]]:
    """The same by comparing everything with everything."""
    order = [
        (-abs(float(value)), name, place) for name in changes for place, value in enumerate(changes[name])
    ]
    return {(name, place) for _, name, place in sorted(order)[:k]}


@given(CHANGES, st.data())
def test_the_largest_of_all_tensors_exactly_k_ties_in_order(
    changes: dict[str, np.ndarray], data: st.DataObject
) -> None:
    k = data.draw(st.integers(0, sum(each.size for each in changes.values())))
    found = choose_mask(changes, k)
    assert found.keys() == changes.keys()
    assert {(name, int(place)) for name, places in found.items() for place in places} == by_sorting(
        changes, k
    )
    for places in found.values():
        assert places.dtype == np.int64
        assert (np.diff(places) > 0).all()


def test_magnitudes_of_all_tensors_count_together() -> None:
    """A tensor that moved little has no place in the mask, though its own largest are chosen tensor by tensor."""
    random = np.random.default_rng(0)
    changes = {"still": random.normal(size=(20, 30)) * 1e-3, "moving": random.normal(size=(10, 10)) + 5}
    found = choose_mask(changes, 100)
    assert len(found["still"]) == 0
    assert found["moving"].tolist() == list(range(100))
    assert len(choose_mask(changes, 101)["still"]) == 1


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    changes = {name: random.integers(-3, 3, (7, 11)).astype(np.float32) for name in "abc"}
    whole = choose_mask(changes, 77)
    monkeypatch.setattr(mask, "CHUNK", 10)
    for name, places in choose_mask(changes, 77).items():
        assert places.tolist() == whole[name].tolist()


def test_types_may_differ() -> None:
    changes = {"half": np.array([0.1, 3], np.float16), "double": np.array([1e-300, 2.9999])}
    assert {name: places.tolist() for name, places in choose_mask(changes, 2).items()} == {
        "half": [1],
        "double": [1],
    }


def test_tied_tensors_count_once_under_the_first_name() -> None:
    table = np.arange(12.0).reshape(3, 4)
    found = choose_mask({"z.weight": table, "embed": table, "other": table.copy()}, 14)
    assert {name: len(places) for name, places in found.items()} == {"embed": 7, "other": 7}
    with pytest.raises(InputError, match="25 weights are to be chosen of 24"):
        choose_mask({"z.weight": table, "embed": table, "other": table.copy()}, 25)


@pytest.mark.parametrize("k", [-1, 4])
def test_more_than_there_are(k: int) -> None:
    with pytest.raises(InputError, match=f"{k} weights are to be chosen of 3: give 0 to 3"):
        choose_mask({"a": np.zeros(3)}, k)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number(bad: float) -> None:
    with pytest.raises(
        InputError, match=r"tensor 'b': a change is no finite number. Did the fine-tuning diverge"
    ):
        choose_mask({"a": np.ones(3), "b": np.array([1.0, bad])}, 1)
