"""Comparing what two models compute: nothing that is no number may pass for equal."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from polycompress.errors import InputError
from polycompress.pipelines.trimming.behaviour import Behaviour, compare_behaviour
from tests.tiny_models import make_tiny

torch = pytest.importorskip("torch", reason="--full needs torch")

NAN, INFINITE = math.nan, math.inf


@pytest.mark.parametrize(
    ("old", "new", "gap"),
    [
        ([1.0, -INFINITE, NAN], [1.0, -INFINITE, NAN], 0.0),
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([1.0, 2.0], [1.0, NAN], INFINITE),
        ([1.0, NAN], [1.0, 2.0], INFINITE),
        ([INFINITE], [-INFINITE], INFINITE),
    ],
    ids=["equal", "different", "lost", "found", "signs"],
)
def test_gaps(old: list[float], new: list[float], gap: float) -> None:
    from polycompress.pipelines.trimming.behaviour import _gap

    for dtype in (torch.float32, torch.bfloat16):
        assert _gap(torch.tensor(old, dtype=dtype), torch.tensor(new, dtype=dtype)) == gap


def test_a_broken_weight_is_found(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = make_tiny("bert", "mlm", tmp_path / "source", vocab_size=400)
    broken = make_tiny("bert", "mlm", tmp_path / "broken", vocab_size=400)
    keep = np.arange(400)
    texts = [[5, 6, 7], [8, 9]]
    assert compare_behaviour(source, broken, texts, keep).passed, "the same model twice"
    weights = load_file(broken / "model.safetensors")
    name = next(name for name in weights if name.endswith("layer.1.output.dense.bias"))
    weights[name][0] = NAN
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    found = compare_behaviour(source, broken, texts, keep)
    assert not found.passed
    assert found.hidden_max_abs == INFINITE


def test_without_text_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a larger --corpus when trimming, --text when verifying"):
        compare_behaviour(tmp_path, tmp_path, [], np.arange(4))


def test_logits_are_judged_by_their_scale() -> None:
    assert not Behaviour(texts=1, hidden_max_abs=0.0, logits_max_abs=1.0, logits_scale=3.0).passed
    assert Behaviour(texts=1, hidden_max_abs=0.0, logits_max_abs=1e-6, logits_scale=3.0).passed
