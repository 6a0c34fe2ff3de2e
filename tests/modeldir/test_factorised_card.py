from __future__ import annotations

from typing import Any

import pytest
import yaml

from polycompress.modeldir.factorised_card import render_dense_card, render_factorised_card

MANIFEST: dict[str, Any] = {
    "tool": {"name": "polycompress", "version": "1"},
    "command": ["polycompress", "factorise", "m", "--rank", "100"],
    "source": {"name": "owner/name", "license": "mit", "files": {"config.json": "ab"}},
    "architectures": ["FactorisedXLMRobertaForMaskedLM"],
    "languages": [{"code": "yor-Latn"}],
    "sizes": {
        "before": {"parameters": 278_000_000, "embedding_parameters": 192_000_000, "bytes": 1_112_000_000},
        "after": {"parameters": 111_000_000, "embedding_parameters": 25_000_000, "bytes": 444_000_000},
    },
    "factorisation": {
        "table": "roberta.x.weight", "rows": 250_002, "width": 768, "rank": 100, "split": "balanced",
        "relative_error": 0.25, "mean_cosine": 0.96,
        "languages": {"yor-Latn": {"relative_error": 0.125, "mean_cosine": 0.99}, "<i>": 7},
    },
    "notes": ["something <b>odd</b>"],
}  # fmt: skip


def test_a_card_from_its_manifest() -> None:
    card = render_factorised_card(MANIFEST)
    head = yaml.safe_load(card.split("---")[1])
    assert (head["base_model"], head["language"]) == ("owner/name", ["yor"])
    assert "factorised-embeddings" in head["tags"]
    for part in (
        "# owner/name, its table factorised at rank 100", "table of 250,002 tokens", "of width 768",
        "import polycompress.auto", "AutoModelForMaskedLM.from_pretrained(directory)",
        "polycompress ofa export path/to/this/directory --dense --out plain", "factorise m --rank 100",
        "| all tokens alike | 0.25 | 0.96 |", "| yor-Latn | 0.125 | 0.99 |", "the same in both factors",
    ):  # fmt: skip
        assert part in card, part
    assert "<b>" not in card and "<i>" not in card


def test_the_card_of_a_plain_table() -> None:
    card = render_dense_card({**MANIFEST, "architectures": ["XLMRobertaForMaskedLM"]})
    assert "its table written out" in card and "The table still has rank 100" in card
    assert "AutoModelForMaskedLM.from_pretrained(directory)" in card
    assert "import polycompress" not in card


@pytest.mark.parametrize("manifest", [{}, {"factorisation": {"languages": 3}, "architectures": "x"}])
def test_what_is_missing_is_unknown(manifest: dict[str, Any]) -> None:
    for card in (render_factorised_card(manifest), render_dense_card(manifest)):
        assert "This is **unknown**" in card and "AutoModel.from_pretrained(directory)" in card
