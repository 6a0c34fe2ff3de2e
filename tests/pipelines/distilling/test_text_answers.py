"""Vocabularies of which one was trimmed out of the other, and heads that are missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from polycompress.errors import InputError
from polycompress.pipelines.distilling.text_answers import (
    check_segmentation,
    load_answering,
    map_vocabularies,
)
from tests.tiny_models import make_tiny


def unigram(pieces: dict[str, float]) -> Tokenizer:
    return Tokenizer(models.Unigram(list(pieces.items()), 0))


def test_pieces_match_by_string_and_padding_by_nothing() -> None:
    shared = map_vocabularies({"<s>": 0, "b": 1, "a": 3}, {"<s>": 0, "a": 1, "b": 2, "c": 3}, (6, 5))
    assert shared.student_ids.tolist() == [0, 1, 3]
    assert shared.teacher_ids.tolist() == [0, 2, 1]
    assert (shared.student_size, shared.teacher_size) == (6, 5)


def test_a_head_of_fewer_classes_than_tokens() -> None:
    with pytest.raises(InputError, match=r"The teacher's head has 1 classes, but its tokenizer has the id 1"):
        map_vocabularies({"a": 0}, {"a": 0, "b": 1}, (1, 1))


def test_texts_that_the_student_has_to_cut_otherwise_are_passed_over() -> None:
    teacher = unigram({"?": -9.0, "a": -3.0, "b": -3.0, "ab": -1.0})
    fewer = unigram({"?": -9.0, "a": -3.0, "b": -3.0})
    check_segmentation(fewer, teacher, ["ab", "ba"])
    other = unigram({"?": -9.0, "a": -3.0, "b": -3.0, "ab": -8.0})
    check_segmentation(other, teacher, ["ba"])
    with pytest.raises(InputError, match=r"cut 'ab' into other tokens \(a b and ab\)"):
        check_segmentation(other, teacher, ["ba", "ab"])


def test_heads_that_are_missing(tmp_path: Path) -> None:
    path = make_tiny("bert", "base", tmp_path / "base", vocab_size=300)
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    with pytest.raises(InputError, match=r"has no language model's head.*polycompress mlm"):
        load_answering(path, config)
    # A configuration that names one is not believed.
    config["architectures"] = ["BertForMaskedLM"]
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match=r"the checkpoint lacks \d+ of its parameters, such as cls\."):
        load_answering(path, config)
    found = load_answering(make_tiny("bert", "mlm", tmp_path / "mlm", vocab_size=300), config)
    assert found.kind == "masked" and not found.fresh
