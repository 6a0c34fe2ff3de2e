from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from polycompress.moe.context import UNKNOWN
from polycompress.training.batches import Batch, collate
from polycompress.training.distilling_inputs import TextInputs
from polycompress.training.examples import Example
from polycompress.training.language_ids import LanguageInputs, language_ids

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


def test_the_student_alone_is_told() -> None:
    batch = batch_of([[("fra-Latn", 2)]], packed=False)
    plain = TextInputs()
    inputs, told = LanguageInputs(plain, CODES)(batch)
    assert inputs.keys() == {"input_ids", "attention_mask"}
    assert told["student_inputs"]["language_ids"].tolist() == [[1, 1]]
    assert LanguageInputs(plain, CODES).weight(batch) == plain.weight(batch) == 2
