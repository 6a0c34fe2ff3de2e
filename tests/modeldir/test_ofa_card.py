"""The card of a model with new tokens."""

from __future__ import annotations

from typing import Any

import yaml

from polycompress.modeldir.ofa_card import RULES, render_ofa_card

FACTS: dict[str, Any] = {
    "source": {"name": "e5", "license": "mit"},
    "languages": [{"code": "yor-Latn", "name": "Yoruba"}],
    "architectures": ["BertModel"],
    "seed": 3,
    "sizes": {"before": {"vocab": 10, "parameters": 100}, "after": {"vocab": 12, "parameters": 120}},
    "ofa": {
        "init": "ofa",
        "paper": "Liu et al.",
        "tokens": 12,
        "rules": {"kept": 10, "averaged": 1, "sampled": 1},
        "languages": {"yor-Latn": {"kept": 4, "averaged": 1, "sampled": 0}},
        "tokenizer": {"name": "e5", "extended": True, "type": "unigram", "sha256": "ab"},
        "vectors": {"width": 200, "words": {"yor-Latn": 5000}},
        "costs": [{"language": "yor-Latn", "before": {"fertility": 3.0}, "after": {"fertility": 1.5}}],
        "changes": [
            {"language": "eng-Latn", "source": "words", "texts_changed": 0.25, "words_changed": 0.01}
        ],
    },
    "notes": ["a note"],
}


def test_the_card_tells_what_rows_are_made_of() -> None:
    card = render_ofa_card(FACTS)
    head = yaml.safe_load(card.split("---")[1])
    assert head["tags"] == ["polycompress", "ofa"]
    assert head["language"] == ["yor"]
    for told in (
        "extended for Yoruba", RULES["averaged"], "| yor-Latn | 4 | 1 | 0 |", "| yor-Latn | 3.00 | 1.50 |", "25.0%",
        "200 wide; words: yor-Latn 5,000", "AutoModel.from_pretrained", "a note.", "Seed: 3",
    ):  # fmt: skip
        assert told in card, told
    assert "polycompress.auto" not in card


def test_a_factorised_model_says_how_to_load_it_and_what_it_lost() -> None:
    factors = {
        "rank": 4,
        "relative_error": 0.5,
        "mean_cosine": 0.9,
        "languages": {"yor-Latn": {"relative_error": 0.25}},
    }
    card = render_ofa_card({**FACTS, "factorisation": factors, "architectures": ["FactorisedBertModel"]})
    assert "import polycompress.auto" in card
    assert "| yor-Latn | 0.25 | unknown |" in card
    assert "factorised at rank 4" in card


def test_what_is_missing_is_unknown_and_what_is_hostile_is_escaped() -> None:
    assert "unknown" in render_ofa_card({})
    hostile = {**FACTS, "source": {"name": "<script>alert(1)</script>"}, "ofa": {"languages": {"<b>": 3}}}
    card = render_ofa_card(hostile)
    assert "<script>" not in card
    assert "<b>" not in card
