from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polycompress.distill.store_kinds import hidden_states, sentence_vectors, top_k_logits
from polycompress.errors import InputError
from tests.distill.store_files import (
    keys_of,
    open_store,
    vectors,
)


def test_arrays_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(
        InputError, match=r"2 texts with arrays \{'vectors': 1\}; wanted is one array a text of each of"
    ):
        open_store(path).put(keys_of("a", "b"), vectors(1))
    with pytest.raises(InputError, match="wanted is one array a text of each of vectors"):
        open_store(path).put(keys_of("a"), {"vector": [np.zeros(3)]})
    with pytest.raises(InputError, match=r"'vectors' has the shape \(4,\), not \(3,\)"):
        open_store(path).put(keys_of("a"), {"vectors": [np.zeros(4)]})
    kind = hidden_states([0, 2], 2)
    with pytest.raises(InputError, match=r"'hidden.0' has the shape \(2,\), not \('tokens', 2\)"):
        open_store(path, kind).put(keys_of("a"), {"hidden.0": [np.zeros(2)], "hidden.2": [np.zeros((1, 2))]})
    with pytest.raises(InputError, match=r"arrays of different lengths: \{'hidden.0': 2, 'hidden.2': 1\}"):
        open_store(path, kind).put(
            keys_of("a"), {"hidden.0": [np.zeros((2, 2))], "hidden.2": [np.zeros((1, 2))]}
        )
    with pytest.raises(InputError, match=r"holds 7e\+04, which half precision \(up to 65504\) cannot hold"):
        open_store(path, hidden_states([0], 1)).put(keys_of("a"), {"hidden.0": [np.full((1, 1), 7e4)]})
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": [[0, 9]]}, "'ids' holds ids outside 0 to 8"),
        ({"ids": [[0, -1]]}, "'ids' holds ids outside 0 to 8"),
        ({"ids": [[3, 3]]}, "'ids' holds an id twice at one place"),
        ({"ids": [[0.5, 1.0]]}, "'ids' holds ids that are no whole numbers"),
        ({"log_probs": [[0.1, -1.0]]}, "'log_probs' holds logarithms of probabilities above 0"),
        ({"log_probs": [[np.nan, -1.0]]}, "'log_probs' holds logarithms of probabilities above 0, or NaN"),
        ({"tail": [1.5]}, "'tail' holds masses outside 0 to 1"),
        ({"tail": [np.nan]}, "'tail' holds masses outside 0 to 1, or NaN"),
    ],
)
def test_distributions_that_cannot_be_are_refused(
    tmp_path: Path, change: Mapping[str, Any], message: str
) -> None:
    sound: dict[str, Any] = {"ids": [[0, 8]], "log_probs": [[-0.5, -np.inf]], "tail": [0.3]}
    store = open_store(tmp_path / "s", top_k_logits(2, 9))
    store.put(keys_of("sound"), {name: [np.array(value)] for name, value in sound.items()})
    with pytest.raises(InputError, match=message):
        store.put(keys_of("a"), {name: [np.array(value)] for name, value in (sound | change).items()})


def test_kinds_that_cannot_be_are_refused() -> None:
    for make, message in (
        (lambda: sentence_vectors(0), "width=0 has to be above 0"),
        (lambda: top_k_logits(5, 4), "k=5 has to be between 1 and the number of classes, 4"),
        (lambda: hidden_states([], 4), r"Hidden states \[\]"),
        (lambda: hidden_states([1, 1], 4), r"Hidden states \[1, 1\]"),
    ):
        with pytest.raises(InputError, match=message):
            make()
