"""The scores of a tiny model do not move by accident; see ``evaluate_golden.py`` for when they may."""

from __future__ import annotations

import json

from tests.golden.evaluate_golden import RECORDED, measure


def test_a_tiny_model_on_a_tiny_task() -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert measure() == recorded, "if this was meant: python -m tests.golden.evaluate_golden --update"
