from __future__ import annotations

from polycompress.vocab.extending.words import count_words, segment_words
from tests.vocab.documents import bpe, document, load, unigram

METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def test_words_are_normalised_and_cut_by_the_tokenizer_and_added_tokens_left_out() -> None:
    doc = document(
        unigram(("<unk>", 0.0), ("▁a", -1.0)),
        "<s>",
        normalizer={"type": "Lowercase"},
        pre_tokenizer=METASPACE,
    )
    assert count_words(doc, load(doc), ["B a", "A <s>b a"]) == {"▁": 1, "▁a": 3, "▁b": 2}


def test_without_a_pre_tokenizer_words_end_before_spaces() -> None:
    doc = document(bpe(["a"], []))
    assert count_words(doc, load(doc), ["ab  c", " d▁e "]) == {" ": 1, "  c": 1, " d": 1, "ab": 1, "▁e": 1}


def test_segments_are_those_of_the_model() -> None:
    doc = document(unigram(("<unk>", 0.0), ("a", -1.0), ("ab", -1.5), ("b", -2.0)))
    assert segment_words(load(doc), ["aba", "x"]) == {"aba": [2, 1], "x": [0]}
