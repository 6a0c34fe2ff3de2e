from __future__ import annotations

from typing import Any

import pytest
import yaml

from polycompress.modeldir.sft_card import render_sft_card

MANIFEST: dict[str, Any] = {
    "tool": {"name": "polycompress", "version": "1"},
    "command": ["polycompress", "sft", "apply", "a.diff", "--to", "m"],
    "source": {"name": "owner/name", "license": "mit", "files": {"config.json": "ab"}},
    "architectures": ["BertForTokenClassification"],
    "languages": [{"code": "swh-Latn"}],
    "sparse": {
        "k": 1200, "base_parameters": 12000, "dense": ["classifier.weight", "classifier.bias"],
        "diffs": [
            {"file": "a|b<i>.diff", "task": "ner-wikiann", "languages": ["eng-Latn"], "k": 1000, "digest": "c" * 64},
            {"file": "sw.diff", "task": None, "languages": ["swh-Latn"], "k": 300, "digest": "d" * 64},
        ],
    },
    "notes": ["something <b>odd</b>"],
}  # fmt: skip


def test_a_card_from_its_manifest() -> None:
    card = render_sft_card(MANIFEST)
    head = yaml.safe_load(card.split("---")[1])
    assert (head["base_model"], head["language"]) == ("owner/name", ["swh"])
    assert "sparse-fine-tuning" in head["tags"]
    for part in (
        "# owner/name, with sparse differences", "2 sparse difference(s)", "1,200 of its 12,000 values (10.0%)",
        "2 tensor(s) replaced", "| ner-wikiann | eng-Latn | 1,000 |", "| unknown | swh-Latn | 300 |", f"`{'c' * 16}`",
        "AutoModelForTokenClassification.from_pretrained(directory)", "sft apply a.diff --to m", "`config.json`: `ab`",
    ):  # fmt: skip
        assert part in card, part
    assert "<b>" not in card and "<i>" not in card


@pytest.mark.parametrize("manifest", [{}, {"sparse": {"diffs": [7]}, "architectures": "x"}])
def test_what_is_missing_is_unknown(manifest: dict[str, Any]) -> None:
    card = render_sft_card(manifest)
    assert "This is **unknown**" in card and "unknown of its unknown values (unknown)" in card
    assert "AutoModel.from_pretrained(directory)" in card
