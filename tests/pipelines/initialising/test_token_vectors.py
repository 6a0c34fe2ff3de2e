"""Vectors of tokens for FOCUS: trained on text, or given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from polycompress.errors import InputError
from polycompress.languages import find_language
from polycompress.pipelines.initialising.token_vectors import given_token_vectors, trained_token_vectors


def test_tokens_of_the_text_get_vectors_and_others_do_not(tmp_path: Path) -> None:
    pytest.importorskip("fasttext")
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2, "c": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (tmp_path / "text.txt").write_text("a b a b\nb a b\n" * 50)
    corpus, languages = [f"yo={tmp_path / 'text.txt'}"], [find_language("yo")]
    one, again = (trained_token_vectors(tokenizer, 5, corpus, languages) for _ in range(2))
    assert one.covered.tolist() == [False, True, True, False, False]
    assert np.abs(one.vectors[1:3]).max() > 0
    assert not one.vectors[3:].any()
    assert np.array_equal(one.vectors, again.vectors)


def test_given_vectors_are_found_by_the_tokens_own_names(tmp_path: Path) -> None:
    (tmp_path / "tokens.vec").write_text("3 2\n▁ilé 1 2\nnot-there 3 4\nọ 5 6\n", encoding="utf-8")
    found = given_token_vectors([str(tmp_path / "tokens.vec")], ["<s>", "ọ", None, "▁ilé"])
    assert found.covered.tolist() == [False, True, False, True]
    assert found.vectors[[1, 3]].tolist() == [[5, 6], [1, 2]]
    with pytest.raises(InputError, match="none of its 3 keys is a token"):
        given_token_vectors([str(tmp_path / "tokens.vec")], ["x"])
    with pytest.raises(InputError, match="one text file"):
        given_token_vectors([str(tmp_path)], ["x"])
