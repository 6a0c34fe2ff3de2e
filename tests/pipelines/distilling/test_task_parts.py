"""What of a student's weights may move, whatever its family calls them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import transformers

from polycompress.pipelines.distilling.lottery import free_names, number_of_weights
from polycompress.pipelines.distilling.task_parts import base_names, base_norms
from tests.tiny_models import make_tiny


@pytest.mark.parametrize("family", ["xlm-roberta", "distilbert", "modernbert", "gpt2", "qwen2"])
def test_norms_are_found_by_what_they_are(family: str, tmp_path: Path) -> None:
    """LayerNorm, sa_layer_norm, attn_norm, ln_1, input_layernorm: their names say nothing."""
    path = make_tiny(family, "sequence", tmp_path / "m", vocab_size=300)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path)
    names = base_names(model)
    wanted = {name for name in names if re.search(r"norm|\.ln_", name.lower())}
    assert set(base_norms(model)) == wanted
    assert len(wanted) >= 4
    assert set(free_names(model, freeze_norms=True)) == set(names) - wanted
    sizes = {name: each.numel() for name, each in model.named_parameters()}
    assert number_of_weights(model, 0.5, freeze_norms=True)[1] == sum(sizes[name] for name in names)
