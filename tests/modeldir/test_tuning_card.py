from __future__ import annotations

from typing import Any

import yaml

from polycompress.modeldir.tuning_card import render_tuning_card

MANIFEST: dict[str, Any] = {
    "tool": {"name": "polycompress", "version": "1"},
    "command": ["polycompress", "finetune", "m", "--task", "sib200"],
    "source": {"name": "owner/name", "license": "mit", "files": {"config.json": "ab"}},
    "languages": [{"code": "eng-Latn", "name": "English"}, {"code": "deu-Latn", "name": "German"}],
    "seed": 3,
    "finetuning": {
        "task": "sib200", "name": "SIB-200", "kind": "text-classification", "metric": "accuracy",
        "labels": ["travel", "a|b"], "examples": {"train": {"eng-Latn": 701}, "dev": {"eng-Latn": 99}},
        "protocol": "one", "train_from": "two", "licence": "three", "citation": "four",
        "loader": "AutoModelForSequenceClassification", "best_step": 120, "steps": 216, "steps_planned": 240,
        "stopped_early": True, "dev_score": 0.87878, "learning_rate": 1e-4, "head_learning_rate": 5e-4,
        "frozen_parameters": 50, "precision": "bf16", "device": "cpu",
    },
    "sizes": {"after": {"parameters": 200}},
    "notes": ["something <b>odd</b>"],
}  # fmt: skip


def test_a_card_from_its_manifest() -> None:
    card = render_tuning_card(MANIFEST)
    head = yaml.safe_load(card.split("---")[1])
    assert head["pipeline_tag"] == "text-classification"
    assert head["base_model"] == "owner/name"
    assert head["language"] == ["eng", "deu"]
    for part in (
        "fine-tuned on SIB-200 in English and German", "`travel`, `a\\|b`", "| eng-Latn | 701 | 99 |",
        "After step 120 of 240", "accuracy 0.879; training ended after step 216", "finetune m --task sib200",
        "AutoModelForSequenceClassification.from_pretrained(directory)", "0.0001, of the head 0.0005", "50 (25.0%)",
        "Seed: 3", "`config.json`: `ab`", "It learnt the task in English and German alone",
    ):  # fmt: skip
        assert part in card, part
    assert "<b>" not in card


def test_what_is_missing_is_unknown() -> None:
    card = render_tuning_card({})
    assert "fine-tuned on unknown in unknown" in card
    assert "After step unknown of unknown" in card
    assert "Command: unknown" in card
    assert "pipeline_tag" not in card
