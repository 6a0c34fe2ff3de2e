from __future__ import annotations

from typing import Any

import yaml

from polycompress.modeldir.stages_card import render_stages_card

MANIFEST: dict[str, Any] = {
    "tool": {"name": "polycompress", "version": "1"},
    "command": ["polycompress", "distil", "--config", "r.yaml"],
    "source": {"name": "owner/name", "license": "mit"},
    "recipe": "my-recipe",
    "layers": [1, 3],
    "languages": [{"code": "eng-Latn", "name": "English"}, {"code": "swh-Latn", "name": "Swahili"}],
    "seed": 3,
    "stages": [
        {"number": 1, "name": "general", "kind": "distil", "data": "text", "teacher": "teacher",
         "losses": {"hidden-mse": 1.0, "attention-mse": 0.5}, "steps": 2000, "task": None},
        {"number": 2, "name": "tuned", "kind": "tune", "data": "task", "teacher": None, "losses": {}, "task": "sib200",
         "steps": 40, "dev_score": 0.9131},
    ],
    "finetuning": {
        "task": "sib200", "name": "SIB-200", "kind": "text-classification", "labels": ["travel", "a|b"],
        "loader": "AutoModelForSequenceClassification",
    },
    "sizes": {"before": {"parameters": 400, "vocab": 10}, "after": {"parameters": 100, "vocab": 5}},
    "notes": ["something <b>odd</b>"],
}  # fmt: skip


def test_a_card_from_its_manifest() -> None:
    card = render_stages_card(MANIFEST)
    head = yaml.safe_load(card.split("---")[1])
    assert head["pipeline_tag"] == "text-classification"
    assert head["base_model"] == "owner/name"
    for part in (
        "owner/name, distilled in 2 stages for English and Swahili", "A student of 2 layers", "layers 1 and 3",
        "| Parameters | 400 | 100 | 25.0% |", "`travel`, `a\\|b`",
        "| 1 general | the student learns of a teacher | text | teacher | `hidden-mse` x 1, `attention-mse` x 0.5 |",
        "| 2 tuned | a teacher learns the task | `sib200` | none | its own | 40 | 0.913 |",
        "AutoModelForSequenceClassification.from_pretrained(directory)", "Recipe: my-recipe", "distil --config r.yaml",
    ):  # fmt: skip
        assert part in card, part
    assert "<b>" not in card


def test_models_without_a_task() -> None:
    encoder = {name: value for name, value in MANIFEST.items() if name != "finetuning"}
    assert "AutoModel.from_pretrained(directory)" in render_stages_card(encoder)
    assert "AutoModelForMaskedLM" in render_stages_card({**encoder, "training": {"kind": "masked"}})


def test_what_is_missing_is_unknown() -> None:
    card = render_stages_card({})
    assert "distilled in unknown stages for unknown" in card
    assert "Command: unknown" in card
