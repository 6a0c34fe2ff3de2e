from __future__ import annotations

from typing import Any

import pytest
import yaml

from polycompress.modeldir.moe_card import render_extracted_card, render_merged_card, render_upcycled_card

MOE = {
    "layers": [10, 11], "experts": 3, "top_k": 2, "normalise": True, "routing": "forced",
    "preset": "glottolog-branch", "families": {}, "languages": {},
}  # fmt: skip
MANIFEST: dict[str, Any] = {
    "tool": {"name": "polycompress", "version": "1"},
    "command": ["polycompress", "moe", "upcycle", "m"],
    "seed": 3,
    "source": {"name": "owner/name", "license": "mit", "files": {"config.json": "ab"}},
    "architectures": ["MoeXLMRobertaForMaskedLM"],
    "languages": [{"code": "deu-Latn", "name": "German"}, {"code": "swh-Latn", "name": "Swahili"}],
    "sizes": {
        "before": {"parameters": 278_000_000, "active_parameters": 278_000_000, "bytes": 1_112_000_000},
        "after": {"parameters": 306_000_000, "active_parameters": 287_000_000, "bytes": 1_224_000_000},
    },
    "experts": {
        "moe": MOE, "noise": 0.01,
        "plan": {"experts": [{"expert": 0, "families": ["<b>"], "languages": ["deu-Latn"], "share": 0.75}, 7]},
    },
    "notes": ["something <b>odd</b>"],
}  # fmt: skip
MERGED = {
    **MANIFEST,
    "experts": {**MANIFEST["experts"], "shared": "mean"},
    "sources": [{"name": "a <i>", "family": "Romance", "languages": ["fra-Latn", "ita-Latn"]}, None],
}
EXTRACTED = {
    **MANIFEST,
    "architectures": ["XLMRobertaForMaskedLM"],
    "extraction": {"family": "Bantu", "expert": 2, "layers": [11], "languages": ["swh-Latn"]},
}


def test_a_card_of_experts_from_its_manifest() -> None:
    card = render_upcycled_card(MANIFEST)
    head = yaml.safe_load(card.split("---")[1])
    assert (head["base_model"], head["language"]) == ("owner/name", ["deu", "swh"])
    assert "mixture-of-experts" in head["tags"]
    for part in (
        "# owner/name, with 3 experts of language families", "layers 10 and 11 (counted from 0)",
        "with normal noise of 0.01 times each tensor's standard deviation", "import polycompress.auto",
        "AutoModelForMaskedLM.from_pretrained(directory)", "| that one token meets | 278.0 M (278,000,000) | 287.0 M",
        "to 2 of 3 experts", "one of its family's is always among them", "scaled to sum to 1", "| deu-Latn | 75.0% |",
        "polycompress moe upcycle m", "Seed: 3", "Preset of families: glottolog-branch",
    ):  # fmt: skip
        assert part in card, part
    exact = render_upcycled_card({**MANIFEST, "experts": {**MANIFEST["experts"], "noise": 0}})
    assert "as a copy of that network, bit for bit." in exact


def test_a_card_of_merged_models() -> None:
    card = render_merged_card(MERGED)
    for part in (
        "# 3 models merged as experts", "Everything else is the mean of theirs.", "| Romance | fra-Latn, ita-Latn |",
        "| unknown | unknown | unknown |", "train it before use", "moe extract path/to/this/directory --family NAME",
    ):  # fmt: skip
        assert part in card, part
    one = render_merged_card({**MERGED, "experts": {**MANIFEST["experts"], "shared": "a"}})
    assert "Everything else is that of a alone." in one


def test_a_card_of_one_family() -> None:
    card = render_extracted_card(EXTRACTED)
    for part in (
        "# owner/name, its Bantu expert", "expert 2 as the only feed-forward network of layer 11 (counted from 0)",
        "a plain model for German and Swahili", "As any model, without polycompress", "- Family: Bantu", "- Expert: 2",
    ):  # fmt: skip
        assert part in card, part
    assert "import polycompress" not in card


@pytest.mark.parametrize("render", [render_upcycled_card, render_merged_card, render_extracted_card])
@pytest.mark.parametrize(
    "manifest",
    [
        MERGED,
        EXTRACTED,
        {},
        {"experts": 3, "extraction": 7, "sizes": []},
        {"experts": {"moe": {"layers": 3}, "plan": 1}},
    ],
)
def test_cards_of_whatever_manifest_hold_no_markup(render: Any, manifest: dict[str, Any]) -> None:
    card = render(manifest)
    assert "<b>" not in card and "<i>" not in card
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "transformers"
    assert manifest or "unknown" in card
