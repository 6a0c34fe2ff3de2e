from __future__ import annotations

import numpy as np
import pytest

from polycompress.vocab.extending.document import extend_document
from polycompress.vocab.extending.measuring import change_of, cost_of, same_tokens
from polycompress.vocab.extending.pieces import NewPiece
from tests.vocab.documents import document, load, unigram

DOC = document(unigram(("<unk>", 0.0), ("a", -1.0), ("b", -2.0), (" ", -1.0)))


def test_what_texts_take() -> None:
    cost = cost_of(load(DOC), ["ab a", "xa"], unknown=0)
    assert (cost.texts, cost.words, cost.characters, cost.tokens, cost.unknown) == (2, 3, 6, 6, 1)
    assert cost.fertility == 2.0 and cost.characters_per_token == 1.0
    assert cost_of(load(DOC), [], None).fertility == 0.0


def test_texts_and_running_words_that_change() -> None:
    after = load(extend_document(DOC, [NewPiece(text="ab", score=-2.0)]).document)
    change = change_of(load(DOC), after, {"ab a": 1.0, "a b": 3.0})
    assert (change.texts, change.texts_changed, change.words, change.words_changed) == (4.0, 1.0, 8.0, 1.0)
    assert change.as_dict()["texts_changed"] == 0.25
    nothing = change_of(load(DOC), after, {})
    assert nothing.as_dict() == {"texts": 0, "texts_changed": 0, "words": 0, "words_changed": 0}


def test_other_ids_with_the_same_text_are_no_change() -> None:
    other = document(unigram(("<unk>", 0.0), (" ", -1.0), ("b", -2.0), ("a", -1.0)))
    old_ids = same_tokens(["<unk>", "a", "b", " "], ["<unk>", " ", "b", "a"])
    assert old_ids.tolist() == [0, 3, 2, 1]
    assert change_of(load(DOC), load(other), {"ab a": 1.0}, old_ids=old_ids).texts_changed == 0
    assert change_of(load(DOC), load(other), {"ab a": 1.0}).texts_changed == 1
    assert same_tokens(["x", "x", None], [None, "x"]).tolist() == [-1, 0]


def test_words_may_carry_a_lead() -> None:
    after = load(extend_document(DOC, [NewPiece(text=" a", score=-1.5)]).document)
    assert change_of(load(DOC), after, {"a": 1.0}).words_changed == 0
    assert change_of(load(DOC), after, {"a": 1.0}, lead=" ").words_changed == pytest.approx(1)
    assert np.isfinite(change_of(load(DOC), after, {"": 1.0}).as_dict()["words_changed"])
