from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polycompress.moe.context import UNKNOWN
from polycompress.training.batches import Batch, collate
from polycompress.training.distilling_inputs import TextInputs
from polycompress.training.examples import Example
from polycompress.training.language_ids import LanguageInputs, language_ids
from tests.moe.tiny_moe import load, make_moe, settings
from tests.tiny_models import make_tiny

CODES = ("deu-Latn", "fra-Latn", "swh-Latn")


def example(code: str, length: int) -> Example:
    """Of tokens that say which language they are of, from 10 on."""
    value = 10 + (CODES.index(code) if code in CODES else len(CODES))
    return Example(0, code, np.full(length, value))


def batch_of(rows: list[list[tuple[str, int]]], *, packed: bool) -> Batch:
    return collate([[example(*each) for each in row] for row in rows], pad_id=0, packed=packed)


def test_padded_rows_by_hand() -> None:
    batch = batch_of([[("fra-Latn", 2)], [("deu-Latn", 3)], [("tur-Latn", 1)]], packed=False)
    assert language_ids(batch, CODES).tolist() == [[1, 1, -1], [0, 0, 0], [-1, -1, -1]]


texts = st.tuples(st.sampled_from([*CODES, "tur-Latn"]), st.integers(1, 5))


@given(st.lists(st.lists(texts, min_size=1, max_size=4), min_size=1, max_size=5))
def test_every_token_has_its_own_text_s_language_in_packed_rows(rows: list[list[tuple[str, int]]]) -> None:
    batch = batch_of(rows, packed=True)
    wanted = batch.input_ids - 10
    wanted[(wanted == len(CODES)) | (batch.attention_mask == 0)] = UNKNOWN
    assert torch.equal(language_ids(batch, CODES), wanted)
    half, *_ = batch.split()
    assert torch.equal(language_ids(half, CODES), wanted[: len(half.input_ids), : half.input_ids.shape[1]])


@pytest.mark.parametrize("packed", [True, False])
def test_every_token_meets_its_own_family_s_expert_and_padding_none(tmp_path: Path, packed: bool) -> None:
    """Through a model whose tokens have one expert each, forced to be their family's."""
    plain = make_tiny("bert", "base", tmp_path / "plain", num_hidden_layers=2)
    model = load(make_moe(plain, tmp_path / "moe", settings(3, 1)), "base").train()
    codes = model.moe_context.config.codes
    rows = [[("fra-Latn", 3), ("swh-Latn", 2)], [("deu-Latn", 4)], [("swh-Latn", 1), ("deu-Latn", 1)]]
    batch = batch_of(rows if packed else [[text] for row in rows for text in row], packed=packed)
    inputs, told = LanguageInputs(TextInputs(), codes)(batch)
    model.moe_context.collects = True
    model(**inputs, **told["student_inputs"])
    record = model.moe_context.current.records[1]
    assert record.indices[:, 0].tolist() == [1] * 3 + [2] * 2 + [0] * 4 + [2] + [0]
    assert len(record.probabilities) == batch.tokens == 11


def test_the_student_alone_is_told() -> None:
    batch = batch_of([[("fra-Latn", 2)]], packed=False)
    plain = TextInputs()
    inputs, told = LanguageInputs(plain, CODES)(batch)
    assert inputs.keys() == {"input_ids", "attention_mask"}
    assert told["student_inputs"]["language_ids"].tolist() == [[1, 1]]
    assert LanguageInputs(plain, CODES).weight(batch) == plain.weight(batch) == 2
