from __future__ import annotations

from typing import Any

import pytest
import yaml

from polycompress.modeldir.sentence_card import render_sentence_card

MANIFEST: dict[str, Any] = {
    "command": ["polycompress", "export", "m", "--sentence-transformers"],
    "source": {"name": "owner/name", "license": "mit"},
    "architectures": ["BertModel"],
    "export": {"pooling": "mean"},
    "notes": ["something <b>odd</b>"],
}


def test_a_card_from_its_manifest() -> None:
    card = render_sentence_card(MANIFEST)
    head = yaml.safe_load(card.split("---")[1])
    assert (head["library_name"], head["base_model"]) == ("sentence-transformers", "owner/name")
    for part in (
        "# owner/name for sentence-transformers",
        "by pooling them (`mean`)",
        "Nothing was trained",
        "encode(",
    ):
        assert part in card, part
    assert "<b>" not in card and "polycompress.auto" not in card


def test_modules_that_were_kept() -> None:
    changed = {"export": {"pooling": None}, "architectures": ["FactorisedBertModel"]}
    card = render_sentence_card({**MANIFEST, **changed})
    assert "as the source's own files say" in card and "Nothing was trained" not in card
    assert "import polycompress.auto" in card


@pytest.mark.parametrize("manifest", [{}, {"export": 3, "architectures": 9}])
def test_what_is_missing_is_unknown(manifest: dict[str, Any]) -> None:
    assert "This is **unknown**" in render_sentence_card(manifest)
