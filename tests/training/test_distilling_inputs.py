"""Batches of text whose tokens language models answer for."""

from __future__ import annotations

import numpy as np

from polycompress.training.batches import collate
from polycompress.training.distilling_inputs import AnswerInputs
from polycompress.training.examples import Example
from polycompress.training.masking import causal_lm


def test_what_counts_of_causal_text() -> None:
    rows = [[Example(0, "eng-Latn", np.array([5, 6, 7]), 0)], [Example(1, "eng-Latn", np.array([8, 9]), 0)]]
    shown = AnswerInputs("causal", answers_alone=True)
    batch = collate(rows, pad_id=0, objective=causal_lm)
    _, told = shown(batch)
    assert told["valid"].tolist() == [[True, True, True], [True, True, False]]
    assert told["labels"].tolist() == [[6, 7, -100], [9, -100, -100]]
    assert shown.weight(batch) == 5
    assert AnswerInputs("masked", answers_alone=True).weight(batch) == batch.labelled == 3
    assert AnswerInputs("masked", answers_alone=False).weight(batch) == 5
